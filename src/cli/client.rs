//! How commands reach the API: over the control socket of the running daemon, or, with none running, in this process.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::api_types::Problem;
use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::cli::local::Local;
use crate::cli::local::Needs;
use crate::cli::socket::Request;
use crate::cli::socket::Socket;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::Source;

/// A daemon that is starting, or another command that works on the store, gets so long before it counts as trouble.
const STARTING: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Asks.
    Get,
    /// Does.
    Post,
    /// Removes.
    Delete,
}

impl Method {
    /// As HTTP has it.
    #[must_use]
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// What the API said; it may hold a token.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// JSON, or nothing.
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why the API said nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// There is a socket, and no way in.
    #[error("the control socket {path} cannot be used: {1}; commands run as the daemon's user, or as a member of the group that TOKEND_SOCKET_GROUP names for the daemon", path = .0.display())]
    Refused(PathBuf, String),
    /// A program of another user listens there.
    #[error(
        "the control socket {path} is served by a process of uid {1}, and nothing was sent to it: commands connect only to daemons of \
         their own user, of root, of the owner of the state directory, and of the owner of the socket's directory where only root \
         can have made that; set TOKEND_STATE_DIR to that of the daemon, or let the daemon's socket be below /run",
        path = .0.display()
    )]
    Stranger(PathBuf, u32),
    /// It was there before.
    #[error("the daemon at {path} is gone; start it again", path = .0.display())]
    Gone(PathBuf),
    /// It hangs.
    #[error(
        "the daemon at {path} gave no answer in {seconds} s; look at its log, or wait longer with --daemon-timeout",
        path = .0.display(), seconds = .1.as_secs()
    )]
    Stuck(PathBuf, Duration),
    /// It hung up.
    #[error("the daemon at {path} broke the call off: {1}; look at its log, then try again", path = .0.display())]
    Broken(PathBuf, String),
    /// Somebody else listens there.
    #[error(
        "the answer from {path} cannot be read: {1}; is it webex-tokend that listens there (TOKEND_CONTROL_SOCKET)?",
        path = .0.display()
    )]
    Garbage(PathBuf, String),
    /// Neither a daemon nor the store.
    #[error(
        "the store is in use by another process, and no daemon answers at {path}: wait for that process, or set \
         TOKEND_CONTROL_SOCKET as the daemon has it", path = .0.display()
    )]
    InUse(PathBuf),
    /// Neither a daemon nor the settings to work without one.
    #[error(
        "no daemon answers at {path}; start it with `webex-tokend serve`, or set TOKEND_STATE_DIR or \
         TOKEND_CONTROL_SOCKET as the daemon has them ({1})", path = .0.display()
    )]
    NotRunning(PathBuf, &'static str),
    /// No daemon runs, and the settings to work without one are wrong.
    #[error("no daemon runs, and to work without one the settings must be right: {0}")]
    Settings(String),
    /// No daemon runs, and this process cannot do its work.
    #[error("{0}")]
    Local(String),
}

/// Where a command finds its daemon.
pub(super) struct Surroundings {
    pub(super) source: Source,
    pub(super) socket: Socket,
}

/// A way to the API.
pub(super) enum Handle {
    /// Of the running daemon; the first connection is the one that found it.
    Daemon(Socket, Option<UnixStream>),
    /// In this process.
    Here(Box<Local>),
}

impl Handle {
    /// Finds the daemon, or takes its place.
    #[expect(clippy::disallowed_methods, reason = "no runtime is there to sleep on")]
    pub(super) fn open(surroundings: &Surroundings, needs: Needs) -> Result<Self, CallError> {
        let socket = &surroundings.socket;
        let deadline = SystemClock.now() + STARTING;
        loop {
            if let Some(stream) = socket.connect()? {
                return Ok(Self::Daemon(socket.clone(), Some(stream)));
            }
            match Local::open(surroundings, needs) {
                Ok(local) => return Ok(Self::Here(Box::new(local))),
                Err(CallError::InUse(_)) if SystemClock.now() < deadline => std::thread::sleep(STEP),
                Err(e) => return Err(e),
            }
        }
    }

    /// Finds the daemon; nothing here takes its place.
    pub(super) fn of_daemon(surroundings: &Surroundings) -> Result<Self, CallError> {
        let socket = surroundings.socket.clone();
        let stream = socket.connect()?;
        let stream = stream.ok_or_else(|| {
            CallError::NotRunning(socket.path().to_owned(), "only a running daemon can do this")
        })?;
        Ok(Self::Daemon(socket, Some(stream)))
    }

    /// One call. `extra` is for those that wait by design.
    pub(super) fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
        extra: Duration,
    ) -> Result<Answer, CallError> {
        let answer = match self {
            Self::Here(local) => local.call(method, path, body)?,
            Self::Daemon(socket, first) => {
                let stream = first.take().map_or_else(|| socket.connect(), |stream| Ok(Some(stream)))?;
                let stream = stream.ok_or_else(|| CallError::Gone(socket.path().to_owned()))?;
                socket.exchange(stream, &Request { method, path, body }, extra)?
            }
        };
        log::debug!("{} {path}: {}", method.word(), answer.status);
        Ok(answer)
    }

    pub(super) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        read(&self.call(Method::Get, path, None, Duration::ZERO)?)
    }

    pub(super) fn wait<T: DeserializeOwned>(&mut self, path: &str, extra: Duration) -> Result<T, Failure> {
        read(&self.call(Method::Get, path, None, extra)?)
    }

    pub(super) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(io::Error::from)?;
        read(&self.call(Method::Post, path, Some(&body), Duration::ZERO)?)
    }

    pub(super) fn post_nothing<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        read(&self.call(Method::Post, path, None, Duration::ZERO)?)
    }

    pub(super) fn delete(&mut self, path: &str) -> Result<(), Failure> {
        let answer = self.call(Method::Delete, path, None, Duration::ZERO)?;
        if is_good(&answer) { Ok(()) } else { Err(refusal(&answer)) }
    }
}

fn is_good(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    if !is_good(answer) {
        return Err(refusal(answer));
    }
    // The library quotes what it found, and that may be a token.
    serde_json::from_slice(&answer.body).map_err(|e| {
        let at = format!("{:?} at line {}, column {}", e.classify(), e.line(), e.column());
        let line =
            format!("the daemon's answer is not what this version expects ({at}); run one version of both");
        Failure::new(Exit::Failed, line)
    })
}

fn refusal(answer: &Answer) -> Failure {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let line =
                format!("the daemon answered with status {} and no reason; look at its log", answer.status);
            Failure::new(Exit::Failed, line)
        }
    }
}

/// One part of a path: what may stand in a name or address, and must not in a path, is percent-encoded.
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
    fn names_stay_one_part_of_a_path() {
        assert_eq!(segment("ada+x@example.com"), "ada%2Bx%40example.com");
        assert_eq!(segment("a/../b?c#d e"), "a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("ü"), "%C3%BC");
    }
}
