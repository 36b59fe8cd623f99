//! Honest clients that are refused while they still send a body: each must be able to read the response.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::client::read_remaining;
use super::client::tls;
use super::frames::DATA;
use super::frames::END_HEADERS;
use super::frames::END_STREAM;
use super::frames::HEADERS;
use super::frames::RST_STREAM;
use super::frames::block;
use super::frames::field;
use super::frames::frame;
use super::frames::opening;
use super::harness::AttackHarness;

const BODY: &[u8] = b"{\"force\":true}";

/// The kinds of the frames that come back on stream 1 for a request whose body follows its head a moment later, until
/// some time after the response.
async fn frames_back(port: u16, method: &str, path: &str) -> Vec<u8> {
    let mut stream = tls(port, b"h2").await.unwrap();
    let more = [field("content-length", "14"), field("content-type", "application/json")].concat();
    let head = frame(HEADERS, END_HEADERS, 1, &block(method, path, &more));
    stream.write_all(&[opening(&[]), head].concat()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    stream.write_all(&frame(DATA, END_STREAM, 1, BODY)).await.unwrap();
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while let Ok(Ok(_)) = timeout(Duration::from_millis(500), stream.read_exact(&mut head)).await {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; usize::try_from(length).unwrap()]).await.unwrap();
        if head[8] == 1 && head[3] != super::frames::WINDOW_UPDATE {
            kinds.push(head[3]);
        }
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_refusal_does_not_reset_a_stream_that_still_sends_its_body() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    for (method, path) in [
        ("POST", "/api/v1/people/ada@example.com/refresh"),
        ("POST", "/healthz"),
        ("POST", "/oauth"),
        ("POST", "/nothing"),
        ("PUT", "/dashboard/sign-in"),
        ("POST", "/dashboard/sign-in"),
        ("POST", "/dashboard/sign-out"),
        ("POST", "/dashboard/x/forget"),
    ] {
        let kinds = frames_back(port, method, path).await;
        assert!(kinds.starts_with(&[HEADERS]), "{method} {path}: {kinds:?}");
        assert!(!kinds.contains(&RST_STREAM), "{method} {path}: {kinds:?}");
    }
}

/// The response to a request that is sent completely before any response is read, as simple clients do.
async fn after_all_is_sent(port: u16, head: &str, length: usize) -> String {
    let mut stream = tls(port, b"http/1.1").await.unwrap();
    let head = format!("{head}Host: localhost\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in vec![b'x'; length].chunks(8192) {
        if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
            return "broken".to_owned();
        }
        sleep(Duration::from_millis(2)).await;
    }
    read_remaining(&mut stream, Duration::from_millis(700)).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_1_client_that_sends_its_body_first_sees_the_refusal() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let keyed = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", harness.key);
    for (head, length, status) in [
        ("POST /api/v1/people/ada/refresh HTTP/1.1\r\n".to_owned(), 40_000, 401),
        ("POST /healthz HTTP/1.1\r\n".to_owned(), 40_000, 405),
        ("POST /dashboard/sign-in HTTP/1.1\r\n".to_owned(), 40_000, 403),
        (format!("POST /api/v1/keys HTTP/1.1\r\n{keyed}"), 70_000, 413),
        (format!("POST /api/v1/keys HTTP/1.1\r\n{keyed}"), 200_000, 413),
        (format!("POST /api/v1/keys HTTP/1.1\r\n{keyed}"), 1_000_000, 413),
        ("POST /api/v1/people/ada/refresh HTTP/1.1\r\n".to_owned(), 1_000_000, 401),
        ("POST /healthz HTTP/1.1\r\n".to_owned(), 300_000, 405),
    ] {
        for turn in 0..4 {
            let answer = after_all_is_sent(port, &head, length).await;
            let start: String = answer.chars().take(60).collect();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head} {length} {turn}: {start}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_waits_only_briefly_for_the_rest_of_a_refused_body() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let mut stream = tls(port, b"http/1.1").await.unwrap();
    let begun = Instant::now();
    let head = "POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\nx";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (told, _) = read_remaining(&mut stream, Duration::from_secs(5)).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A client with `Expect: 100-continue` is not told to send the body.
    let mut stream = tls(port, b"http/1.1").await.unwrap();
    let head = "POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (told, _) = read_remaining(&mut stream, Duration::from_millis(700)).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_client_that_sends_its_body_first_sees_the_refusal() {
    let harness = AttackHarness::new().await;
    let mut stream = UnixStream::connect(harness.daemon.state_dir().join("control.sock")).await.unwrap();
    let head = "POST /api/v1/keys HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[b'x'; 1_000_000]).await.unwrap();
    let (told, _) = read_remaining(&mut stream, Duration::from_millis(700)).await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_endless_body_is_cut_off_after_seconds_or_megabytes() {
    let harness = AttackHarness::new().await;
    let mut stream = tls(harness.daemon.port(), b"http/1.1").await.unwrap();
    let head = "POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (begun, mut sent) = (Instant::now(), 0);
    while stream.write_all(&[b'x'; 16_384]).await.is_ok() {
        sent += 16_384;
        assert!(begun.elapsed() < Duration::from_secs(5) && sent < 24 * 1024 * 1024, "{sent} bytes");
    }
}
