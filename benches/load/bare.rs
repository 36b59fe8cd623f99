//! A minimal hyper server with a constant response, as a separate process. The daemon is compared with it.

use std::io::BufRead as _;
use std::io::BufReader;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpListener;
use tokio::net::UnixListener;
use tokio_rustls::TlsAcceptor;

use crate::client::Answered;
use crate::daemon;
use crate::daemon::Home;

/// The argument that turns this program into a bare server.
pub(crate) const WORD: &str = "--bare";

/// A bare server. It is killed when dropped.
pub(crate) struct Bare {
    child: Child,
    pub(crate) port: u16,
}

impl Bare {
    /// Answers every request with the same response as `like`, over TLS with the certificate of `home` and at
    /// `bare.sock` there.
    pub(crate) fn start(home: &Home, like: &Answered) -> Self {
        let head: String = like
            .headers
            .iter()
            .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}\t{}\n", value.to_str().unwrap()))
            .collect();
        std::fs::write(home.path("bare.head"), head).unwrap();
        std::fs::write(home.path("bare.body"), &like.body).unwrap();
        let _ = std::fs::remove_file(home.path("bare.sock"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(WORD)
            .arg(home.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, port }
    }

    /// Processor time that the server has used.
    pub(crate) fn cpu(&self) -> Duration {
        daemon::cpu(&self.child)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone)]
struct Constant {
    head: Arc<HeaderMap>,
    body: Bytes,
}

/// Runs the server; the main function of its process.
pub(crate) fn serve(arguments: &[String]) {
    let home = Path::new(&arguments[0]).to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let text = std::fs::read_to_string(home.join("bare.head")).unwrap();
        let head = text.lines().map(|line| line.split_once('\t').unwrap());
        let typed = |(name, value): (&str, &str)| -> (HeaderName, HeaderValue) {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        let head = head.map(typed).collect();
        let body = Bytes::from(std::fs::read(home.join("bare.body")).unwrap());
        let constant = Constant { head: Arc::new(head), body };
        let unix = UnixListener::bind(home.join("bare.sock")).unwrap();
        let beside = constant.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = unix.accept().await.unwrap();
                let constant = beside.clone();
                tokio::spawn(async move { speak_http1(TokioIo::new(stream), constant).await });
            }
        });
        let acceptor = TlsAcceptor::from(Arc::new(tls(&home)));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, constant) = (acceptor.clone(), constant.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(stream) = acceptor.accept(stream).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let service = service_fn(|request| answer(constant.clone(), request));
                    let server = http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                } else {
                    speak_http1(TokioIo::new(stream), constant).await;
                }
            });
        }
    });
}

async fn speak_http1<S>(stream: S, constant: Constant)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(|request| answer(constant.clone(), request));
    let _ = http1::Builder::new().serve_connection(stream, service).await;
}

async fn answer(constant: Constant, _: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let mut response = Response::new(Full::new(constant.body));
    response.headers_mut().clone_from(&constant.head);
    Ok(response)
}

fn tls(home: &Path) -> ServerConfig {
    let certificate = CertificateDer::from_pem_file(home.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(home.join("key.pem")).unwrap();
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    config
}
