//! The control socket: the same API without a key, for every process that may open a file of ours.

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
use crate::http::serve::Limits;
use crate::http::serve::open_files;
use crate::http::serve::serve_local;
use crate::http::socket_group;
use crate::http::socket_group::directory_of;
use crate::tasks::Tasks;

/// A daemon that does not even accept in this time is alive all the same, if busy.
const KNOCK: Duration = Duration::from_secs(1);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody listens there.
    #[error("another webex-tokend answers at {}; stop that one, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    Live(PathBuf),
    /// Something else has the name.
    #[error("{} is not a socket; move it away, or set TOKEND_CONTROL_SOCKET to another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("the control socket {} cannot be made: {}; see TOKEND_CONTROL_SOCKET", .0.display(), .1)]
    System(PathBuf, io::Error),
    /// The group's members cannot be let in: the daemon is none of them.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, of which this process (user {uid}, groups {groups}) is no member, so it \
         cannot give the control socket to it; start the daemon in that group: SupplementaryGroups={name} in a systemd unit, \
         --group-add for a container, else `usermod -aG {name} USER`", name = group.name
    )]
    NotAMember {
        /// The one that was asked for.
        group: SocketGroup,
        /// This process's user.
        uid: u32,
        /// This process's groups.
        groups: String,
    },
    /// systemd keeps the group away.
    #[error(
        "TOKEND_SOCKET_GROUP: found the group {group}, which cannot reach {}: systemd keeps all other users out of the state \
         directory of a unit with DynamicUser=yes; set RuntimeDirectory=webex-tokend in the unit and \
         TOKEND_CONTROL_SOCKET=/run/webex-tokend/control.sock", path.display()
    )]
    PrivateToTheService {
        /// The one that was asked for.
        group: SocketGroup,
        /// The socket.
        path: PathBuf,
    },
    /// The directory is another user's or group's.
    #[error("{0}")]
    ClosedToGroup(String),
}

impl ControlError {
    /// Whether the settings ask for what cannot be.
    #[must_use]
    pub fn is_wrong_setting(&self) -> bool {
        matches!(self, Self::NotAMember { .. } | Self::PrivateToTheService { .. } | Self::ClosedToGroup(_))
    }
}

/// A control socket in its place. Its file goes away with it.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    place: Place,
}

/// The socket's file, which another daemon may have replaced since.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    inode: (u64, u64),
}

impl ControlSocket {
    /// Whether a socket at `path` can be opened for `group`. Nothing is changed.
    ///
    /// # Errors
    /// [`ControlError`] says what is in the way.
    pub fn check(path: &Path, group: &SocketGroup) -> Result<(), ControlError> {
        socket_group::check(group, path)
    }

    /// Puts a socket at `path`, for its owner and `group` only, in a directory for them only (if it is made for it). A
    /// directory that is there lets the group pass through then. A socket at which no process listens is replaced.
    ///
    /// # Errors
    /// [`ControlError`] says what is in the way; no socket was touched then.
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
        // Bound where nobody else can reach it, and moved into place when its mode is set: never open to others, never
        // half there.
        let mut name = [0; 6];
        rand::fill(&mut name)
            .map_err(|_| refused(io::Error::other("the system has no random bytes to give")))?;
        let room = dir.join(format!(".{}", URL_SAFE_NO_PAD.encode(name)));
        DirBuilder::new().mode(0o700).create(&room).map_err(refused)?;
        let made = room.join("s");
        let placed = place(&made, path, group);
        let _ = fs::remove_file(&made);
        let _ = fs::remove_dir(&room);
        let placed = placed.map_err(refused)?;
        if let Some(group) = group {
            log::info!(
                "control socket: the group {group} may use it, for everything that an operator may do"
            );
            for warning in socket_group::warnings(path, group) {
                log::warn!("{warning}");
            }
        }
        Ok(placed)
    }

    /// Answers until `tasks` stop; then removes the file.
    pub async fn serve(self, api: Api, tasks: Tasks) {
        let Self { listener, place } = self;
        let limits = Arc::new(Limits::control(open_files()));
        let service = move |request| {
            let api = api.clone();
            async move { api.answer_incoming(request, Caller::Control).await }
        };
        log::info!("control socket: {}", place.path.display());
        let stopping = tasks.stopping();
        let serving = serve_local(listener, limits, service, tasks);
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            // Commands that come now find no daemon, rather than one that is leaving.
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
    let place = Place { path: path.to_owned(), inode: (found.dev(), found.ino()) };
    Ok(ControlSocket { listener, place })
}

/// Whether somebody listens at `path`.
async fn is_live(path: &Path) -> Result<bool, ControlError> {
    let refused = |error| ControlError::System(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(ControlError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(refused(error)),
    }
    match timeout(KNOCK, UnixStream::connect(path)).await {
        Ok(Ok(_)) | Err(_) => Ok(true),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::NotFound => Ok(false),
            // Its queue is full.
            ErrorKind::WouldBlock => Ok(true),
            _ => Err(refused(error)),
        },
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("the control socket {} stays behind: {error}", self.path.display());
        }
    }
}
