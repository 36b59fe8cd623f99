//! The limits on what peers can consume.

use std::time::Duration;

/// File descriptors for everything else: the store, at most 128 code exchanges, refreshes, standard streams.
const RESERVED_FILES: u32 = 256;
/// With fewer connections, the server would be unusable.
const MIN_CONNECTIONS: u32 = 16;
/// For the control socket. A command has one connection, or 32 if it sends many requests, so more indicate a runaway script.
const CONTROL_CONNECTIONS: u32 = 256;

/// Limits on what peers can consume.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to the end of the TLS handshake, including the wait for the first byte.
    pub handshake: Duration,
    /// From the handshake (or accept, without TLS) to the end of the first request's head.
    pub header: Duration,
    /// A connection without a request in flight is closed after this time. This also bounds later request
    /// heads and the time that a client takes to read a response.
    pub idle: Duration,
    /// After a graceful close has begun, a connection without a request in flight is dropped after this time.
    pub closing: Duration,
    /// Maximum size of one request's head in bytes, for HTTP/1 and HTTP/2 alike. HTTP/1 uses at least 8192.
    pub header_bytes: u32,
    /// Maximum number of connections. When one more arrives, the address with the most connections loses its
    /// longest-idle one. While every connection has a request in flight, new ones wait in the kernel's queue.
    pub connections: u32,
    /// Maximum number of requests in flight on one HTTP/2 connection.
    pub streams: u32,
    /// From the stop until requests still in flight are cut off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A handshake takes two round trips and less than 1 ms of work. 10 s allow for a bad mobile link.
            handshake: Duration::from_secs(10),
            // A request head fits into a few packets, so the same time is enough.
            header: Duration::from_secs(10),
            // API clients that send a request every half minute keep their connection. Browsers reconnect
            // without an error.
            idle: Duration::from_secs(60),
            // Several round trips: enough for the client to answer GOAWAY or close_notify.
            closing: Duration::from_secs(1),
            // Our own cookies take less than 4 KiB, but cookies ignore ports, so other services on localhost
            // add theirs.
            header_bytes: 32 * 1024,
            // An idle connection takes about 26 kB, so all together 27 MB. An HTTP/2 connection whose client
            // reads none of its 64 responses takes 0.3 to 0.4 MB for as long as it may be idle, so up to 0.4
            // GB in total (tests measure both). Each connection needs a file descriptor. If the process has
            // fewer, the accept loop stalls earlier, and the store and calls to Webex fail. So the caller
            // lowers this limit if there are few.
            connections: 1024,
            // Browsers open about ten streams. An API client that wants more opens a second connection. A
            // lower limit would harm clients that send a burst before they have seen the limit: the rest of
            // the burst is refused, and too many refusals end a connection.
            streams: 64,
            // Less than the 10 s after which container engines kill a process, with time left to close the
            // store.
            drain: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// Lowers the number of connections if the process may open few files, so that a flood leaves some for
    /// the store and for calls to Webex. `files` is the process's limit of open files. `listeners` is the
    /// number of listeners that share it, without the control socket.
    #[must_use]
    pub fn for_open_files(files: u32, listeners: u32) -> Self {
        let all = Self::default();
        let share = files.saturating_sub(RESERVED_FILES + control_share(files)) / listeners.max(1);
        Self { connections: all.connections.min(share).max(MIN_CONNECTIONS), ..all }
    }

    /// The same for the control socket.
    #[must_use]
    pub fn for_control_socket(files: u32) -> Self {
        Self { connections: control_share(files), ..Self::default() }
    }
}

fn control_share(files: u32) -> u32 {
    (files / 16).clamp(MIN_CONNECTIONS, CONTROL_CONNECTIONS)
}

/// How many files this process may open (on Linux; elsewhere a common default).
#[must_use]
pub fn open_files() -> u32 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_limits_leave_files_for_everything_else() {
        let most = Limits::default().connections;
        for (files, listeners, each, control) in [
            (20_000, 1, most, 256),
            (4_096, 2, most, 256),
            (1_024, 2, 352, 64),
            (400, 1, 119, 25),
            (0, 2, 16, 16),
        ] {
            let (http, local) = (
                Limits::for_open_files(files, listeners).connections,
                Limits::for_control_socket(files).connections,
            );
            assert_eq!((http, local), (each, control), "{files} files, {listeners} listeners");
            assert!(files < 400 || http * listeners + local + RESERVED_FILES <= files, "{files} files");
        }
    }
}
