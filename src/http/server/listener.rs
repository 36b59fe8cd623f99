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
use tokio_util::sync::CancellationToken;

use crate::http::response::response_body::ResponseBody;
use crate::http::server::activity::Activity;
use crate::http::server::connection::connection;
use crate::http::server::connection::local_connection;
use crate::http::server::connection_limit::ConnectionLimiter;
use crate::http::server::context::ListenerContext;
use crate::http::server::context::TlsContext;
use crate::http::server::handler::Peer;
use crate::http::server::limits::Limits;
use crate::log_throttle::LogThrottle;
use crate::tasks::Tasks;

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
    let context = Arc::new(ListenerContext { tls, limits, tasks, proxies: LogThrottle::default() });
    let shared = context.clone();
    let work = move |stream: TcpStream, addr: SocketAddr, activity| {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        connection(stream, addr, activity, shared.clone(), service.clone())
    };
    accept(listener, &context, work).await;
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
    let context = Arc::new(ListenerContext { tls: None, limits, tasks, proxies: LogThrottle::default() });
    let shared = context.clone();
    let work = move |stream: UnixStream, _addr, activity| {
        local_connection(stream, activity, shared.clone(), service.clone())
    };
    accept(listener, &context, work).await;
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
async fn accept<L, W, F>(listener: L, context: &ListenerContext, work: W)
where
    L: Accept,
    W: Fn(L::Stream, L::PeerAddress, Arc<Activity>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (stopping, limits) = (context.tasks.stopping(), &context.limits);
    let limiter = ConnectionLimiter::new(limits.connections);
    let acceptor =
        Acceptor { listener, limiter: Arc::clone(&limiter), no_files: LogThrottle::new(LOG_INTERVAL) };
    let is_full = LogThrottle::new(LOG_INTERVAL);
    loop {
        let Some((stream, from)) = acceptor.next(&stopping).await else { break };
        if limiter.is_full() && is_full.next_line().is_some() {
            log::warn!("connection limit ({}) reached; closing idle connections", limits.connections);
        }
        let Some(permit) = stopping.run_until_cancelled(limiter.acquire(L::address(&from))).await else {
            break;
        };
        let work = work(stream, from, permit.activity());
        context.tasks.spawn("connection", async move {
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
    no_files: LogThrottle,
}

impl<L: Accept> Acceptor<L> {
    /// Returns the next connection, and retries after errors. `None` at the stop.
    async fn next(&self, stopping: &CancellationToken) -> Option<(L::Stream, L::PeerAddress)> {
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
    fn evict_connections(&self, error: &io::Error) -> Duration {
        if self.no_files.next_line().is_some() {
            log::error!("cannot accept connections, retrying: {error}");
        }
        if self.limiter.evict(EVICTED_AT_ONCE) > 0 { EVICTION_PAUSE } else { ACCEPT_PAUSE }
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
