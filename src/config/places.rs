//! Where things are kept on this machine: the store, its key, the control socket.

use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Group;

use crate::config::parse::Reader;
use crate::domain::socket_group::SocketGroup;

/// Where grants are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// A SQLite file and the key that seals it.
    Sqlite {
        /// The database.
        path: PathBuf,
        /// 32 bytes.
        key_file: PathBuf,
    },
    /// Nothing outlives the process.
    Memory,
}

impl StoreConfig {
    /// The database file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => Some(path),
            Self::Memory => None,
        }
    }
}

/// `sun_path` has 108 bytes, the last one a zero; the socket is made in a directory of its own beside its place
/// first, which needs some of them.
const SOCKET_PATH_MAX: usize = 90;

const SOCKET_GROUP: &str = "TOKEND_SOCKET_GROUP";

/// No system has names of groups that are nearly as long.
const GROUP_NAME_MAX: usize = 256;

pub(super) fn store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let state_dir = reader.source.state_dir();
    let url = reader.text("TOKEND_STORE_URL").unwrap_or("sqlite:");
    let inside = |dir: &Option<PathBuf>, name: &str| dir.as_ref().map(|dir| dir.join(name));
    let path = match url.split_once(':') {
        Some(("memory", "")) => return Some(StoreConfig::Memory),
        Some(("sqlite", "")) => inside(&state_dir, "tokend.db"),
        Some(("sqlite", path)) if !is_url(path) => Some(PathBuf::from(path)),
        _ => {
            reader.wrong(
                "TOKEND_STORE_URL",
                "sqlite:PATH (the path in full, no // before it and no ?options behind it), sqlite: for tokend.db in the \
                 state directory, or memory:",
            );
            return None;
        }
    };
    let key_file = reader.text("TOKEND_KEY_FILE").map(PathBuf::from).or_else(|| inside(&state_dir, "key"));
    if path.is_none() || key_file.is_none() {
        reader.missing(
            "TOKEND_STATE_DIR",
            "a directory for the store and its key (there is no HOME to put it under)",
        );
    }
    Some(StoreConfig::Sqlite { path: path?, key_file: key_file? })
}

/// Other programs write `sqlite://name.db?mode=rwc`, and a shell reads `~`. Neither is a path as it stands.
fn is_url(path: &str) -> bool {
    path.starts_with("//") || path.starts_with('~') || path.contains('?')
}

pub(super) fn control_socket(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let path = reader.source.control_socket()?;
    let found = path.as_os_str().len();
    if found > SOCKET_PATH_MAX || path.file_name().is_none() {
        let (variable, change) = match reader.text("TOKEND_CONTROL_SOCKET") {
            Some(_) => ("TOKEND_CONTROL_SOCKET", ""),
            None => ("TOKEND_STATE_DIR", " (or set TOKEND_CONTROL_SOCKET)"),
        };
        let expected = format!(
            "a path for the control socket of at most {SOCKET_PATH_MAX} bytes, the system takes no longer one{change}"
        );
        reader.note(variable, format!("{} ({found} bytes)", path.display()), &expected);
    }
    Some(path)
}

/// `None` where none is set, or a mistake was noted. That this process is a member is for the daemon to check: a command
/// that works without it need not be one.
pub(super) fn socket_group(reader: &mut Reader<'_>) -> Option<SocketGroup> {
    let name = reader.text(SOCKET_GROUP)?.to_owned();
    // As for chown(2), the highest number means none.
    let number = |text: &str| text.parse().ok().filter(|gid| *gid != u32::MAX);
    let gid = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        number(&name)
    } else if name.len() > GROUP_NAME_MAX || name.contains(|c: char| c.is_control() || c == ':') {
        None
    } else {
        match Group::from_name(&name) {
            Ok(found) => found.map(|group| group.gid.as_raw()),
            Err(why) => {
                let found = format!("{name:?}, which cannot be looked up ({why})");
                reader.note(SOCKET_GROUP, found, "a group of this machine, or its number");
                return None;
            }
        }
    };
    if gid.is_none() {
        reader.wrong(
            SOCKET_GROUP,
            "the name or number of a group of this machine (`getent group` lists them, `groupadd --system NAME` makes one)",
        );
    }
    Some(SocketGroup { name, gid: gid? })
}
