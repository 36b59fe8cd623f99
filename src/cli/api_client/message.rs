//! Requests to the API and their responses, in both ways to reach it.

use std::path::PathBuf;
use std::time::Duration;

use crate::http::api::PREFIX;
use zeroize::Zeroizing;

/// The path prefix of the API.
pub(in crate::cli) const API: &str = PREFIX;

/// The HTTP method of an API request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ApiMethod {
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
    pub(in crate::cli) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// A response of the API; it may contain a token.
pub(in crate::cli) struct ApiResponse {
    /// The HTTP status.
    pub(in crate::cli) status: u16,
    /// The JSON body; it may be empty.
    pub(in crate::cli) body: Zeroizing<Vec<u8>>,
}

/// Why there is no response of the API.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum CallError {
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

/// Encodes a segment of a path: characters that are not allowed in a path are percent-encoded.
pub(in crate::cli) fn segment(text: &str) -> String {
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
