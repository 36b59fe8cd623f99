//! Serves one connection from its first byte to its end, with a limit on every wait. It never logs URLs or
//! headers, because they contain codes and keys.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
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
use hyper::server::conn::http1;
use hyper::server::conn::http2;
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

use crate::http::response;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::activity::Activity;
use crate::http::server::byte_budget::BudgetedStream;
use crate::http::server::context::ListenerContext;
use crate::http::server::graceful::GracefulConnection;
use crate::http::server::graceful::StreamExecutor;
use crate::http::server::handler::Handler;
use crate::http::server::handler::Peer;
use crate::http::server::redirect;
use crate::http::server::redirect::Authority;
use crate::http::server::tls::TlsFeed;
use crate::log_throttle::LogThrottle;

/// Interval of HTTP/2 keep-alive pings. A dead peer is detected after interval plus timeout, even while its
/// request is in flight.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A TCP connection ends if the peer does not acknowledge sent data for this long.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Flow-control window of a stream: how many bytes of a request body a client may send ahead.
const STREAM_WINDOW: u32 = 32 * 1024;
/// The same for the whole connection: the minimum that HTTP/2 allows.
const CONNECTION_WINDOW: u32 = 65_535;
/// Bytes of a response that are buffered per stream for a client that reads slowly.
const SEND_BUFFER: usize = 64 * 1024;
/// How many streams a client may reset before we handled them, or cause us to refuse, before its connection
/// is closed (rapid reset).
const MAX_RESETS: usize = 16;
/// hyper accepts no smaller buffer.
const MIN_BUFFER: usize = 8192;
/// The first byte of every TLS connection: the type of a handshake record.
const HANDSHAKE_RECORD: u8 = 0x16;

enum OpenedStream {
    Tls(Box<TlsStream<BudgetedStream<TcpStream>>>),
    Plain(BudgetedStream<TcpStream>),
    Left,
}

/// How requests on a connection are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortKind {
    /// By the request handler.
    Pages,
    /// Plain HTTP on a TLS port: one redirect, to a known host only.
    Redirect,
}

/// The label and the activity of a connected peer.
struct PeerHandle<W> {
    who: W,
    activity: Arc<Activity>,
}

/// Serves one accepted connection until it ends.
pub(in crate::http) async fn connection(
    stream: TcpStream,
    addr: SocketAddr,
    activity: Arc<Activity>,
    context: Arc<ListenerContext>,
    service: impl Handler,
) {
    // Responses are written whole, so Nagle's algorithm would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("{addr}: cannot set TCP_NODELAY: {error}");
    }
    enable_dead_peer_detection(&stream, addr);
    let handle = PeerHandle { who: addr, activity };
    let Some(secure) = &context.tls else {
        let (stream, peer) = (handle.metered(stream), Peer { addr, secure: false });
        return context
            .http1(stream, handle, PortKind::Pages, move |request| service.handle(request, peer))
            .await;
    };
    let stopping = context.tasks.stopping();
    let opening = timeout(context.limits.handshake, handle.open(stream, &secure.feed));
    let opened = tokio::select! {
        opened = stopping.run_until_cancelled(opening) => opened,
        () = handle.activity.evicted() => return log::debug!("{addr}: evicted during the TLS handshake"),
    };
    handle.activity.opened();
    match opened {
        Some(Ok(Ok(OpenedStream::Tls(stream)))) => {
            let peer = Peer { addr, secure: true };
            // Decided by ALPN, because sniffing the protocol has no time limit.
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                context.http2(*stream, handle, move |request| service.handle(request, peer)).await;
            } else {
                context
                    .http1(*stream, handle, PortKind::Pages, move |request| service.handle(request, peer))
                    .await;
            }
        }
        Some(Ok(Ok(OpenedStream::Plain(stream)))) => {
            let (registered, shared) = (secure.authority.clone(), context.clone());
            let redirect = move |request| {
                let answer = respond_to_plain_http(&request, &registered, &shared.proxies);
                async move { answer }
            };
            context.http1(stream, handle, PortKind::Redirect, redirect).await;
        }
        Some(Ok(Ok(OpenedStream::Left))) => log::debug!("{addr}: closed before sending data"),
        Some(Ok(Err(error))) => log::debug!("{addr}: TLS handshake failed: {error}"),
        Some(Err(_elapsed)) => log::debug!("{addr}: no TLS handshake within {:?}", context.limits.handshake),
        None => log::debug!("{addr}: closed during the TLS handshake, because the daemon stops"),
    }
}

/// The response to plain HTTP on a TLS port.
fn respond_to_plain_http(
    request: &Request<Incoming>,
    registered: &Authority,
    proxies: &LogThrottle,
) -> Response<ResponseBody> {
    if !redirect::forwarded_as_https(request) {
        return redirect::redirect_to_https(request, registered);
    }
    if let Some(more) = proxies.next_line() {
        log::warn!(
            "a proxy (X-Forwarded-Proto: https) sends plain HTTP to this port, which expects HTTPS; configure it to use \
             HTTPS to the daemon, such as proxy_pass https://… in nginx, or set TOKEND_TLS=proxy if it runs on this \
             machine; see docs/operations.md, \"Behind a proxy\"{more}"
        );
    }
    redirect::proxy_misconfigured()
}

/// Serves one accepted connection of the control socket until it ends: HTTP/1 only. Its peer has no address.
pub(in crate::http) async fn local_connection<S, F>(
    stream: UnixStream,
    activity: Arc<Activity>,
    context: Arc<ListenerContext>,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    let peer = stream.peer_cred();
    let who = peer.map_or_else(
        |error| format!("control ({error})"),
        |peer| format!("control, uid {} pid {}", peer.uid(), peer.pid().unwrap_or_default()),
    );
    log::debug!("{who}: connected");
    let handle = PeerHandle { who, activity };
    context.http1(handle.metered(stream), handle, PortKind::Pages, service).await;
}

/// Detects peers that vanish without closing, because they acknowledge nothing. A streaming response writes
/// too little to fill the system's send buffer, so the system would retransmit for a quarter of an hour.
fn enable_dead_peer_detection(stream: &TcpStream, addr: SocketAddr) {
    #[cfg(target_os = "linux")]
    if let Err(error) = SockRef::from(stream).set_tcp_user_timeout(Some(UNACKNOWLEDGED)) {
        log::debug!("{addr}: cannot set TCP_USER_TIMEOUT: {error}");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, addr);
}

impl<W> PeerHandle<W> {
    fn metered<T>(&self, stream: T) -> BudgetedStream<T> {
        BudgetedStream::new(stream, Arc::clone(&self.activity))
    }

    async fn open(&self, stream: TcpStream, feed: &TlsFeed) -> io::Result<OpenedStream> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 0 {
            return Ok(OpenedStream::Left);
        }
        let stream = self.metered(stream);
        if first != [HANDSHAKE_RECORD] {
            return Ok(OpenedStream::Plain(stream));
        }
        let settings = Arc::clone(&feed.borrow());
        Ok(OpenedStream::Tls(Box::new(TlsAcceptor::from(settings).accept(stream).await?)))
    }
}

impl ListenerContext {
    async fn http1<T, S, F>(&self, stream: T, handle: PeerHandle<impl Display>, port: PortKind, service: S)
    where
        TokioIo<T>: hyper::rt::Read + hyper::rt::Write + Unpin,
        S: Fn(Request<Incoming>) -> F,
        F: Future<Output = Response<ResponseBody>>,
    {
        let limits = &self.limits;
        let header_bytes = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(MIN_BUFFER);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts the idle time before a head as part of it. The watchdog in `drive` holds the first
            // head to `limits.header`. This bounds each later head by the idle limit, in case the watchdog
            // fails.
            .header_read_timeout(limits.header.max(limits.idle))
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes)
            .keep_alive(port == PortKind::Pages)
            // A client that has sent its requests may shut its sending side and still gets the response.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), watched(&handle.activity, port, service));
        self.drive(connection, &handle).await;
    }

    async fn http2<S, F>(
        &self,
        stream: TlsStream<BudgetedStream<TcpStream>>,
        handle: PeerHandle<impl Display>,
        service: S,
    ) where
        S: Fn(Request<Incoming>) -> F + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        let connection = http2::Builder::new(StreamExecutor(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(self.limits.streams)
            .max_header_list_size(self.limits.header_bytes)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            .serve_connection(TokioIo::new(stream), watched(&handle.activity, PortKind::Pages, service));
        self.drive(connection, &handle).await;
    }

    /// Runs a connection until it ends, is idle for too long, is evicted, or the daemon stops. Then closes it
    /// gracefully.
    async fn drive(&self, connection: impl GracefulConnection, handle: &PeerHandle<impl Display>) {
        let PeerHandle { who, activity } = handle;
        let (limits, stopping) = (&self.limits, self.tasks.stopping());
        let mut connection = pin!(connection);
        tokio::select! {
            biased;
            ended = connection.as_mut() => return log_connection_end(who, ended),
            () = activity.idle(limits.header, limits.idle) => {
                if !activity.had_request() {
                    return log::debug!("{who}: no request within {:?}", limits.header);
                }
            }
            () = activity.evicted() => {
                connection.as_mut().graceful_shutdown();
                // One attempt to close gracefully, without waiting, because a new client waits for the slot.
                let _ = timeout(Duration::ZERO, connection).await;
                return log::debug!("{who}: evicted to make room for a new connection");
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
            ended = connection.as_mut() => log_connection_end(who, ended),
            () = activity.idle_after(limits.closing) => log::debug!("{who}: did not close and was dropped"),
            () = drained => log::debug!("{who}: cut off, because the daemon stops"),
        }
    }
}

/// Clients disconnect in many ways (reset, no close_notify, half a request), and an operator can act on none
/// of them. So nothing is logged above DEBUG.
fn log_connection_end(who: &impl Display, ended: hyper::Result<()>) {
    match ended {
        Ok(()) => log::trace!("{who}: closed"),
        Err(error) => log::debug!("{who}: closed with an error: {error}"),
    }
}

/// Whether the request names its host unambiguously: with HTTP/1.1 by exactly one `Host` (RFC 9112, 3.2). If
/// there are two, a proxy in between may have used the other one.
fn has_clear_host(request: &Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
}

/// Wraps `service` so that a request counts as in flight until it is handled.
fn watched<S, F>(
    activity: &Arc<Activity>,
    port: PortKind,
    service: S,
) -> impl Service<
    Request<Incoming>,
    Response = Response<ResponseBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<S, F>,
> + use<S, F>
where
    S: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<ResponseBody>>,
{
    let activity = Arc::clone(activity);
    service_fn(move |mut request: Request<Incoming>| {
        let in_flight = activity.begin();
        // A handler that waits for an unauthenticated client's body reports that here.
        request.extensions_mut().insert(Arc::clone(&activity));
        // The connection is closed after a chunked request, so that nothing after it is taken for a request,
        // wherever a proxy saw its end (RFC 9112, 6.1). hyper does this only if there is a length as well,
        // but a proxy may have dropped the length, or may not support chunks.
        let last = request.headers().contains_key(header::TRANSFER_ENCODING);
        // Boxed, so that its memory is freed once it is done: hyper keeps the outer future until the response
        // is read, which an abusive client never does.
        let is_clear = port == PortKind::Redirect || has_clear_host(&request);
        let reply = is_clear.then(|| Box::pin(service(request)));
        let activity = Arc::clone(&activity);
        async move {
            let mut answer = match reply {
                Some(reply) => reply.await,
                None => {
                    response::plain(StatusCode::BAD_REQUEST, "A request must have exactly one Host header.\n")
                }
            };
            answer.body_mut().set_activity(&activity);
            drop(in_flight);
            if last || !is_clear {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}
