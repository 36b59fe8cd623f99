//! The paths on this machine: the store, its key, the control socket.

use std::path::Path;
use std::path::PathBuf;

use nix::unistd::Group;

use crate::config::parse::SettingsReader;
use crate::domain::socket_group::SocketGroup;

/// Where grants are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// A SQLite file, and the file of the key that encrypts it.
    Sqlite {
        /// The path of the database.
        path: PathBuf,
        /// The path of the key file, which contains 32 bytes.
        key_file: PathBuf,
    },
    /// In memory; lost when the process ends.
    Memory,
}

impl StoreConfig {
    /// The path of the database; `None` in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, .. } => Some(path),
            Self::Memory => None,
        }
    }
}

/// `sun_path` has 108 bytes with the terminating zero. The socket is first created in a directory of its own
/// beside its path, which takes some of them.
const SOCKET_PATH_MAX: usize = 90;

const SOCKET_GROUP: &str = "TOKEND_SOCKET_GROUP";

/// Maximum length of a group's name, in bytes.
const GROUP_NAME_MAX: usize = 256;

pub(super) fn store(reader: &mut SettingsReader<'_>) -> Option<StoreConfig> {
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
                "sqlite:PATH (an absolute path, without // before it and ?options after it), sqlite: for tokend.db in the \
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

/// Other programs write `sqlite://name.db?mode=rwc`, and a shell expands `~`. Neither is a literal path.
fn is_url(path: &str) -> bool {
    path.starts_with("//") || path.starts_with('~') || path.contains('?')
}

pub(super) fn control_socket(reader: &mut SettingsReader<'_>) -> Option<PathBuf> {
    let path = reader.source.control_socket()?;
    let found = path.as_os_str().len();
    if found > SOCKET_PATH_MAX || path.file_name().is_none() {
        let (variable, change) = match reader.text("TOKEND_CONTROL_SOCKET") {
            Some(_) => ("TOKEND_CONTROL_SOCKET", ""),
            None => ("TOKEND_STATE_DIR", " (or set TOKEND_CONTROL_SOCKET)"),
        };
        let expected = format!(
            "a path for the control socket of at most {SOCKET_PATH_MAX} bytes, which is the system's limit{change}"
        );
        reader.add_error(variable, format!("{} ({found} bytes)", path.display()), &expected);
    }
    Some(path)
}

/// The group of the control socket; `None` if it is not set or invalid. The daemon checks that its own
/// process is a member: a command that works without a daemon need not be one.
pub(super) fn socket_group(reader: &mut SettingsReader<'_>) -> Option<SocketGroup> {
    let name = reader.text(SOCKET_GROUP)?.to_owned();
    // As in chown(2), the highest number means no group.
    let number = |text: &str| text.parse().ok().filter(|gid| *gid != u32::MAX);
    let gid = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        number(&name)
    } else if name.len() > GROUP_NAME_MAX || name.contains(|c: char| c.is_control() || c == ':') {
        None
    } else {
        match Group::from_name(&name) {
            Ok(found) => found.map(|group| group.gid.as_raw()),
            Err(why) => {
                let found = format!("{name:?}, which cannot be resolved ({why})");
                reader.add_error(SOCKET_GROUP, found, "a group of this machine, or its number");
                return None;
            }
        }
    };
    if gid.is_none() {
        reader.wrong(
            SOCKET_GROUP,
            "the name or number of a group of this machine (`getent group` lists them, `groupadd --system NAME` creates one)",
        );
    }
    Some(SocketGroup { name, gid: gid? })
}
