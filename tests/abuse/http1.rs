//! HTTP/1.1 requests that are too long, endless, contradictory or malformed.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::client::hold_many;
use super::client::open_many;
use super::client::read_remaining;
use super::client::repeat_in_parallel;
use super::client::send_slowly;
use super::client::tls;
use super::harness::AttackHarness;
use super::harness::attack_duration;

/// Longer than the daemon needs for a response.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `asked` on a new connection. Returns all that came back, and whether the daemon closed.
async fn told(port: u16, asked: &[u8]) -> (String, bool) {
    let mut stream = tls(port, b"http/1.1").await.unwrap();
    // The daemon may close before it has read everything.
    let _ = timeout(PATIENCE, stream.write_all(asked)).await;
    read_remaining(&mut stream, Duration::from_millis(700)).await
}

fn answers(told: &str) -> usize {
    told.matches("HTTP/1.1 ").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_sent_byte_by_byte_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    // Half of them have a key and may send a body; the others are refused.
    let heads =
        [harness.key.as_str(), "wrong"].map(|key| format!("{}Content-Length: 60000\r\n\r\n", post(key)));
    let attack = async {
        let held = open_many(200, |n| begun(port, heads[n % 2].clone())).await;
        send_slowly(held, b" ", attack_duration() * 2).await
    };
    harness.run_attack("200 slow bodies", attack).await;
}

/// The head of a POST with this key, without its length.
fn post(key: &str) -> String {
    format!("POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n")
}

/// A new connection, after sending `bytes`.
async fn begun(port: u16, bytes: String) -> Option<TlsStream<TcpStream>> {
    let mut stream = tls(port, b"http/1.1").await?;
    stream.write_all(bytes.as_bytes()).await.ok()?;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_bodies_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let (port, head) = (harness.daemon.port(), post(&harness.key));
    let until = Instant::now() + attack_duration();
    let attack = repeat_in_parallel(8, until, move || {
        endless(port, format!("{head}Transfer-Encoding: chunked\r\n\r\n"))
    });
    harness.run_attack("chunks without end", attack).await;
}

/// Sends chunks of one byte until the daemon reads no more. Returns their number.
async fn endless(port: u16, head: String) -> u64 {
    let Some(mut stream) = begun(port, head).await else { return 0 };
    let (mut sent, chunks) = (0, b"1\r\nx\r\n".repeat(2_000));
    while let Ok(Ok(())) = timeout(Duration::from_millis(500), stream.write_all(&chunks)).await {
        sent += chunks.len() as u64;
        assert!(sent < 16 * 1024 * 1024, "the daemon reads without limit");
    }
    sent / 6
}

/// Any client may send these: the key or the session is in the body. There are more of them than connections, and each
/// is opened again when it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_without_their_bodies_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = async {
        let held = open_many(1_100, |n| begun(port, form(["open", "sign-in"][n % 2])));
        let held = held.await;
        let until = Instant::now() + attack_duration();
        held.len() as u64 + repeat_in_parallel(32, until, move || waiting(port)).await
    };
    harness.run_attack("1,100 forms without their bodies", attack).await;
    harness.daemon.wait_for_line("evicted to make room for a new connection").await;
}

/// Opens one more and waits for a second.
async fn waiting(port: u16) -> u64 {
    let Some(mut stream) = begun(port, form("open")).await else { return 0 };
    read_remaining(&mut stream, Duration::from_secs(1)).await;
    1
}

/// The head of a form that a page of the dashboard could have sent.
fn form(to: &str) -> String {
    format!(
        "POST /dashboard/{to} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_heads_above_the_limit_are_refused() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let long = "x".repeat(64 * 1024);
    let many: String = (0..10_000).map(|n| format!("h{n}: x\r\n")).collect();
    let some: String = (0..101).map(|n| format!("h{n}: x\r\n")).collect();
    let cookies = format!("Cookie: {}\r\n", "a=b; ".repeat(13_000));
    let attack = async {
        for (what, head, statuses) in [
            (
                "a long header",
                format!("GET /healthz HTTP/1.1\r\nHost: x\r\na: {long}\r\n\r\n"),
                ["431", "400"],
            ),
            ("10,000 headers", format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n"), ["431", "400"]),
            ("101 headers", format!("GET /healthz HTTP/1.1\r\n{some}\r\n"), ["431", "400"]),
            ("a long address", format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), ["414", "431"]),
            ("cookies", format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{cookies}\r\n"), ["431", "400"]),
            ("a long method", format!("{long} / HTTP/1.1\r\n\r\n"), ["400", "431"]),
            ("an endless line", long.repeat(4), ["400", "431"]),
        ] {
            let (told, closed) = told(port, head.as_bytes()).await;
            assert!(closed, "{what}: the connection stays open");
            let refused = statuses.iter().any(|status| told.starts_with(&format!("HTTP/1.1 {status} ")));
            // Unread data at the time of closing resets the connection, and the response may be lost with it.
            assert!(refused || told.is_empty(), "{what}: {told}");
        }
        7
    };
    harness.run_attack("huge heads", attack).await;
}

/// Two parsers may disagree about where such a request ends; nothing after it may be treated as a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_behind_another() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let behind = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    // With a key, the body is read and the connection kept.
    let key = format!(
        "/api/v1/keys HTTP/1.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/json",
        harness.key
    );
    let firsts = ["/healthz HTTP/1.1", "/oauth HTTP/1.1", "/api/v1/keys HTTP/1.1", &key];
    let attack = async {
        let all = LENGTHS.iter().flat_map(|lengths| firsts.map(|first| (lengths, first)));
        let tried = open_many(all.clone().count(), |n| {
            let (lengths, first) = all.clone().nth(n).unwrap();
            let asked = format!("POST {first}\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n{behind}");
            alone(port, asked)
        });
        tried.await.len() as u64
    };
    harness.run_attack("smuggling", attack).await;
}

/// The first request in `asked` may be answered or refused, and must be the last.
async fn alone(port: u16, asked: String) -> Option<()> {
    let (told, closed) = told(port, asked.as_bytes()).await;
    assert!(answers(&told) <= 1, "{asked}: {told}");
    assert!(!told.contains("HTTP/1.1 404"), "{asked}: {told}");
    assert!(closed, "{asked}: the connection stays open: {told}");
    Some(())
}

/// Two lengths, no clear length, or chunks, which another parser may not support.
const LENGTHS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5, 6",
    "Content-Length: +5",
    "Content-Length: -1",
    "Content-Length: 5x",
    "Content-Length: 0x5",
    "Content-Length: 99999999999999999999999",
    "Content-Length: 18446744073709551615",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\u{b}: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_chunks_end_the_connection() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let head = post(&harness.key);
    let attack = async {
        let extension = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(1024 * 1024));
        let trailers = format!("1\r\nx\r\n0\r\n{}\r\n", "t: u\r\n".repeat(100_000));
        let bodies = [
            "ffffffffffffffffff\r\n",
            "-1\r\n",
            "g\r\n",
            "1 1\r\nx\r\n",
            "1\nx\n0\n\n",
            &extension,
            &trailers,
        ];
        for body in bodies {
            let asked =
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{body}GET /smuggled HTTP/1.1\r\n\r\n");
            let (told, closed) = told(port, asked.as_bytes()).await;
            assert!(closed, "{:.20}: the connection stays open: {told}", body);
            assert!(answers(&told) <= 1 && !told.contains(" 200 "), "{:.20}: {told}", body);
        }
        bodies.len() as u64
    };
    harness.run_attack("broken chunks", attack).await;
}

/// The responses would be a hundred times larger than what a connection may buffer for a client that does not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pipelined_requests_without_reading_use_bounded_memory() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = async {
        let asked = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(10_000);
        // Most of them cannot send everything.
        hold_many(50, attack_duration(), |_| greedy(port, asked.clone())).await * 10_000
    };
    harness.run_attack("50 x 10,000 requests, never reading", attack).await;
}

/// A new connection, after sending as much of `bytes` as the daemon reads.
async fn greedy(port: u16, bytes: String) -> Option<TlsStream<TcpStream>> {
    let mut stream = tls(port, b"http/1.1").await?;
    let _ = timeout(Duration::from_secs(1), stream.write_all(bytes.as_bytes())).await;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_behind_a_request_ends_the_connection() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let until = Instant::now() + attack_duration();
    let attack = repeat_in_parallel(16, until, move || async move {
        let garbage: Vec<u8> = (0..32_768_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let asked = [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), garbage].concat();
        let (told, closed) = told(port, &asked).await;
        assert!(closed && answers(&told) <= 2, "{told}");
        1
    });
    harness.run_attack("pipelined garbage", attack).await;
}
