//! The control socket, for every process that may open its file. The caller supplies the request handler,
//! which is the API without a key.

use std::fs;
use std::fs::DirBuilder;
use std::fs::Permissions;
use std::future::Future;
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
use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::domain::socket_group::SocketGroup;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::control_error::ControlError;
use crate::http::server::limits::Limits;
use crate::http::server::limits::open_files;
use crate::http::server::listener::serve_local;
use crate::http::server::socket_group;
use crate::http::server::socket_group::directory_of;
use crate::tasks::Tasks;

/// Timeout of the probe. A daemon that does not accept within this time is running, but busy.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

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

    /// Serves requests by `service` until `tasks` stop. Then removes the file.
    pub async fn serve<S, F>(self, service: S, tasks: Tasks)
    where
        S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        let Self { listener, place } = self;
        let limits = Arc::new(Limits::for_control_socket(open_files()));
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
