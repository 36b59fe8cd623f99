//! Sockets around the model.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::model::{Answer, Cut, Model, Request, Visit};
use crate::settings::Settings;
use crate::tasks::{self, StreamsOf};
use crate::wire::{Cutter, Line, Parcel};
use crate::{steer, tls};

/// Larger request bodies are refused.
const BODY_LIMIT: usize = 1 << 20;

/// A running simulator on loopback. It stops, connections included, when this is dropped.
#[derive(Debug)]
pub struct Sim {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: Option<String>,
    accepting: JoinHandle<()>,
}

/// The model, behind a lock that is never held across an await, and its clock.
#[derive(Debug)]
struct Shared {
    model: Mutex<Model>,
    clock: Clock,
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        act(&mut self.model.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &Request) -> Answer {
        let now_ms = self.clock.now_ms();
        self.with(|model| match request.path.strip_prefix("/sim/") {
            Some(word) => steer::answer(model, &self.clock, word, request),
            None => model.answer(now_ms, request),
        })
    }
}

impl Sim {
    /// Starts on a free port of 127.0.0.1, without TLS.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), false, settings).await
    }

    /// Starts on this address of loopback, with or without TLS.
    ///
    /// # Errors
    /// When the address is not on loopback or cannot be had.
    pub async fn start_on(address: SocketAddr, tls: bool, mut settings: Settings) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the simulator stays on loopback"));
        }
        let identity = if tls { Some(tls::identity()?) } else { None };
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        if settings.base_url.is_empty() {
            settings.base_url = base_url(address, tls);
        }
        let (acceptor, ca_pem) = identity.map_or((None, None), |id| (Some(id.acceptor), Some(id.ca_pem)));
        let shared = Arc::new(Shared { model: Mutex::new(Model::new(settings)), clock: Clock::default() });
        let accepting = tasks::spawn(accept(listener, acceptor, Arc::clone(&shared)));
        Ok(Self { shared, address, ca_pem, accepting })
    }

    /// What a client calls Webex's base: `http://127.0.0.1:PORT/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        base_url(self.address, self.ca_pem.is_some())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority to trust, if it speaks TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<String> {
        self.ca_pem.clone()
    }

    /// Looks at the model, or steers it. Calls wait meanwhile.
    pub fn with<T>(&self, act: impl FnOnce(&mut Model) -> T) -> T {
        self.shared.with(act)
    }

    /// The simulator's time, in milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// Moves the simulator's clock forward.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Sets how far the simulator's clock is ahead of the machine's; negative: behind.
    pub fn set_clock_offset_ms(&self, offset_ms: i64) {
        self.shared.clock.set_offset_ms(offset_ms);
    }

    /// Stops, and returns when the port is free again.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // An error is what an aborted task ends with.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn base_url(address: SocketAddr, tls: bool) -> String {
    format!("http{}://{address}/v1", if tls { "s" } else { "" })
}

/// Owns the connections: they end when this does.
async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: some will come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    // Without it small answers wait for the peer's delayed acknowledgement; failing costs only speed.
    let _ = stream.set_nodelay(true);
    let cutter = Arc::new(Cutter::default());
    let line = Line { stream, cutter: Arc::clone(&cutter) };
    tokio::select! {
        () = speak(line, acceptor, shared, Arc::clone(&cutter)) => {}
        () = cutter.ended() => {}
    }
}

async fn speak(line: Line, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>, cutter: Arc<Cutter>) {
    let Some(acceptor) = acceptor else { return http1(line, shared, cutter).await };
    let Ok(stream) = acceptor.accept(line).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, shared, cutter).await;
    } else {
        http1(stream, shared, cutter).await;
    }
}

async fn http1<S>(stream: S, shared: Arc<Shared>, cutter: Arc<Cutter>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| serve(Arc::clone(&shared), Arc::clone(&cutter), request));
    // How a connection ends is the peer's business, or ours by intent.
    let _ = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn http2<S>(stream: S, shared: Arc<Shared>, cutter: Arc<Cutter>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (_alive, gone) = watch::channel(());
    let service = service_fn(|request| serve(Arc::clone(&shared), Arc::clone(&cutter), request));
    let _ = hyper::server::conn::http2::Builder::new(StreamsOf(gone))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The call counts as in flight until this is dropped.
struct Guard {
    shared: Arc<Shared>,
    visit: Visit,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.with(|model| model.left(self.visit));
    }
}

async fn serve(
    shared: Arc<Shared>,
    cutter: Arc<Cutter>,
    request: hyper::Request<Incoming>,
) -> io::Result<Response<Parcel<Guard>>> {
    let Some(request) = whole(request).await else {
        return Ok(response(413, &[], Parcel::Whole(None)));
    };
    let answer = shared.answer(&request);
    let guard = Guard { visit: answer.visit, shared };
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let half = answer.body.len() / 2;
    let parcel = match answer.cut {
        None => {
            drop(guard);
            Parcel::whole(answer.body)
        }
        Some(Cut::AfterHeaders) => Parcel::broken(answer.body, 0, guard),
        Some(Cut::InBody) => Parcel::broken(answer.body, half, guard),
        Some(Cut::Drip(pause)) => Parcel::drip(answer.body, pause, guard),
        Some(Cut::Reset) => {
            drop(guard);
            cutter.reset();
            pending().await
        }
        Some(Cut::Hang) => pending().await,
    };
    Ok(response(answer.status, &answer.headers, parcel))
}

/// The request with its whole body; `None` if that is too large or breaks off.
async fn whole(request: hyper::Request<Incoming>) -> Option<Request> {
    let (head, body) = request.into_parts();
    let body = if body.is_end_stream() {
        Vec::new()
    } else {
        Limited::new(body, BODY_LIMIT).collect().await.ok()?.to_bytes().into()
    };
    let header = |name: HeaderName| Some(head.headers.get(name)?.to_str().ok()?.to_owned());
    Some(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        authorization: header(AUTHORIZATION),
        content_type: header(CONTENT_TYPE),
        webhook_headers: webhook_headers(&head.headers),
        body,
    })
}

fn webhook_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("webhook-"));
    ours.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned()))).collect()
}

/// Headers that HTTP does not allow are left out.
fn response(status: u16, headers: &[(String, String)], parcel: Parcel<Guard>) -> Response<Parcel<Guard>> {
    let mut response = Response::new(parcel);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        let (name, value) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
