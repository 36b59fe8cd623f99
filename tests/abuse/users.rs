//! Floods of requests that are well-formed, each cheap, and too many; and the control socket.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;

use super::client::crowd;
use super::client::lanes;
use super::client::tcp_from;
use super::client::tls_on;
use super::harness::Siege;
use super::harness::lasting;
use crate::support::Visitor;
use crate::support::counters;
use crate::support::http;

/// How many starts, when nobody is in a hurry.
const STARTS: usize = 20_000;

/// Asks for `path`s over one connection until the time is up, or `most` times. How many answers had `status`.
async fn asked(siege: &Siege, paths: impl Fn(usize) -> String, most: usize, status: u16) -> u64 {
    let (client, url) = (http(), siege.daemon.url("/"));
    let (mut good, mut n) = (0, 0);
    while n < most {
        let answer = client.get(url.join(&paths(n)).unwrap()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", paths(n));
        (good, n) = (good + 1, n + 1);
    }
    good
}

/// The windows in which memory is looked at, after as many starts again.
const WINDOWS: usize = 4;

/// Memory that a window may need more than the one before it, in bytes for each start. Some windows grow by other work;
/// what each start leaves behind grows in all of them.
const MOST_LEFT: u64 = 128;

/// How much more memory each start needs for good, in bytes: of several windows of `starts`, the one that grew least.
async fn left_behind(siege: &Siege, starts: usize) -> u64 {
    asked(siege, |_| "/oauth".to_owned(), starts, 302).await;
    let mut least = u64::MAX;
    for _ in 0..WINDOWS {
        let before = siege.memory_now();
        asked(siege, |n| format!("/oauth?person=p{n}@example.com"), starts, 302).await;
        least = least.min(siege.memory_now().saturating_sub(before));
    }
    least * 1024 / starts as u64
}

/// Tickets are kept by the browser, in a sealed cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_of_consents_leave_nothing_behind() {
    let siege = Siege::new().await;
    let attack = async {
        let starts = STARTS / (10 * (WINDOWS + 1));
        let left = left_behind(&siege, starts).await;
        assert!(left <= MOST_LEFT, "{left} bytes for each start");
        (starts * (WINDOWS + 1)) as u64
    };
    siege.under("/oauth starts", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a minute of starts"]
async fn twenty_thousand_starts_of_consents_leave_nothing_behind() {
    let siege = Siege::new().await;
    let attack = async {
        let starts = STARTS / (WINDOWS + 1);
        let left = left_behind(&siege, starts).await;
        assert!(left <= MOST_LEFT, "{left} bytes for each start");
        (starts * (WINDOWS + 1)) as u64
    };
    siege.under("20,000 /oauth starts", attack).await;
}

/// Without a ticket, or with a state that is not the ticket's, a code is no reason to ask Webex.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_nobody_asked_for_cost_webex_nothing() {
    let siege = Siege::new().await;
    let asked_before = counters(&siege.sim).calls.access_token;
    let visitor = Visitor::new();
    visitor.begin(&siege.daemon).await;
    let cookies = visitor.cookie_header().unwrap();
    drop(visitor);
    let path = |n: usize| format!("/oauth?code=c{n}&state={}", "s".repeat(n % 900));
    let attack = async {
        let none = asked(&siege, path, 500, 400).await;
        let (client, url) = (http(), siege.daemon.url("/"));
        for n in 0..500 {
            let request = client.get(url.join(&path(n)).unwrap()).header("cookie", &cookies);
            assert_eq!(request.send().await.unwrap().status().as_u16(), 400, "{}", path(n));
        }
        assert_eq!(counters(&siege.sim).calls.access_token, asked_before, "Webex was asked");
        none + 500
    };
    siege.under("/oauth?code&state", attack).await;
}

/// Keys are guessed from one address, and from hundreds of others; who has a right one is let in from any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_keep_no_right_one_out() {
    let siege = Siege::new().await;
    let port = siege.daemon.port();
    let until = Instant::now() + lasting();
    let attack = async {
        let one = lanes(4, until, move || guess(port, 1));
        let many = crowd(200, |n| async move { Some(guess(port, u32::try_from(n).unwrap() + 2).await) });
        let (one, many) = tokio::join!(one, many);
        one + many.into_iter().sum::<u64>()
    };
    siege.under("wrong keys from 201 addresses", attack).await;
}

/// Twenty wrong keys from the loopback address of this number.
async fn guess(port: u16, number: u32) -> u64 {
    let Some(stream) = tcp_from(number, port).await else { return 0 };
    let Some(mut stream) = tls_on(stream, b"http/1.1").await else { return 0 };
    let asked = "GET /api/v1/people HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n";
    let asked = format!("{}{asked}Connection: close\r\n\r\n", format!("{asked}\r\n").repeat(19));
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut told = String::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_string(&mut told)).await;
    assert!(!told.contains("HTTP/1.1 200"), "{told}");
    assert!(told.contains("HTTP/1.1 429"), "{told}");
    20
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_those_who_ask_for_them_are_bounded() {
    let siege = Siege::new().await;
    let attack = async {
        let (mut ids, mut refused) = (Vec::new(), 0);
        for _ in 0..1_050 {
            let made = siege.control("POST", "/logins", "{}").await;
            let id = made.split_once(r#""id":""#).and_then(|(_, rest)| rest.split('"').next());
            ids.extend(id.map(str::to_owned));
            refused += u64::from(made.starts_with("HTTP/1.1 503 ") || made.starts_with("HTTP/1.1 429 "));
        }
        assert_eq!((ids.len(), refused), (1_000, 50));
        // Fewer than the control socket takes: all that are being answered stay.
        let path = siege.daemon.state_dir().join("control.sock");
        let ask =
            |id: &str| format!("GET /api/v1/logins/{id}?wait=5 HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        let held = crowd(200, |n| local(path.clone(), ask(&ids[n])));
        let held = held.await;
        sleep(lasting()).await;
        1_050 + held.len() as u64
    };
    siege.under("1,050 logins, 200 polls", attack).await;
}

/// Twice as many as the control socket takes: silent ones, ones that never read, and garbage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowded_control_socket_keeps_nobody_out() {
    let siege = Siege::new().await;
    let path = siege.daemon.state_dir().join("control.sock");
    let attack = async {
        let held = crowd(500, |n| {
            let asked = match n % 4 {
                0 => Vec::new(),
                1 => b"GET /api/v1/people HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5_000),
                2 => b"POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{".to_vec(),
                _ => vec![0xff; 3_000],
            };
            local(path.clone(), asked)
        });
        let held = held.await;
        sleep(lasting()).await;
        held.len() as u64
    };
    siege.under("500 on the control socket", attack).await;
}

/// A connection to this socket, with as much of `asked` sent as it takes.
async fn local(path: PathBuf, asked: Vec<u8>) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(path).await.ok()?;
    let _ = timeout(Duration::from_millis(100), stream.write_all(&asked)).await;
    Some(stream)
}
