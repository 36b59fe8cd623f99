//! Receivers, mail servers and programs that behave badly, and texts of others in what operators get.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::command::ProgramSink;
use webex_tokend::notices::mail::Mail;
use webex_tokend::notices::mail::MailSettings;
use webex_tokend::notices::signature::SigningKeys;
use webex_tokend::notices::sink::DELIVERY_LIMIT;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::OutgoingNotice;
use webex_tokend::notices::sink::Sink;
use webex_tokend::notices::webhook::Webhook;
use webex_tokend::notices::webhook::WebhookSettings;
use webex_tokend::webex::transport::HttpTransport;

use crate::notices::world::WEBHOOK_KEY;
use crate::support::process_logs;

const NOW: UnixTime = UnixTime(1_795_000_000_000);

/// What a person who chooses their own display name, or Webex's text, may contain.
const HOSTILE_TEXT: &str = "Ada\r\nBcc: eve@example.com\r\n\r\n.\r\nQUIT\r\n<script>alert(1)</script> [click](https://evil.example)\u{202e}\0";

fn outgoing() -> OutgoingNotice {
    let id = PersonId::parse("ada").unwrap();
    let person = Person { display_name: Some(HOSTILE_TEXT.to_owned()), ..Person::known_by(id) };
    let notice = Notice::new(NoticeType::ConsentNeeded, Some(&person), "1", NOW);
    OutgoingNotice { notice: notice.with("reason", HOSTILE_TEXT), now: NOW }
}

fn webhook(url: String, roots: Option<&[u8]>) -> Webhook {
    let keys = SigningKeys::parse(&Secret::new(WEBHOOK_KEY.to_owned())).unwrap();
    let transport = HttpTransport::new("test", roots, roots.is_none(), None).unwrap();
    Webhook::new(WebhookSettings { url: Secret::new(url), keys }, Arc::new(transport))
}

/// A server that reads the start of a request and then does `answer`. Counts its connections.
async fn server<F: Future<Output = ()> + Send>(
    answer: impl Fn(TcpStream) -> F + Send + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            answer(stream).await;
        }
    });
    (port, connections)
}

async fn repeat(mut stream: TcpStream, start: &str, piece: &str) {
    let _ = stream.write_all(start.as_bytes()).await;
    let piece = piece.repeat(1000);
    while stream.write_all(piece.as_bytes()).await.is_ok() {}
}

#[tokio::test]
async fn the_body_of_an_answer_does_not_matter() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n";
    let (port, _) = server(|stream| repeat(stream, endless, "x")).await;
    let begun = Instant::now();
    let answer = webhook(format!("http://127.0.0.1:{port}/"), None).deliver(&outgoing()).await;
    assert_eq!(answer, DeliveryResult::Taken);
    assert!(begun.elapsed() < Duration::from_secs(10), "the daemon read on");
    let broken = "HTTP/1.1 202 Accepted\r\ncontent-length: 500\r\n\r\nshort";
    let (port, _) = server(|stream| send(stream, broken.to_owned())).await;
    let answer = webhook(format!("http://127.0.0.1:{port}/"), None).deliver(&outgoing()).await;
    assert_eq!(answer, DeliveryResult::Taken);
}

#[tokio::test]
async fn headers_without_end_are_not_read_on() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let (port, _) = server(move |stream| send_headers(stream, counted.clone())).await;
    let answer = webhook(format!("http://127.0.0.1:{port}/"), None).deliver(&outgoing()).await;
    assert!(matches!(answer, DeliveryResult::Failed { sink_failed: true, .. }), "{answer:?}");
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 16 * 1024 * 1024, "{sent} bytes fitted into sockets and memory");
}

/// Sends headers until the client closes the connection, and counts their bytes.
async fn send_headers(mut stream: TcpStream, sent: Arc<AtomicUsize>) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
    let piece = "x-filler: 0123456789012345678901234567890123456789\r\n".repeat(1000);
    while stream.write_all(piece.as_bytes()).await.is_ok() {
        sent.fetch_add(piece.len(), Ordering::Relaxed);
    }
}

/// A server that sends this redirect.
async fn redirect(status: &str, to: &str) -> u16 {
    let head = format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    server(move |stream| send(stream, head.clone())).await.0
}

async fn send(mut stream: TcpStream, text: String) {
    let _ = stream.write_all(text.as_bytes()).await;
}

#[tokio::test]
async fn a_redirect_into_the_internal_network_is_not_followed() {
    let (inside, connections) = server(|stream| send(stream, "HTTP/1.1 200 OK\r\n\r\n".to_owned())).await;
    let inside = format!("http://127.0.0.1:{inside}/");
    for status in ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        for to in [inside.as_str(), "http://169.254.169.254/latest/meta-data/"] {
            let port = redirect(status, to).await;
            let answer = webhook(format!("http://127.0.0.1:{port}/"), None).deliver(&outgoing()).await;
            assert!(format!("{answer:?}").contains("redirects are not followed"), "{status}: {answer:?}");
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_receiver_whose_certificate_has_another_name_gets_nothing() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["elsewhere.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let certificates = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hook = webhook(format!("https://localhost:{port}/"), Some(certificate.as_bytes()));
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_err()
    };
    let outgoing = outgoing();
    let (answer, is_refused) = tokio::join!(hook.deliver(&outgoing), accept);
    let DeliveryResult::Failed { why, sink_failed: true, .. } = &answer else { panic!("{answer:?}") };
    assert!(is_refused && why.contains("certificate"), "{why}");
    assert!(!why.contains("http"), "the address is a secret: {why}");
}

fn mail(port: u16) -> Mail {
    let url = Secret::new(format!("smtp://127.0.0.1:{port}"));
    let to = vec!["ops@example.com".parse().unwrap()];
    Mail::new(MailSettings { url, from: "tokend@example.com".parse().unwrap(), to }).unwrap()
}

/// Sends a byte after each pause, and no line.
async fn drip(listener: TcpListener, pause: Duration) {
    let (mut stream, _) = listener.accept().await.unwrap();
    while stream.write_all(b"2").await.is_ok() {
        sleep(pause).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mail_server_that_sends_a_byte_now_and_then_is_given_up() {
    for pause in [60, 10] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        #[expect(clippy::disallowed_methods, reason = "a test's own task")]
        tokio::spawn(drip(listener, Duration::from_secs(pause)));
        let outgoing = outgoing();
        // The limit is that of the sender of a sink.
        let answer = timeout(DELIVERY_LIMIT, mail(port).deliver(&outgoing)).await;
        let is_given_up = answer.as_ref().is_ok_and(|answer| matches!(answer, DeliveryResult::Failed { .. }));
        assert!(answer.is_err() || is_given_up, "{answer:?}");
    }
}

/// Everything that a mail client sends to a server that accepts it.
async fn mail_as_sent(outgoing: &OutgoingNotice) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (reader, mut writer) = stream.split();
        let (mut lines, mut all, mut in_data) = (BufReader::new(reader).lines(), String::new(), false);
        writer.write_all(b"220 ready\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            all += &format!("{line}\n");
            in_data = (in_data || line == "DATA") && line != ".";
            let answer = if line == "DATA" { "354 go on\r\n" } else { "250 ok\r\n" };
            if (!in_data || line == "DATA") && writer.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
        all
    });
    let sink = mail(port);
    assert_eq!(sink.deliver(outgoing).await, DeliveryResult::Taken);
    drop(sink);
    received.await.unwrap()
}

#[tokio::test]
async fn a_text_of_others_adds_no_header_recipient_or_command_to_a_mail() {
    for notice in [
        outgoing().notice,
        Notice::new(NoticeType::KeyCreated, None, "1", NOW).with("name", HOSTILE_TEXT),
        Notice::new(NoticeType::AppPaused, None, "1", NOW).with("cause", HOSTILE_TEXT),
    ] {
        let sent = mail_as_sent(&OutgoingNotice { notice, now: NOW }).await;
        let lines: Vec<&str> = sent.lines().collect();
        assert!(!lines.iter().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{sent}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("RCPT TO:")).count(), 1, "{sent}");
        assert_eq!(lines.iter().filter(|line| **line == ".").count(), 1, "the mail ends once: {sent}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("Subject:")).count(), 1, "{sent}");
        assert!(sent.contains("Content-Type: text/plain"), "markup is not interpreted: {sent}");
    }
}

/// A sink that runs a shell script with this text.
fn program(dir: &Path, text: &str) -> ProgramSink {
    let path = dir.join("program");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    ProgramSink::new(path.to_str().unwrap().to_owned(), Vec::new())
}

#[tokio::test]
async fn the_output_of_a_program_is_neither_kept_nor_logged_without_bound() {
    process_logs();
    let dir = tempfile::tempdir().unwrap();
    // Sixteen megabytes on each stream: far more than a pipe holds.
    let sink = program(
        dir.path(),
        "head -c 16777216 /dev/zero | tr '\\0' y; head -c 16777216 /dev/zero | tr '\\0' n >&2; exit 0",
    );
    assert_eq!(sink.deliver(&outgoing()).await, DeliveryResult::Taken);
    let name = dir.path().to_str().unwrap().to_owned();
    let logged: usize = process_logs().lines().filter(|line| line.contains(&name)).map(str::len).sum();
    assert!((4096..8192).contains(&logged), "{logged} bytes in the log");
    assert!(process_logs().contains(&format!("{name}/program wrote more than 4096 bytes")));
}

#[tokio::test]
async fn the_log_says_that_a_program_wrote_more_only_if_it_did() {
    process_logs();
    let dir = tempfile::tempdir().unwrap();
    let sink = program(dir.path(), "head -c 4096 /dev/zero | tr '\\0' n >&2");
    assert_eq!(sink.deliver(&outgoing()).await, DeliveryResult::Taken);
    let name = dir.path().to_str().unwrap().to_owned();
    let logs = process_logs();
    let lines: Vec<&str> = logs.lines().filter(|line| line.contains(&name)).collect();
    assert!(lines.len() == 1 && lines[0].ends_with(&"n".repeat(4096)), "{lines:?}");
}

#[tokio::test]
async fn what_a_program_says_is_logged_in_lines_that_it_cannot_forge() {
    process_logs();
    let dir = tempfile::tempdir().unwrap();
    let sink = program(dir.path(), "printf 'no such \\033[31mbox\\r forged\\n' >&2; exit 3");
    assert!(matches!(sink.deliver(&outgoing()).await, DeliveryResult::Failed { .. }));
    let name = dir.path().to_str().unwrap().to_owned();
    let logs = process_logs();
    let lines: Vec<&str> = logs.lines().filter(|line| line.contains(&name)).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with("wrote: no such  [31mbox  forged"), "{lines:?}");
}

#[tokio::test]
async fn a_program_that_leaves_others_running_succeeds_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = program(dir.path(), "sleep 20 & exit 0");
    let begun = Instant::now();
    assert_eq!(sink.deliver(&outgoing()).await, DeliveryResult::Taken);
    assert!(begun.elapsed() < Duration::from_secs(10), "the daemon waited for the other program");
}
