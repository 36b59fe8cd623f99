//! Floods of valid requests, each cheap but too many of them; and of control socket connections.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio::time::timeout;

use super::client::hold_many;
use super::client::open_many;
use super::client::repeat_in_parallel;
use super::client::tcp_from;
use super::client::tls_on;
use super::harness::AttackHarness;
use super::harness::attack_duration;
use crate::support::BrowserClient;
use crate::support::counters;
use crate::support::http;

/// Starts in the long form of the test.
const STARTS: usize = 20_000;

/// Requests `paths` over one connection until the time is up, or `most` times. Returns how many responses had `status`.
async fn request_repeatedly(
    harness: &AttackHarness,
    paths: impl Fn(usize) -> String,
    most: usize,
    status: u16,
) -> u64 {
    let (client, url) = (http(), harness.daemon.url("/"));
    let (mut good, mut n) = (0, 0);
    while n < most {
        let answer = client.get(url.join(&paths(n)).unwrap()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", paths(n));
        (good, n) = (good + 1, n + 1);
    }
    good
}

/// Number of windows in which memory is measured, each after equally many starts.
const WINDOWS: usize = 4;

/// Bytes per start by which a window may exceed the one before. Other work makes some windows grow; what each start
/// leaks makes all of them grow.
const MAX_BYTES_LEFT_PER_START: u64 = 128;

/// The memory that each start leaks, in bytes: the growth of the window that grew least.
async fn memory_left_per_start(harness: &AttackHarness, starts: usize) -> u64 {
    request_repeatedly(harness, |_| "/oauth".to_owned(), starts, 302).await;
    let mut least = u64::MAX;
    for _ in 0..WINDOWS {
        let before = harness.memory_kib();
        request_repeatedly(harness, |n| format!("/oauth?person=p{n}@example.com"), starts, 302).await;
        least = least.min(harness.memory_kib().saturating_sub(before));
    }
    least * 1024 / starts as u64
}

/// Tickets are stored in the browser, in a sealed cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn started_consents_leave_no_memory_behind() {
    let harness = AttackHarness::new().await;
    let attack = async {
        let starts = STARTS / (10 * (WINDOWS + 1));
        let left = memory_left_per_start(&harness, starts).await;
        assert!(left <= MAX_BYTES_LEFT_PER_START, "{left} bytes are left for each start");
        (starts * (WINDOWS + 1)) as u64
    };
    harness.run_attack("/oauth starts", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a minute of starts"]
async fn twenty_thousand_started_consents_leave_no_memory_behind() {
    let harness = AttackHarness::new().await;
    let attack = async {
        let starts = STARTS / (WINDOWS + 1);
        let left = memory_left_per_start(&harness, starts).await;
        assert!(left <= MAX_BYTES_LEFT_PER_START, "{left} bytes are left for each start");
        (starts * (WINDOWS + 1)) as u64
    };
    harness.run_attack("20,000 /oauth starts", attack).await;
}

/// A code without a ticket, or with a state of another ticket, causes no request to Webex.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_without_a_matching_ticket_cause_no_webex_call() {
    let harness = AttackHarness::new().await;
    let asked_before = counters(&harness.sim).calls.access_token;
    let visitor = BrowserClient::new();
    visitor.begin(&harness.daemon).await;
    let cookies = visitor.cookie_header().unwrap();
    drop(visitor);
    let path = |n: usize| format!("/oauth?code=c{n}&state={}", "s".repeat(n % 900));
    let attack = async {
        let none = request_repeatedly(&harness, path, 500, 400).await;
        let (client, url) = (http(), harness.daemon.url("/"));
        for n in 0..500 {
            let request = client.get(url.join(&path(n)).unwrap()).header("cookie", &cookies);
            assert_eq!(request.send().await.unwrap().status().as_u16(), 400, "{}", path(n));
        }
        assert_eq!(counters(&harness.sim).calls.access_token, asked_before, "Webex was asked");
        none + 500
    };
    harness.run_attack("/oauth?code&state", attack).await;
}

/// Keys are guessed from one address, and from hundreds of others; a right key is accepted from any address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_do_not_block_right_ones() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let until = Instant::now() + attack_duration();
    let attack =
        async {
            let one = repeat_in_parallel(4, until, move || send_wrong_keys(port, 1));
            let many = open_many(200, |n| async move {
                Some(send_wrong_keys(port, u32::try_from(n).unwrap() + 2).await)
            });
            let (one, many) = tokio::join!(one, many);
            one + many.into_iter().sum::<u64>()
        };
    harness.run_attack("wrong keys from 201 addresses", attack).await;
}

/// Sends twenty wrong keys from the loopback address of this number.
async fn send_wrong_keys(port: u16, number: u32) -> u64 {
    let Some(stream) = tcp_from(number, port).await else { return 0 };
    let Some(mut stream) = tls_on(stream, b"http/1.1").await else { return 0 };
    let head = "GET /api/v1/people HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n";
    let requests = format!("{}{head}Connection: close\r\n\r\n", format!("{head}\r\n").repeat(19));
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut told = String::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_string(&mut told)).await;
    assert!(!told.contains("HTTP/1.1 200"), "{told}");
    assert!(told.contains("HTTP/1.1 429"), "{told}");
    20
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pending_logins_and_their_pollers_are_bounded() {
    let harness = AttackHarness::new().await;
    let attack = async {
        let (mut ids, mut refused) = (Vec::new(), 0);
        for _ in 0..1_050 {
            let made = harness.control("POST", "/logins", "{}").await;
            let id = made.split_once(r#""id":""#).and_then(|(_, rest)| rest.split('"').next());
            ids.extend(id.map(str::to_owned));
            refused += u64::from(made.starts_with("HTTP/1.1 503 ") || made.starts_with("HTTP/1.1 429 "));
        }
        assert_eq!((ids.len(), refused), (1_000, 50));
        // Fewer than the control socket's limit: all that are being answered stay.
        let path = harness.daemon.state_dir().join("control.sock");
        let ask =
            |id: &str| format!("GET /api/v1/logins/{id}?wait=5 HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        let open = |n: usize| control_connection(path.clone(), ask(&ids[n]));
        1_050 + hold_many(200, attack_duration(), open).await
    };
    harness.run_attack("1,050 logins, 200 polls", attack).await;
}

/// Twice the control socket's limit: silent ones, ones that never read, and garbage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowded_control_socket_does_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let path = harness.daemon.state_dir().join("control.sock");
    let attack = hold_many(500, attack_duration(), |n| {
        let bytes = match n % 4 {
            0 => Vec::new(),
            1 => b"GET /api/v1/people HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5_000),
            2 => b"POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{".to_vec(),
            _ => vec![0xff; 3_000],
        };
        control_connection(path.clone(), bytes)
    });
    harness.run_attack("500 on the control socket", attack).await;
}

/// A connection to this socket, after sending as much of `bytes` as it accepts.
async fn control_connection(path: PathBuf, bytes: Vec<u8>) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(path).await.ok()?;
    let _ = timeout(Duration::from_millis(100), stream.write_all(&bytes)).await;
    Some(stream)
}
