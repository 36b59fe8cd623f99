//! A running HTTP server, and clients that speak byte by byte.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Once;
use std::time::Duration;

use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webex_tokend::http::Authority;
use webex_tokend::http::response::response_body::ResponseBody;
use webex_tokend::http::server::certificate::SelfSigned;
use webex_tokend::http::server::context::TlsContext;
use webex_tokend::http::server::handler::Peer;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::http::server::listener::serve;
use webex_tokend::http::server::tls::Renewer;
use webex_tokend::http::server::tls::TlsFeed;
use webex_tokend::tasks::Tasks;

use crate::support::time::SHORT_LIMITS_TIMEOUT;

/// The real time, because the clients' TLS checks certificates against it.
pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Limits that are reached quickly.
pub(super) fn short_limits() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        header: Duration::from_millis(300),
        idle: Duration::from_millis(600),
        closing: Duration::from_millis(100),
        drain: Duration::from_millis(500),
        ..Limits::default()
    }
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(super) tasks: Tasks,
    pub(super) pem: String,
    serving: JoinHandle<()>,
}

impl TestServer {
    /// With a self-signed certificate.
    pub(super) async fn new_tls<S, F>(limits: Limits, service: S) -> Self
    where
        S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let made = SelfSigned::make(&names, now()).unwrap();
        let feed = Renewer::open(made.clone()).unwrap().1;
        Self::with_certificate_feed(Some(feed), made.pem().to_owned(), limits, service).await
    }

    pub(crate) async fn new_plain<S, F>(limits: Limits, service: S) -> Self
    where
        S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        Self::with_certificate_feed(None, String::new(), limits, service).await
    }

    pub(super) async fn with_certificate_feed<S, F>(
        feed: Option<TlsFeed>,
        pem: String,
        limits: Limits,
        service: S,
    ) -> Self
    where
        S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<ResponseBody>> + Send + 'static,
    {
        install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let authority = Authority::parse("tokend.example:8000").unwrap();
        let secure = feed.map(|feed| TlsContext { feed, authority });
        let serving = tasks.spawn("serve", serve(listener, secure, Arc::new(limits), service, tasks.clone()));
        Self { addr, tasks, pem, serving }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// Sends one request on a new plain connection, as [`send_request`] does.
    pub(super) async fn request(&self, request: &str) -> String {
        send_request(&mut self.connect().await, request).await
    }

    /// Connects by TLS, offers `protocol` (or no ALPN) and trusts the server's certificate.
    pub(super) async fn connect_tls(&self, protocol: Option<&[u8]>) -> TlsStream<TcpStream> {
        connect_tls_to(self.addr, "localhost", client_config(&self.pem, protocol)).await.unwrap()
    }

    /// Shuts the server down. Returns how long that took.
    pub(crate) async fn shut_down(self) -> Duration {
        let started = Instant::now();
        self.tasks.stop();
        timeout(SHORT_LIMITS_TIMEOUT, self.serving).await.expect("the shutdown hangs").unwrap();
        let took = started.elapsed();
        timeout(SHORT_LIMITS_TIMEOUT, self.tasks.drained())
            .await
            .expect("a connection outlives the shutdown");
        took
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.addr.port())
    }

    pub(super) fn client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(SHORT_LIMITS_TIMEOUT)
    }

    /// The response to a well-behaved client on a new connection.
    pub(super) async fn honest(&self) -> String {
        let asked = self.client().build().unwrap().get(self.url("/honest")).send();
        asked.await.unwrap().text().await.unwrap()
    }
}

/// Answers with the method, the path, and whether the request came over TLS.
pub(super) async fn echo(request: Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
    text(format!("{} {} {}", request.method(), request.uri().path(), peer.secure))
}

/// The response that [`TestServer::honest`] gets from [`echo`].
pub(super) const HONEST: &str = "GET /honest true";

pub(super) fn text(text: impl Into<Bytes>) -> Response<ResponseBody> {
    Response::new(ResponseBody::new(text))
}

/// A service whose handlers notify `started`, and finish when `release` is notified.
#[derive(Clone, Default)]
pub(super) struct GatedService {
    pub(super) started: Arc<Notify>,
    pub(super) release: Arc<Notify>,
}

/// The future of any handler.
type HandlerFuture = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

impl GatedService {
    /// Holds requests for `/gate`, and answers all others like [`echo`].
    pub(super) fn service(
        &self,
    ) -> impl Fn(Request<Incoming>, Peer) -> HandlerFuture + Clone + Send + Sync + 'static + use<> {
        let service = self.clone();
        move |request, peer| -> HandlerFuture {
            if request.uri().path() == "/gate" {
                Box::pin(service.clone().hold())
            } else {
                Box::pin(echo(request, peer))
            }
        }
    }

    async fn hold(self) -> Response<ResponseBody> {
        self.started.notify_one();
        self.release.notified().await;
        text("let go")
    }
}

/// Accepts any version of TLS.
pub(super) fn client_config(pem: &str, protocol: Option<&[u8]>) -> Arc<ClientConfig> {
    client_config_with_versions(&[&TLS13, &TLS12], pem, protocol)
}

pub(super) fn client_config_with_versions(
    versions: &[&'static SupportedProtocolVersion],
    pem: &str,
    protocol: Option<&[u8]>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocol.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub(super) async fn connect_tls_to(
    addr: SocketAddr,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(config).connect(name, TcpStream::connect(addr).await?).await
}

/// Sends one HTTP/1.1 request and reads its response, which must have a content length.
pub(super) async fn send_request<T: AsyncRead + AsyncWrite + Unpin>(stream: &mut T, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    read_response(stream).await
}

/// Reads one HTTP/1.1 response, which must have a content length.
pub(super) async fn read_response<T: AsyncRead + Unpin>(stream: &mut T) -> String {
    let mut got = Vec::new();
    let read = async {
        loop {
            got.push(stream.read_u8().await.expect("the connection ended before the end of the response"));
            let text = String::from_utf8_lossy(&got);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_lowercase().split_once("content-length: ").unwrap().1.to_owned();
            if body.len() == length.lines().next().unwrap().parse::<usize>().unwrap() {
                break;
            }
        }
    };
    timeout(SHORT_LIMITS_TIMEOUT, read).await.expect("no response");
    String::from_utf8(got).unwrap()
}

/// Waits until the other side closes or resets the connection, ignoring what it sends. Returns how long that took.
pub(super) async fn wait_for_close<T: AsyncRead + Unpin>(stream: &mut T) -> Duration {
    let started = Instant::now();
    let mut rest = [0; 1024];
    let read = async { while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {} };
    timeout(SHORT_LIMITS_TIMEOUT, read).await.expect("the connection stays open");
    started.elapsed()
}

/// reqwest uses the crypto provider of the process.
pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| _ = default_provider().install_default());
}
