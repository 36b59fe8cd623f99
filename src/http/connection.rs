//! One connection from its first byte to its end, with a limit on every wait.
//! It never logs URLs or headers: they hold codes and keys.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::Version;
use hyper::body::Incoming;
use hyper::header;
use hyper::header::HeaderValue;
use hyper::rt::Executor;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper::service::Service;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::Authority;
use crate::http::activity::Activity;
use crate::http::log_limit::LogLimit;
use crate::http::meter::Metered;
use crate::http::redirect;
use crate::http::respond;
use crate::http::serve::Answer;
use crate::http::serve::Body;
use crate::http::serve::Limits;
use crate::http::serve::Peer;
use crate::http::serve::Secure;
use crate::http::tls::TlsFeed;
use crate::tasks::Tasks;

/// What every connection of one listener shares.
pub(super) struct Door {
    pub(super) tls: Option<Secure>,
    pub(super) limits: Arc<Limits>,
    pub(super) tasks: Tasks,
    /// The lines about proxies that speak plain HTTP to a port that speaks TLS.
    pub(super) proxies: LogLimit,
}

/// A peer that is gone is noticed after interval + time-out, also while its request is in flight.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// What we sent and no peer acknowledges for so long ends its connection.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Bytes of request body a peer may send ahead, per stream; our largest body is far smaller.
const STREAM_WINDOW: u32 = 32 * 1024;
/// The same for the whole connection: the least that HTTP/2 allows.
const CONNECTION_WINDOW: u32 = 65_535;
/// Bytes of answer kept per stream for a peer that reads slowly.
const SEND_BUFFER: usize = 64 * 1024;
/// Requests taken back before we saw them, or refused by us, before the connection is ended (rapid reset).
const RESETS: usize = 16;
/// hyper accepts no smaller buffer.
const LEAST_BUFFER: usize = 8192;
/// The first byte of every TLS connection: a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

enum Opened {
    Tls(Box<TlsStream<Metered<TcpStream>>>),
    Plain(Metered<TcpStream>),
    Left,
}

/// What is answered on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// Requests.
    Pages,
    /// Plain HTTP where TLS is spoken: one redirect, which trusts no host that it is told.
    Redirect,
}

/// Who is served, and how busy we are with them.
struct Guest<W> {
    who: W,
    activity: Arc<Activity>,
}

/// Serves one accepted connection to its end.
pub(super) async fn connection(
    stream: TcpStream,
    addr: SocketAddr,
    activity: Arc<Activity>,
    door: Arc<Door>,
    service: impl Answer,
) {
    // Answers are written whole; waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("{addr}: no TCP_NODELAY: {error}");
    }
    notice_death(&stream, addr);
    let guest = Guest { who: addr, activity };
    let Some(secure) = &door.tls else {
        let (stream, peer) = (guest.metered(stream), Peer { addr, secure: false });
        return door.http1(stream, guest, Port::Pages, move |request| service.answer(request, peer)).await;
    };
    let stopping = door.tasks.stopping();
    let opening = timeout(door.limits.handshake, guest.open(stream, &secure.feed));
    let opened = tokio::select! {
        opened = stopping.run_until_cancelled(opening) => opened,
        () = guest.activity.dismissed() => return log::debug!("{addr}: made room for another in its handshake"),
    };
    guest.activity.opened();
    match opened {
        Some(Ok(Ok(Opened::Tls(stream)))) => {
            let peer = Peer { addr, secure: true };
            // By ALPN: sniffing the protocol has no time limit.
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                door.http2(*stream, guest, move |request| service.answer(request, peer)).await;
            } else {
                door.http1(*stream, guest, Port::Pages, move |request| service.answer(request, peer)).await;
            }
        }
        Some(Ok(Ok(Opened::Plain(stream)))) => {
            let (registered, shared) = (secure.authority.clone(), door.clone());
            let redirect = move |request| {
                let answer = plain_answer(&request, &registered, &shared.proxies);
                async move { answer }
            };
            door.http1(stream, guest, Port::Redirect, redirect).await;
        }
        Some(Ok(Ok(Opened::Left))) => log::debug!("{addr}: left without a word"),
        Some(Ok(Err(error))) => log::debug!("{addr}: no TLS: {error}"),
        Some(Err(_elapsed)) => log::debug!("{addr}: no TLS within {:?}", door.limits.handshake),
        None => log::debug!("{addr}: dropped in its handshake by the stop"),
    }
}

/// To a plain request on a port that speaks TLS.
fn plain_answer(request: &Request<Incoming>, registered: &Authority, proxies: &LogLimit) -> Response<Body> {
    if !redirect::came_by_https(request) {
        return redirect::to_https(request, registered);
    }
    if let Some(more) = proxies.due() {
        log::warn!(
            "a proxy (X-Forwarded-Proto: https) speaks plain HTTP to this port, which expects HTTPS: let it speak HTTPS \
             to the daemon, such as by proxy_pass https://… in nginx, or set TOKEND_TLS=proxy if it runs on this machine; docs/operations.md, \"Behind a proxy\", says more{more}"
        );
    }
    redirect::to_proxy()
}

/// Serves one accepted connection of the control socket to its end: HTTP/1 only, and no address to speak of.
pub(super) async fn local_connection<S, F>(
    stream: UnixStream,
    activity: Arc<Activity>,
    door: Arc<Door>,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let peer = stream.peer_cred();
    let who = peer.map_or_else(
        |error| format!("control ({error})"),
        |peer| format!("control, uid {} pid {}", peer.uid(), peer.pid().unwrap_or_default()),
    );
    log::debug!("{who}: connected");
    let guest = Guest { who, activity };
    door.http1(guest.metered(stream), guest, Port::Pages, service).await;
}

/// A peer that vanished without a word acknowledges nothing. A flow writes too little to fill the system's buffer, which
/// would go on trying for a quarter of an hour.
fn notice_death(stream: &TcpStream, addr: SocketAddr) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        log::debug!("{addr}: no TCP_USER_TIMEOUT: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, addr);
}

impl<W> Guest<W> {
    fn metered<T>(&self, stream: T) -> Metered<T> {
        Metered::new(stream, Arc::clone(&self.activity))
    }

    async fn open(&self, stream: TcpStream, feed: &TlsFeed) -> io::Result<Opened> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(Opened::Left);
        }
        let stream = self.metered(stream);
        if first != [HANDSHAKE_RECORD] {
            return Ok(Opened::Plain(stream));
        }
        let settings = Arc::clone(&feed.borrow());
        Ok(Opened::Tls(Box::new(TlsAcceptor::from(settings).accept(stream).await?)))
    }
}

impl Door {
    async fn http1<T, S, F>(&self, stream: T, guest: Guest<impl Display>, port: Port, service: S)
    where
        TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Unpin,
        S: Fn(Request<Incoming>) -> F,
        F: Future<Output = Response<Body>>,
    {
        let limits = &self.limits;
        let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(LEAST_BUFFER);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts the idle time before a head as part of it. The watchdog below holds the first head to
            // `limits.header`; this holds each later one to the idle limit, should the watchdog fail.
            .header_read_timeout(limits.header.max(limits.idle))
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes)
            .keep_alive(port == Port::Pages)
            // A peer that has said all it wants may shut its side and still gets its answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), watched(&guest.activity, port, service));
        self.drive(connection, &guest).await;
    }

    async fn http2<S, F>(&self, stream: TlsStream<Metered<TcpStream>>, guest: Guest<impl Display>, service: S)
    where
        S: Fn(Request<Incoming>) -> F + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let connection = http2::Builder::new(Streams(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.header_bytes)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(RESETS)
            .serve_connection(TokioIo::new(stream), watched(&guest.activity, Port::Pages, service));
        self.drive(connection, &guest).await;
    }

    /// Runs a connection until it ends, has nothing to do for too long, or is told to stop; then sees it out.
    async fn drive(&self, connection: impl Connection, guest: &Guest<impl Display>) {
        let Guest { who, activity } = guest;
        let (limits, stopping) = (&self.limits, self.tasks.stopping());
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return note(who, ended),
            () = activity.quiet(limits.header, limits.idle) => {
                if !activity.asked() {
                    return log::debug!("{who}: no request within {:?}", limits.header);
                }
            }
            () = activity.dismissed() => {
                connection.as_mut().graceful_shutdown();
                // One try to say goodbye; another is waiting for the room.
                let _ = timeout(Duration::ZERO, connection).await;
                return log::debug!("{who}: made room for another");
            }
            () = stopping.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let drained = async {
            stopping.cancelled().await;
            tokio::time::sleep(limits.drain).await;
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => note(who, ended),
            () = activity.still_quiet(limits.closing) => log::debug!("{who}: idle, and dropped: it did not close"),
            () = drained => log::debug!("{who}: cut off by the stop"),
        }
    }
}

/// Peers leave as they like (reset, no close_notify, half a request): nothing an operator could act on.
fn note(who: &impl Display, ended: hyper::Result<()>) {
    match ended {
        Ok(()) => log::trace!("{who}: closed"),
        Err(error) => log::debug!("{who}: ended: {error}"),
    }
}

/// Whether a request says clearly which host it is for: with HTTP/1.1 exactly one `Host` (RFC 9112, 3.2). Where there are
/// two, a proxy on the way may have taken the other one.
fn has_clear_host(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
}

/// `service`, with every request counted as long as it is worked on.
fn watched<S, F>(
    activity: &Arc<Activity>,
    port: Port,
    service: S,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + use<S, F>,
> + use<S, F>
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let activity = Arc::clone(activity);
    service_fn(move |mut request: Request<Incoming>| {
        let in_flight = activity.begin();
        // Whoever waits for a stranger's body says so.
        request.extensions_mut().insert(Arc::clone(&activity));
        // Whatever a proxy took for this request's end, nothing after it is taken for a request (RFC 9112, 6.1). Where a
        // length stands beside the chunks hyper sees to that; not if a proxy has dropped it, or knows no chunks.
        let last = request.headers().contains_key(header::TRANSFER_ENCODING);
        // In its own box: hyper keeps this future until the answer is taken, which a hostile peer never does.
        let is_clear = port == Port::Redirect || has_clear_host(&request);
        let reply = is_clear.then(|| Box::pin(service(request)));
        let activity = Arc::clone(&activity);
        async move {
            let mut answer = match reply {
                Some(reply) => reply.await,
                None => {
                    respond::plain(StatusCode::BAD_REQUEST, "A request must have exactly one Host header.\n")
                }
            };
            answer.body_mut().tell(&activity);
            drop(in_flight);
            if last || !is_clear {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}

/// HTTP/2 streams run as tasks of ours, so that the stop waits for them.
#[derive(Clone)]
struct Streams(Tasks);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http/2 stream", stream);
    }
}

/// What hyper's two kinds of connection have in common.
trait Connection: Future<Output = hyper::Result<()>> {
    /// No further request; ends when those in flight have their answers.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<T, S> Connection for http1::Connection<T, S>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        // hyper's own of the same name.
        Self::graceful_shutdown(self);
    }
}

impl<T, S> Connection for http2::Connection<T, S, Streams>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible, Future: Send + 'static>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        // hyper's own of the same name.
        Self::graceful_shutdown(self);
    }
}
