//! A minimal client: one connection, one request after another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyper::Request;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper::http::request::Builder;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::HandshakeKind;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::figures::Times;

/// How to reach a server.
#[derive(Clone)]
pub(crate) enum Way {
    /// HTTP/1.1 over TLS.
    Http1(Tls),
    /// HTTP/2 over TLS.
    Http2(Tls),
    /// HTTP/1.1 over a Unix socket.
    Unix(PathBuf),
    /// HTTP/1.1 without TLS, for the simulated Webex.
    Plain(SocketAddr),
}

/// TLS to a port of localhost.
#[derive(Clone)]
pub(crate) struct Tls {
    port: u16,
    config: Arc<ClientConfig>,
    resumed: Arc<AtomicUsize>,
}

/// A response.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// One connection.
pub(crate) struct Client {
    sender: Sender,
    origin: String,
}

impl Tls {
    /// Trusts this certificate. `resumes`: whether to resume TLS sessions.
    pub(crate) fn new(port: u16, certificate_pem: &str, protocol: &str, resumes: bool) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Self { port, config: Arc::new(config), resumed: Arc::default() }
    }

    pub(crate) async fn connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(self.config.clone()).connect(name, stream).await?;
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(stream)
    }

    /// The number of handshakes that resumed an earlier session.
    pub(crate) fn resumed(&self) -> usize {
        self.resumed.load(Ordering::Relaxed)
    }
}

impl Way {
    pub(crate) async fn connect(&self) -> Client {
        self.try_connect().await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> std::io::Result<Client> {
        let (sender, origin) = match self {
            Self::Http1(tls) => (speak_http1(tls.connect().await?).await, String::new()),
            Self::Http2(tls) => {
                let stream = TokioIo::new(tls.connect().await?);
                let (sender, line) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
                tokio::spawn(line);
                (Sender::Http2(sender), format!("https://localhost:{}", tls.port))
            }
            Self::Unix(path) => (speak_http1(UnixStream::connect(path).await?).await, String::new()),
            Self::Plain(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                (speak_http1(stream).await, String::new())
            }
        };
        Ok(Client { sender, origin })
    }
}

async fn speak_http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Sender {
    let (sender, line) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(line);
    Sender::Http1(sender)
}

impl Client {
    /// Requests `path` and reads the whole response.
    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answered {
        let request = Request::get(format!("{}{path}", self.origin));
        self.ask(request, headers, Bytes::new()).await
    }

    /// Posts a form to `path` and reads the whole response.
    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answered {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(format!("{}{path}", self.origin));
        self.ask(request, &[("content-type", "application/x-www-form-urlencoded")], form.into()).await
    }

    async fn ask(&mut self, mut request: Builder, headers: &[(&str, &str)], body: Bytes) -> Answered {
        if matches!(self.sender, Sender::Http1(_)) {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).unwrap();
        // Waits until the connection has finished the last response.
        let answer = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Sender::Http2(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: head.status, headers: head.headers, body }
    }
}

/// Requests `path` over every connection repeatedly until `span` has passed.
pub(crate) async fn hammer(
    way: &Way,
    connections: usize,
    paths: &[String],
    key: &str,
    span: Duration,
) -> (Times, Duration) {
    let (paths, bearer) = (Arc::new(paths.to_vec()), Arc::new(format!("Bearer {key}")));
    let clients = clients(way, connections).await;
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    for (at, mut client) in clients.into_iter().enumerate() {
        let (paths, bearer) = (paths.clone(), bearer.clone());
        tasks.spawn(async move {
            let (mut times, mut next) = (Times::default(), at);
            while begun.elapsed() < span {
                let path = &paths[next % paths.len()];
                let asked = Instant::now();
                let answered = client.get(path, &[("authorization", &bearer)]).await;
                times.add(asked.elapsed());
                assert_eq!(answered.status, 200, "{path}");
                next += 1;
            }
            times
        });
    }
    (all(tasks).await, begun.elapsed())
}

/// Runs `work` `count` times, each time on a free connection.
pub(crate) async fn share<W, F>(way: &Way, connections: usize, count: usize, work: W) -> (Times, Duration)
where
    W: Fn(Client, usize) -> F + Clone + Send + 'static,
    F: Future<Output = Client> + Send,
{
    let clients = clients(way, connections).await;
    let (next, begun, mut tasks) = (Arc::new(AtomicUsize::new(0)), Instant::now(), JoinSet::new());
    for mut client in clients {
        let (next, work) = (next.clone(), work.clone());
        tasks.spawn(async move {
            let mut times = Times::default();
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= count {
                    return times;
                }
                let asked = Instant::now();
                client = work(client, piece).await;
                times.add(asked.elapsed());
            }
        });
    }
    let (times, took) = (all(tasks).await, begun.elapsed());
    assert_eq!(times.count(), count);
    (times, took)
}

async fn clients(way: &Way, connections: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(way.connect().await);
    }
    clients
}

/// The measurements of all tasks.
pub(crate) async fn all(mut tasks: JoinSet<Times>) -> Times {
    let mut all = Times::default();
    while let Some(times) = tasks.join_next().await {
        all.extend(times.unwrap());
    }
    all
}
