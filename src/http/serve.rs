//! The accept loop and the limits it holds peers to. What a connection does is in `connection`, what a request
//! gets is the caller's.

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
use crate::http::activity::Activity;
use crate::http::connection::Door;
use crate::http::connection::connection;
use crate::http::connection::local_connection;
use crate::http::crowd::Crowd;
use crate::http::log_limit::LogLimit;
use crate::http::tls::TlsFeed;
use crate::tasks::Tasks;

pub use crate::http::flow::Body;

/// What a peer may take of us before it is sent away.
#[derive(Clone, Debug)]
pub struct Limits {
    /// From accept to the end of the TLS handshake, the first byte included.
    pub handshake: Duration,
    /// From the handshake (or accept, without TLS) to the end of the first request's head.
    pub header: Duration,
    /// No request in flight for this long: the connection is closed. Bounds later request heads and the taking of
    /// an answer, too.
    pub idle: Duration,
    /// A connection that was told to close and has nothing in flight is dropped after this.
    pub closing: Duration,
    /// Bytes of one request's head, for HTTP/1 and HTTP/2 alike. HTTP/1 counts at least 8192.
    pub header_bytes: u32,
    /// Connections at once. For one more, one goes of the address that holds most: the one that has been silent for the
    /// longest time. While all are being answered, more wait in the kernel's queue.
    pub connections: u32,
    /// Requests in flight at once on one HTTP/2 connection.
    pub streams: u32,
    /// From the stop to the moment when requests still in flight are cut off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A handshake is two round trips and under 1 ms of work: 10 s is a bad mobile link, not more.
            handshake: Duration::from_secs(10),
            // A head fits into a few packets; the same link, the same patience.
            header: Duration::from_secs(10),
            // Readers that ask every half minute keep their connection; browsers open a new one without noticing.
            idle: Duration::from_secs(60),
            // Several round trips: enough for GOAWAY or close_notify to be answered.
            closing: Duration::from_secs(1),
            // Our cookie is under 4 KiB, but cookies ignore ports: other services on localhost add theirs.
            header_bytes: 32 * 1024,
            // About 26 kB each when idle, so 27 MB for all. One of HTTP/2 that takes none of its 64 answers needs 0.3
            // to 0.4 MB for as long as it may be idle, so 0.4 GB if all do it (tests/abuse measures both). Needs a
            // descriptor each: where the process has fewer, the accept loop waits earlier, and files and calls of
            // other parts fail, so the caller lowers this.
            connections: 1024,
            // Browsers open about ten; an API reader that wants more opens a second connection. Not fewer: a client that
            // sends a burst before it has seen our limit has the rest refused, and too many refusals end a connection.
            streams: 64,
            // Under the 10 s after which container engines kill, with time left to close the store.
            drain: Duration::from_secs(8),
        }
    }
}

impl Limits {
    /// Fewer connections where the process may not open many files: a flood must leave some for the store and for
    /// calls to Webex. `files` is the process's limit, `doors` how many listeners share it, the control socket aside.
    #[must_use]
    pub fn within(files: u32, doors: u32) -> Self {
        let all = Self::default();
        let share = files.saturating_sub(FILES_ELSEWHERE + control_share(files)) / doors.max(1);
        Self { connections: all.connections.min(share).max(FEWEST), ..all }
    }

    /// The same for the control socket.
    #[must_use]
    pub fn control(files: u32) -> Self {
        Self { connections: control_share(files), ..Self::default() }
    }
}

fn control_share(files: u32) -> u32 {
    (files / 16).clamp(FEWEST, CONTROL)
}

/// How many files this process may open (Linux; elsewhere the usual default).
#[must_use]
pub fn open_files() -> u32 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Of the other end of the TCP connection; an IPv4 address stays one, also on a dual-stack socket.
    pub addr: SocketAddr,
    /// Whether the request came through our TLS.
    pub secure: bool,
}

/// What makes a port speak TLS.
#[derive(Clone, Debug)]
pub struct Secure {
    /// The settings for each new connection.
    pub feed: TlsFeed,
    /// Where plain HTTP is sent, unless its `Host` header names this host or a loopback name: the redirect URI's.
    pub authority: Authority,
}

/// A service: a clone of it answers each request. It cannot fail; a panic costs its connection (HTTP/1) or its
/// stream (HTTP/2), nothing else.
pub trait Answer: Clone + Send + 'static {
    /// The work for one request. Dropped when the peer leaves or the drain time is up, so work that must be done once
    /// begun belongs into a task of its own.
    type Reply: Future<Output = Response<Body>> + Send + 'static;

    /// Begins the work for `request`. Its body is unbounded: take it with `http::body::read`.
    fn answer(&self, request: Request<Incoming>, peer: Peer) -> Self::Reply;
}

impl<S, F> Answer for S
where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    type Reply = F;

    fn answer(&self, request: Request<Incoming>, peer: Peer) -> F {
        self(request, peer)
    }
}

/// Files for everything else: the store, at most 128 exchanges, refreshes, standard streams.
const FILES_ELSEWHERE: u32 = 256;
/// Below this nobody would be served at all.
const FEWEST: u32 = 16;
/// On the control socket: commands come one at a time and leave at once; more at once are a script gone wild.
const CONTROL: u32 = 256;

/// How long to wait when the system has no descriptor or memory for another connection, and no connection can go.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many connections then make room at once, and how long they have for it.
const SHED: usize = 16;
const SHED_PAUSE: Duration = Duration::from_millis(5);
/// The same trouble is not logged more often than this.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Serves `listener` until `tasks` stop: with TLS (plain HTTP is then sent to https), or plain HTTP/1. No error of a
/// peer or of the system ends it. At the stop, no connection is accepted any more, idle ones are closed, and requests
/// in flight get `limits.drain` to finish. Returns when all connections are gone or that time is up.
pub async fn serve<S, F>(
    listener: TcpListener,
    tls: Option<Secure>,
    limits: Arc<Limits>,
    service: S,
    tasks: Tasks,
) where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let door = Arc::new(Door { tls, limits, tasks, proxies: LogLimit::default() });
    let shared = door.clone();
    let work = move |stream: TcpStream, addr: SocketAddr, activity| {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        connection(stream, addr, activity, shared.clone(), service.clone())
    };
    accept(listener, &door, work).await;
}

/// Serves the control socket until `tasks` stop, as [`serve`] does a port: HTTP/1, no TLS.
pub(super) async fn serve_local<S, F>(listener: UnixListener, limits: Arc<Limits>, service: S, tasks: Tasks)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let door = Arc::new(Door { tls: None, limits, tasks, proxies: LogLimit::default() });
    let shared = door.clone();
    let work = move |stream: UnixStream, _addr, activity| {
        local_connection(stream, activity, shared.clone(), service.clone())
    };
    accept(listener, &door, work).await;
}

/// What connections come from.
trait Listen {
    type Stream;
    type From;

    async fn accept(&self) -> io::Result<(Self::Stream, Self::From)>;

    /// The address of whoever came, where there is one.
    fn address(from: &Self::From) -> Option<IpAddr>;
}

impl Listen for TcpListener {
    type Stream = TcpStream;
    type From = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        // tokio's own of the same name.
        Self::accept(self).await
    }

    fn address(from: &SocketAddr) -> Option<IpAddr> {
        Some(from.ip())
    }
}

impl Listen for UnixListener {
    type Stream = UnixStream;
    type From = tokio::net::unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::From)> {
        // tokio's own of the same name.
        Self::accept(self).await
    }

    fn address(_from: &Self::From) -> Option<IpAddr> {
        None
    }
}

/// Accepts until the stop, and runs `work` on each connection; then waits for those that run.
async fn accept<L, W, F>(listener: L, door: &Door, work: W)
where
    L: Listen,
    W: Fn(L::Stream, L::From, Arc<Activity>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (stopping, limits) = (door.tasks.stopping(), &door.limits);
    let crowd = Crowd::new(limits.connections);
    let mut acceptor = Acceptor { listener, crowd: Arc::clone(&crowd), no_files: Seldom(None) };
    let mut is_full = Seldom(None);
    loop {
        let Some((stream, from)) = acceptor.next(&stopping).await else { break };
        if crowd.is_full() && is_full.now() {
            log::warn!("{} connections: the most useless ones make room for new ones", limits.connections);
        }
        let Some(seat) = stopping.run_until_cancelled(crowd.seat(L::address(&from))).await else { break };
        let work = work(stream, from, seat.activity());
        door.tasks.spawn("connection", async move {
            work.await;
            drop(seat);
        });
    }
    // New connections are refused while the old ones finish.
    drop(acceptor);
    if tokio::time::timeout(limits.drain, crowd.gone()).await.is_err() {
        let (left, drain) = (crowd.size(), limits.drain);
        log::warn!("{left} connections were still busy {drain:?} after the stop and are cut off");
    }
}

struct Acceptor<L> {
    listener: L,
    crowd: Arc<Crowd>,
    no_files: Seldom,
}

impl<L: Listen> Acceptor<L> {
    /// The next connection, whatever goes wrong before it comes; `None` at the stop.
    async fn next(&mut self, stopping: &CancellationToken) -> Option<(L::Stream, L::From)> {
        loop {
            match stopping.run_until_cancelled(self.listener.accept()).await? {
                Ok(accepted) => return Some(accepted),
                Err(error) if is_the_peers(&error) => {
                    log::debug!("a peer left before it was accepted: {error}")
                }
                Err(error) => {
                    let pause = self.shed(&error);
                    stopping.run_until_cancelled(tokio::time::sleep(pause)).await?;
                }
            }
        }
    }

    /// Most likely there is no descriptor left, and the store and calls to Webex need some, too. Returns for how long
    /// to wait now.
    fn shed(&mut self, error: &io::Error) -> Duration {
        if self.no_files.now() {
            log::error!("cannot accept connections, trying again: {error}");
        }
        if self.crowd.make_room(SHED) > 0 { SHED_PAUSE } else { ACCEPT_PAUSE }
    }
}

/// When something was last told that is not to be told again and again.
struct Seldom(Option<Instant>);

impl Seldom {
    fn now(&mut self) -> bool {
        let due = self.0.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

fn is_the_peers(error: &io::Error) -> bool {
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
    fn connections_leave_files_for_everything_else() {
        let most = Limits::default().connections;
        for (files, doors, each, control) in [
            (20_000, 1, most, 256),
            (4_096, 2, most, 256),
            (1_024, 2, 352, 64),
            (400, 1, 119, 25),
            (0, 2, 16, 16),
        ] {
            let (door, local) =
                (Limits::within(files, doors).connections, Limits::control(files).connections);
            assert_eq!((door, local), (each, control), "{files} files, {doors} doors");
            assert!(files < 400 || door * doors + local + FILES_ELSEWHERE <= files, "{files} files");
        }
    }
}
