//! The accept loop and its limits. The `connection` module serves each connection. The caller supplies the
//! request handler.

use std::future::Future;
use std::io;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::Authority;
use crate::http::log_limit::LogThrottle;
use crate::http::server::activity::Activity;
use crate::http::server::connection::ListenerContext;
use crate::http::server::connection::connection;
use crate::http::server::connection::local_connection;
use crate::http::server::connection_limit::ConnectionLimiter;
use crate::http::server::tls::TlsFeed;
use crate::tasks::Tasks;

pub use crate::http::response_body::ResponseBody;

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

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the other end of the TCP connection. An IPv4 address stays IPv4, also on a dual-stack
    /// socket.
    pub addr: SocketAddr,
    /// Whether the request arrived over our TLS.
    pub secure: bool,
}

/// What a port needs to speak TLS.
#[derive(Clone, Debug)]
pub struct TlsContext {
    /// The settings for each new connection.
    pub feed: TlsFeed,
    /// Where plain HTTP is redirected, unless its `Host` header names this host or a loopback name. It is the
    /// redirect URI's host.
    pub authority: Authority,
}

/// A request handler. Each connection uses a clone. It cannot fail; a panic ends only its connection (HTTP/1)
/// or its stream (HTTP/2).
pub trait Handler: Clone + Send + 'static {
    /// The future of one response. It is dropped when the client disconnects or the drain time is over, so
    /// work that must be completed once begun belongs in a task of its own.
    type ResponseFuture: Future<Output = Response<ResponseBody>> + Send + 'static;

    /// Begins to handle `request`. Its body is unbounded: read it with [`crate::http::request_body::read`].
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Self::ResponseFuture;
}

impl<S, F> Handler for S
where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    type ResponseFuture = F;

    fn handle(&self, request: Request<Incoming>, peer: Peer) -> F {
        self(request, peer)
    }
}

/// File descriptors for everything else: the store, at most 128 code exchanges, refreshes, standard streams.
const RESERVED_FILES: u32 = 256;
/// With fewer connections, the server would be unusable.
const MIN_CONNECTIONS: u32 = 16;
/// For the control socket. Commands connect one at a time and for a short time, so more indicate a runaway
/// script.
const CONTROL_CONNECTIONS: u32 = 256;

/// Pause after a failed accept (no file descriptor or memory is left) if no connection could be evicted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many connections are evicted after a failed accept.
const EVICTED_AT_ONCE: usize = 16;
/// How long the evicted connections get to close.
const EVICTION_PAUSE: Duration = Duration::from_millis(5);
/// Minimum time between two log lines about the same problem.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Serves `listener` until `tasks` stop: over TLS (plain HTTP is redirected to https), or plain HTTP/1. No
/// error of a client or of the system ends it. At the stop it accepts no more connections, closes idle ones,
/// and gives requests in flight `limits.drain` to finish. Returns when all connections are closed or that
/// time is over.
pub async fn serve<S, F>(
    listener: TcpListener,
    tls: Option<TlsContext>,
    limits: Arc<Limits>,
    service: S,
    tasks: Tasks,
) where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let door = Arc::new(ListenerContext { tls, limits, tasks, proxies: LogThrottle::default() });
    let shared = door.clone();
    let work = move |stream: TcpStream, addr: SocketAddr, activity| {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        connection(stream, addr, activity, shared.clone(), service.clone())
    };
    accept(listener, &door, work).await;
}

/// Serves the control socket until `tasks` stop, like [`serve`]: HTTP/1, no TLS.
pub(in crate::http) async fn serve_local<S, F>(
    listener: UnixListener,
    limits: Arc<Limits>,
    service: S,
    tasks: Tasks,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let door = Arc::new(ListenerContext { tls: None, limits, tasks, proxies: LogThrottle::default() });
    let shared = door.clone();
    let work = move |stream: UnixStream, _addr, activity| {
        local_connection(stream, activity, shared.clone(), service.clone())
    };
    accept(listener, &door, work).await;
}

/// A socket that accepts connections.
trait Accept {
    type Stream;
    type PeerAddress;

    async fn accept(&self) -> io::Result<(Self::Stream, Self::PeerAddress)>;

    /// The peer's IP address, if the socket has addresses.
    fn address(from: &Self::PeerAddress) -> Option<IpAddr>;
}

impl Accept for TcpListener {
    type Stream = TcpStream;
    type PeerAddress = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        // Calls tokio's method of the same name.
        Self::accept(self).await
    }

    fn address(from: &SocketAddr) -> Option<IpAddr> {
        Some(from.ip())
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;
    type PeerAddress = tokio::net::unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::PeerAddress)> {
        // Calls tokio's method of the same name.
        Self::accept(self).await
    }

    fn address(_from: &Self::PeerAddress) -> Option<IpAddr> {
        None
    }
}

/// Accepts connections until the stop, and runs `work` on each. Then waits for the running ones.
async fn accept<L, W, F>(listener: L, door: &ListenerContext, work: W)
where
    L: Accept,
    W: Fn(L::Stream, L::PeerAddress, Arc<Activity>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (stopping, limits) = (door.tasks.stopping(), &door.limits);
    let limiter = ConnectionLimiter::new(limits.connections);
    let mut acceptor = Acceptor { listener, limiter: Arc::clone(&limiter), no_files: LogInterval(None) };
    let mut is_full = LogInterval(None);
    loop {
        let Some((stream, from)) = acceptor.next(&stopping).await else { break };
        if limiter.is_full() && is_full.now() {
            log::warn!("connection limit ({}) reached; closing idle connections", limits.connections);
        }
        let Some(permit) = stopping.run_until_cancelled(limiter.acquire(L::address(&from))).await else {
            break;
        };
        let work = work(stream, from, permit.activity());
        door.tasks.spawn("connection", async move {
            work.await;
            drop(permit);
        });
    }
    // New connections are refused while the existing ones finish.
    drop(acceptor);
    if tokio::time::timeout(limits.drain, limiter.all_closed()).await.is_err() {
        let (left, drain) = (limiter.size(), limits.drain);
        log::warn!("closing {left} connections that are still busy {drain:?} after the stop");
    }
}

struct Acceptor<L> {
    listener: L,
    limiter: Arc<ConnectionLimiter>,
    no_files: LogInterval,
}

impl<L: Accept> Acceptor<L> {
    /// Returns the next connection, and retries after errors. `None` at the stop.
    async fn next(&mut self, stopping: &CancellationToken) -> Option<(L::Stream, L::PeerAddress)> {
        loop {
            match stopping.run_until_cancelled(self.listener.accept()).await? {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_peer_error(&error) => {
                    log::debug!("a client disconnected before its connection was accepted: {error}")
                }
                Err(error) => {
                    let pause = self.evict_connections(&error);
                    stopping.run_until_cancelled(tokio::time::sleep(pause)).await?;
                }
            }
        }
    }

    /// Evicts idle connections. Most likely no file descriptor is left, and the store and calls to Webex need
    /// some, too. Returns how long to wait before the next accept.
    fn evict_connections(&mut self, error: &io::Error) -> Duration {
        if self.no_files.now() {
            log::error!("cannot accept connections, retrying: {error}");
        }
        if self.limiter.evict(EVICTED_AT_ONCE) > 0 { EVICTION_PAUSE } else { ACCEPT_PAUSE }
    }
}

/// The time of the last log line about a problem that may repeat.
struct LogInterval(Option<Instant>);

impl LogInterval {
    fn now(&mut self) -> bool {
        let due = self.0.is_none_or(|told| told.elapsed() >= LOG_INTERVAL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

fn is_peer_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
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
