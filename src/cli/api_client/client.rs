//! The connection of a command to the API.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::api_types::ProblemDetails;
use crate::cli::api_client::context::CommandContext;
use crate::cli::api_client::in_process::InProcessApi;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::api_client::message::ApiMethod;
use crate::cli::api_client::message::ApiResponse;
use crate::cli::api_client::message::CallError;
use crate::cli::api_client::socket::Socket;
use crate::cli::api_client::socket::SocketRequest;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::clock::Clock as _;
use crate::clock::SystemClock;

/// How long to wait for a daemon that is starting, or for another command that has the store open.
const START_WAIT: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(50);

/// A connection to the API.
pub(in crate::cli) enum ApiClient {
    /// The running daemon, with the connection that found it.
    Daemon(Socket, Option<UnixStream>),
    /// The API in this process.
    Here(Box<InProcessApi>),
}

impl ApiClient {
    /// Connects to the daemon. Without a daemon, opens the store in this process.
    #[expect(clippy::disallowed_methods, reason = "no runtime is there to sleep on")]
    pub(in crate::cli) fn open(context: &CommandContext, needs: StoreAccess) -> Result<Self, CallError> {
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
    pub(in crate::cli) fn connect(context: &CommandContext) -> Result<Self, CallError> {
        let socket = context.socket.clone();
        let stream = socket.connect()?;
        let stream = stream.ok_or_else(|| {
            CallError::NotRunning(socket.path().to_owned(), "only a running daemon can do this")
        })?;
        Ok(Self::Daemon(socket, Some(stream)))
    }

    /// Sends one request. `extra` extends the timeout of requests that wait by design.
    pub(in crate::cli) fn call(
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

    /// The connection, for several threads at once.
    pub(in crate::cli) fn share(&mut self) -> SharedApi<'_> {
        match self {
            Self::Here(local) => SharedApi::Here(local),
            Self::Daemon(socket, first) => {
                // No thread has a use for it, and it must not occupy the daemon.
                *first = None;
                SharedApi::Daemon(socket)
            }
        }
    }

    pub(in crate::cli) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Get, path, None, Duration::ZERO)?)
    }

    pub(in crate::cli) fn wait<T: DeserializeOwned>(
        &mut self,
        path: &str,
        extra: Duration,
    ) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Get, path, None, extra)?)
    }

    pub(in crate::cli) fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(io::Error::from)?;
        read(&self.call(ApiMethod::Post, path, Some(&body), Duration::ZERO)?)
    }

    pub(in crate::cli) fn post_nothing<T: DeserializeOwned>(
        &mut self,
        path: &str,
    ) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Post, path, None, Duration::ZERO)?)
    }

    pub(in crate::cli) fn delete(&mut self, path: &str) -> Result<(), CommandError> {
        let answer = self.call(ApiMethod::Delete, path, None, Duration::ZERO)?;
        if is_good(&answer) { Ok(()) } else { Err(to_error(&answer)) }
    }
}

/// A connection to the API that several threads use at once.
#[derive(Clone, Copy)]
pub(in crate::cli) enum SharedApi<'a> {
    /// The running daemon. Each request has its own connection.
    Daemon(&'a Socket),
    /// The API in this process.
    Here(&'a InProcessApi),
}

impl SharedApi<'_> {
    fn call(
        self,
        method: ApiMethod,
        path: &str,
        body: Option<&[u8]>,
        extra: Duration,
    ) -> Result<ApiResponse, CallError> {
        let answer = match self {
            Self::Here(local) => local.call(method, path, body)?,
            Self::Daemon(socket) => {
                let stream = socket.connect()?.ok_or_else(|| CallError::Gone(socket.path().to_owned()))?;
                socket.exchange(stream, &SocketRequest { method, path, body }, extra)?
            }
        };
        log::debug!("{} {path}: {}", method.as_str(), answer.status);
        Ok(answer)
    }

    pub(in crate::cli) fn get<T: DeserializeOwned>(self, path: &str) -> Result<T, CommandError> {
        read(&self.call(ApiMethod::Get, path, None, Duration::ZERO)?)
    }

    /// `extra`: how much longer than usual the request may take.
    pub(in crate::cli) fn post<T: DeserializeOwned>(
        self,
        path: &str,
        body: &impl Serialize,
        extra: Duration,
    ) -> Result<T, CommandError> {
        let body = serde_json::to_vec(body).map(Zeroizing::new).map_err(io::Error::from)?;
        read(&self.call(ApiMethod::Post, path, Some(&body), extra)?)
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
