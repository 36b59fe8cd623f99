//! Connections of attackers: any number, with or without TLS, trusting any certificate.

use std::future::Future;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Connections that an attacker opens at the same time.
const PARALLEL_CONNECTS: usize = 64;

/// Runs `work` for each of `0..count`, [`PARALLEL_CONNECTS`] at a time. Returns the results; failures are left out.
pub(super) async fn open_many<T, F>(count: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(PARALLEL_CONNECTS));
    let mut all = JoinSet::new();
    for n in 0..count {
        let (turns, work) = (Arc::clone(&turns), work(n));
        all.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            work.await
        });
    }
    all.join_all().await.into_iter().flatten().collect()
}

/// Runs `work` in so many parallel loops until the time is up. Returns the sum of their results.
pub(super) async fn repeat_in_parallel<F>(
    count: usize,
    until: Instant,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> u64
where
    F: Future<Output = u64> + Send + 'static,
{
    let mut all = JoinSet::new();
    for _ in 0..count {
        let work = work.clone();
        all.spawn(async move {
            let mut sum = 0;
            while Instant::now() < until {
                sum += tokio::time::timeout_at(until, work()).await.unwrap_or(1);
                // Otherwise an attacker that is refused at once would monopolize its thread.
                tokio::task::yield_now().await;
            }
            sum
        });
    }
    all.join_all().await.into_iter().sum()
}

pub(super) async fn tcp(port: u16) -> Option<TcpStream> {
    timeout(Duration::from_secs(20), TcpStream::connect(("127.0.0.1", port))).await.ok()?.ok()
}

/// From the loopback address of this number; 0 is the usual one. Not every system has more than one.
pub(super) async fn tcp_from(number: u32, port: u16) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number);
    socket.bind(SocketAddr::from((from, 0))).ok()?;
    let connected = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    timeout(Duration::from_secs(20), connected).await.ok()?.ok()
}

/// Connects by TLS and offers `protocol`. `None` if the daemon refuses.
pub(super) async fn tls(port: u16, protocol: &[u8]) -> Option<TlsStream<TcpStream>> {
    tls_on(tcp(port).await?, protocol).await
}

pub(super) async fn tls_on(stream: TcpStream, protocol: &[u8]) -> Option<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let agreed = TlsConnector::from(insecure_config(protocol)).connect(name, stream);
    timeout(Duration::from_secs(20), agreed).await.ok()?.ok()
}

/// Opens connections as [`open_many`] does and keeps them open for this time. Returns how many there were.
pub(super) async fn hold_many<T, F>(count: usize, time: Duration, open: impl Fn(usize) -> F) -> u64
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
{
    let held = open_many(count, open).await;
    sleep(time).await;
    held.len() as u64
}

/// Sends the same few bytes on each of these connections, again and again for this time. Returns how many connections
/// there are.
pub(super) async fn send_slowly<T: AsyncWrite + Unpin>(mut all: Vec<T>, bytes: &[u8], time: Duration) -> u64 {
    let until = Instant::now() + time;
    while Instant::now() < until {
        for stream in &mut all {
            // Some connections have been closed.
            let _ = stream.write_all(bytes).await;
        }
        sleep(Duration::from_millis(100)).await;
    }
    all.len() as u64
}

/// Reads until the other side closes, or no data has come for `patience`. Returns the text and whether it was closed.
pub(super) async fn read_remaining<T: AsyncRead + Unpin>(
    stream: &mut T,
    patience: Duration,
) -> (String, bool) {
    let (mut all, mut part) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match timeout(patience, stream.read(&mut part)).await {
            Ok(Ok(0) | Err(_)) => return (String::from_utf8_lossy(&all).into_owned(), true),
            Ok(Ok(got)) => all.extend_from_slice(&part[..got]),
            Err(_) => return (String::from_utf8_lossy(&all).into_owned(), false),
        }
    }
}

/// Without session resumption, so that each handshake costs the daemon a full one.
fn insecure_config(protocol: &[u8]) -> Arc<ClientConfig> {
    static BASE: LazyLock<ClientConfig> = LazyLock::new(|| {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config
    });
    let mut config = BASE.clone();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

#[derive(Debug)]
struct AcceptAnyCertificate;

/// The method of this name of [`ServerCertVerifier`].
macro_rules! accept_any_signature {
    ($name:ident) => {
        fn $name(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
    };
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    accept_any_signature!(verify_tls12_signature);
    accept_any_signature!(verify_tls13_signature);

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
