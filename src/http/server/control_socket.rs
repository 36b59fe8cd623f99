//! The control socket: the same API without a key, for every process that may open the socket's file.

use std::fs;
use std::fs::DirBuilder;
use std::fs::Permissions;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::domain::socket_group::SocketGroup;
use crate::http::api::Api;
use crate::http::api::Caller;
use crate::http::server::listener::Limits;
use crate::http::server::listener::open_files;
use crate::http::server::listener::serve_local;
use crate::http::server::socket_group;
use crate::http::server::socket_group::directory_of;
use crate::tasks::Tasks;

/// Timeout of the probe. A daemon that does not accept within this time is running, but busy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process listens on the socket.
    #[error("another webex-tokend answers at {}; stop that one, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    Live(PathBuf),
    /// The path exists, and is not a socket.
    #[error("{} is not a socket; move it away, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    NotASocket(PathBuf),
    /// The system reports an error.
    #[error("cannot create the control socket {}: {}; see TOKEND_CONTROL_SOCKET", .0.display(), .1)]
    System(PathBuf, io::Error),
    /// The daemon is not a member of the group, so it cannot give the socket to the group.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, of which this process (user {uid}, groups {groups}) is not a member, so it \
         cannot give the control socket to it; start the daemon in that group: SupplementaryGroups={name} in a systemd unit, \
         --group-add for a container, else `usermod -aG {name} USER`", name = group.name
    )]
    NotAMember {
        /// The configured group.
        group: SocketGroup,
        /// This process's user.
        uid: u32,
        /// This process's groups.
        groups: String,
    },
    /// systemd keeps the group out of the directory.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, which cannot reach {}: systemd keeps all other users out of the state \
         directory of a unit with DynamicUser=yes; set RuntimeDirectory=webex-tokend in the unit and \
         TOKEND_CONTROL_SOCKET=/run/webex-tokend/control.sock", path.display()
    )]
    PrivateToTheService {
        /// The configured group.
        group: SocketGroup,
        /// The socket.
        path: PathBuf,
    },
    /// The directory belongs to another user or group.
    #[error("{0}")]
    ClosedToGroup(String),
}

impl ControlError {
    /// Whether the settings require what is not possible.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(self, Self::NotAMember { .. } | Self::PrivateToTheService { .. } | Self::ClosedToGroup(_))
    }
}

/// An open control socket. Its file is removed on drop.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    place: SocketFile,
}

/// The socket's file. Another daemon may have replaced it meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl ControlSocket {
    /// Checks whether a socket at `path` can be opened for `group`, without changing anything.
    ///
    /// # Errors
    /// [`ControlError`], if it cannot.
    pub fn check(path: &Path, group: &SocketGroup) -> Result<(), ControlError> {
        socket_group::check(group, path)
    }

    /// Creates a socket at `path` for its owner and `group` only. A missing directory is created for them
    /// only. An existing one is changed so that the group can pass through it. A socket on which no process
    /// listens is replaced.
    ///
    /// # Errors
    /// [`ControlError`], if the socket cannot be created, or another process listens on it. An existing
    /// socket stays then.
    pub async fn open(path: &Path, group: Option<&SocketGroup>) -> Result<Self, ControlError> {
        let refused = |error| ControlError::System(path.to_owned(), error);
        let dir = directory_of(path);
        if is_live(path).await? {
            return Err(ControlError::Live(path.to_owned()));
        }
        match group {
            Some(group) => socket_group::open_directory(dir, group)?,
            None => DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(refused)?,
        }
        // The socket is bound where no other user can reach it, and moved into place after its mode is set.
        // So it is never open to others, and never incomplete.
        let mut name = [0; 6];
        rand::fill(&mut name).map_err(|_| refused(io::Error::other("the system gives no random bytes")))?;
        let room = dir.join(format!(".{}", URL_SAFE_NO_PAD.encode(name)));
        DirBuilder::new().mode(0o700).create(&room).map_err(refused)?;
        let made = room.join("s");
        let placed = place(&made, path, group);
        let _ = fs::remove_file(&made);
        let _ = fs::remove_dir(&room);
        let placed = placed.map_err(refused)?;
        if let Some(group) = group {
            log::info!(
                "control socket: members of the group {group} may use it, with all rights of the operator"
            );
            for warning in socket_group::warnings(path, group) {
                log::warn!("{warning}");
            }
        }
        Ok(placed)
    }

    /// Serves requests until `tasks` stop. Then removes the file.
    pub async fn serve(self, api: Api, tasks: Tasks) {
        let Self { listener, place } = self;
        let limits = Arc::new(Limits::for_control_socket(open_files()));
        let service = move |request| {
            let api = api.clone();
            async move { api.handle_incoming(request, Caller::Control).await }
        };
        log::info!("control socket: {}", place.path.display());
        let stopping = tasks.stopping();
        let serving = serve_local(listener, limits, service, tasks);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            // The file is removed first, so that new commands find no daemon, instead of one that is shutting
            // down.
            () = stopping.cancelled() => {
                drop(place);
                serving.await;
            }
        }
    }
}

fn place(made: &Path, path: &Path, group: Option<&SocketGroup>) -> io::Result<ControlSocket> {
    let listener = UnixListener::bind(made)?;
    match group {
        Some(group) => socket_group::hand_over(made, group)?,
        None => fs::set_permissions(made, Permissions::from_mode(0o600))?,
    }
    let found = fs::symlink_metadata(made)?;
    fs::rename(made, path)?;
    let place = SocketFile { path: path.to_owned(), inode: (found.dev(), found.ino()) };
    Ok(ControlSocket { listener, place })
}

/// Whether a process listens at `path`.
async fn is_live(path: &Path) -> Result<bool, ControlError> {
    let refused = |error| ControlError::System(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(ControlError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(refused(error)),
    }
    match timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Ok(_)) | Err(_) => Ok(true),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
            // The socket's queue is full.
            ErrorKind::WouldBlock => Ok(true),
            _ => Err(refused(error)),
        },
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove the control socket {}: {error}", self.path.display());
        }
    }
}
