//! How commands reach the API: over the running daemon's control socket, or, without a daemon, in this
//! process.

pub(in crate::cli) mod in_process;
pub(in crate::cli) mod socket;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::api_types::ProblemDetails;
use crate::cli::api_client::in_process::InProcessApi;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::api_client::socket::Socket;
use crate::cli::api_client::socket::SocketRequest;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::SettingsSource;

/// How long to wait for a daemon that is starting, or for another command that has the store open.
const START_WAIT: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// The HTTP method of an API request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiMethod {
    /// Reads.
    Get,
    /// Changes.
    Post,
    /// Removes.
    Delete,
}

impl ApiMethod {
    /// The method's name in HTTP.
    #[must_use]
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A response of the API; it may contain a token.
pub(super) struct ApiResponse {
    /// The HTTP status.
    pub(super) status: u16,
    /// The JSON body; it may be empty.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why there is no response of the API.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The control socket exists, but this process may not use it.
    #[error("the control socket {path} cannot be used: {1}; commands run as the daemon's user, or as a member of the group that TOKEND_SOCKET_GROUP names for the daemon", path = .0.display())]
    Refused(PathBuf, String),
    /// A process of an untrusted user listens at the socket.
    #[error(
        "the control socket {path} is served by a process of uid {1}, and nothing was sent to it: commands connect only to daemons of \
         their own user, of root, of the owner of the state directory, and of the owner of the socket's directory where only root \
         can have made that; set TOKEND_STATE_DIR to that of the daemon, or let the daemon's socket be below /run",
        path = .0.display()
    )]
    Stranger(PathBuf, u32),
    /// The daemon answered before, and has stopped since.
    #[error("the daemon at {path} has stopped; start it again", path = .0.display())]
    Gone(PathBuf),
    /// The daemon does not respond.
    #[error(
        "the daemon at {path} did not answer within {seconds} s; look at its log, or wait longer with --daemon-timeout",
        path = .0.display(), seconds = .1.as_secs()
    )]
    Stuck(PathBuf, Duration),
    /// The daemon closed the connection.
    #[error("the daemon at {path} closed the connection: {1}; look at its log, then try again", path = .0.display())]
    Broken(PathBuf, String),
    /// The response is not valid; another program may listen there.
    #[error(
        "the response from {path} is invalid: {1}; does webex-tokend listen there (TOKEND_CONTROL_SOCKET)?",
        path = .0.display()
    )]
    Garbage(PathBuf, String),
    /// There is no daemon, and another process has locked the store.
    #[error(
        "the store is in use by another process, and no daemon answers at {path}: wait for that process, or set \
         TOKEND_CONTROL_SOCKET as the daemon has it", path = .0.display()
    )]
    InUse(PathBuf),
    /// There is no daemon, and the settings to work without one are missing.
    #[error(
        "no daemon answers at {path}; start it with `webex-tokend serve`, or set TOKEND_STATE_DIR or \
         TOKEND_CONTROL_SOCKET as the daemon has them ({1})", path = .0.display()
    )]
    NotRunning(PathBuf, &'static str),
    /// There is no daemon, and the settings to work without one are invalid.
    #[error("no daemon runs, and the settings to work without one are invalid: {0}")]
    Settings(String),
    /// There is no daemon, and this process failed.
    #[error("{0}")]
    Local(String),
}

/// The settings, and the daemon's control socket.
pub(super) struct CommandContext {
    pub(super) source: SettingsSource,
    pub(super) socket: Socket,
}

/// A connection to the API.
pub(super) enum ApiClient {
    /// The running daemon, with the connection that found it.
    Daemon(Socket, Option<UnixStream>),
    /// The API in this process.
    Here(Box<InProcessApi>),
}

impl ApiClient {
    /// Connects to the daemon. Without a daemon, opens the store in this process.
    #[expect(clippy::disallowed_methods, reason = "no runtime is there to sleep on")]
    pub(super) fn open(context: &CommandContext, needs: StoreAccess) -> Result<Self, CallError> {
        let socket = &context.socket;
        let deadline = SystemClock.now() + START_WAIT;
        loop {
            if let Some(stream) = socket.connect()? {
                return Ok(Self::Daemon(socket.clone(), Some(stream)));
            }
            match InProcessApi::open(context, needs) {
                Ok(local) => return Ok(Self::Here(Box::new(local))),
                Err(CallError::InUse(_)) if SystemClock.now() < deadline => std::thread::sleep(STEP),
                Err(e) => return Err(e),
            }
        }
    }

    /// Connects to the daemon; fails without one.
    pub(super) fn connect(context: &CommandContext) -> Result<Self, CallError> {
        let socket = context.socket.clone();
        let stream = socket.connect()?;
        let stream = stream.ok_or_else(|| {
            CallError::NotRunning(socket.path().to_owned(), "only a running daemon can do this")
        })?;
        Ok(Self::Daemon(socket, Some(stream)))
    }

    /// Sends one request. `extra` extends the timeout of requests that wait by design.
    pub(super) fn call(
        &mut self,
        method: ApiMethod,
        path: &str,
        body: Option<&[u8]>,
        extra: Duration,
    ) -> Result<ApiResponse, CallError> {
        let answer = match self {
            Self::Here(local) => local.call(method, path, body)?,
            Self::Daemon(socket, first) => {
                let stream = first.take().map_or_else(|| socket.connect(), |stream| Ok(Some(stream)))?;
                let stream = stream.ok_or_else(|| CallError::Gone(socket.path().to_owned()))?;
                socket.exchange(stream, &SocketRequest { method, path, body }, extra)?
            }
        };
        log::debug!("{} {path}: {}", method.as_str(), answer.status);
        Ok(answer)
    }

    pub(super) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Get, path, None, Duration::ZERO)?)
    }

    pub(super) fn wait<T: DeserializeOwned>(
        &mut self,
        path: &str,
        extra: Duration,
    ) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Get, path, None, extra)?)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(io::Error::from)?;
        read(&self.call(ApiMethod::Post, path, Some(&body), Duration::ZERO)?)
    }

    pub(super) fn post_nothing<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Post, path, None, Duration::ZERO)?)
    }

    pub(super) fn delete(&mut self, path: &str) -> Result<(), CommandError> {
        let answer = self.call(ApiMethod::Delete, path, None, Duration::ZERO)?;
        if is_good(&answer) { Ok(()) } else { Err(to_error(&answer)) }
    }
}

fn is_good(answer: &ApiResponse) -> bool {
    (200..300).contains(&answer.status)
}

fn read<T: DeserializeOwned>(answer: &ApiResponse) -> Result<T, CommandError> {
    if !is_good(answer) {
        return Err(to_error(answer));
    }
    // The library's message quotes the input, which may contain a token.
    serde_json::from_slice(&answer.body).map_err(|e| {
        let at = format!("{:?} at line {}, column {}", e.classify(), e.line(), e.column());
        let line =
            format!("the daemon's response has another format than this version expects ({at}); use the same version for both");
        CommandError::new(Exit::Failed, line)
    })
}

fn to_error(answer: &ApiResponse) -> CommandError {
    match serde_json::from_slice::<ProblemDetails>(&answer.body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let line = format!(
                "the daemon answered with status {} without a reason; look at its log",
                answer.status
            );
            CommandError::new(Exit::Failed, line)
        }
    }
}

/// Encodes a segment of a path: characters that are not allowed in a path are percent-encoded.
pub(super) fn segment(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'~')
            || (byte == b'.' && text.len() > 2)
        {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("ada+x@example.com"), "ada%2Bx%40example.com");
        assert_eq!(segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
