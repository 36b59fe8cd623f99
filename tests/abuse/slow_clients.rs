//! Clients that connect and send nothing, too little, or too slowly.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::sleep_until;

use super::client::hold_many;
use super::client::open_many;
use super::client::read_remaining;
use super::client::repeat_in_parallel;
use super::client::send_slowly;
use super::client::tcp;
use super::client::tcp_from;
use super::client::tls;
use super::harness::AttackHarness;
use super::harness::attack_duration;

/// Twice the connection limit.
const TWICE_THE_LIMIT: usize = 2_000;

/// A few more than the limit, for connections that cost a handshake each.
const JUST_OVER_LIMIT: usize = 1_100;

/// The head of a handshake record that announces 512 bytes, and the first of them.
const HALF_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_silent_connections_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = hold_many(TWICE_THE_LIMIT, attack_duration(), |_| tcp(port));
    harness.run_attack("2,000 idle connections", attack).await;
    harness.daemon.wait_for_line("closing idle connections").await;
}

/// The kept-alive connection is older, and has been idle for longer, than all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_from_other_networks_evict_no_kept_alive_connection() {
    const ASKED: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    if tcp_from(1, port).await.is_none() {
        return eprintln!("skipped: this system has only one loopback address");
    }
    let mut kept = tls(port, b"http/1.1").await.unwrap();
    kept.write_all(ASKED).await.unwrap();
    let attack = async {
        let held = open_many(TWICE_THE_LIMIT, |_| tcp_from(1, port)).await;
        sleep(attack_duration()).await;
        kept.write_all(ASKED).await.unwrap();
        let (told, closed) = read_remaining(&mut kept, Duration::from_secs(1)).await;
        assert_eq!((told.matches("HTTP/1.1 200 ").count(), closed), (2, false), "{told}");
        drop(kept);
        held.len() as u64
    };
    harness.run_attack("2,000 idle connections from elsewhere", attack).await;
    harness.daemon.wait_for_line("closing idle connections").await;
}

async fn silent_after_tls(connections: usize) {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = hold_many(connections, attack_duration(), |n| tls(port, [&b"http/1.1"[..], b"h2"][n % 2]));
    harness.run_attack("idle after TLS", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_tls_connections_do_not_block_other_clients() {
    silent_after_tls(JUST_OVER_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: 2,000 handshakes"]
async fn two_thousand_silent_tls_connections_do_not_block_other_clients() {
    silent_after_tls(TWICE_THE_LIMIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_after_one_request_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = hold_many(JUST_OVER_LIMIT, attack_duration(), |_| async move {
        let mut stream = tls(port, b"http/1.1").await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.ok()?;
        Some(stream)
    });
    harness.run_attack("1,100 that asked once", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_tls_handshakes_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = async {
        let held = open_many(TWICE_THE_LIMIT / 2, |n| async move {
            let mut stream = tcp(port).await?;
            let garbage: Vec<u8> = (0..600).map(|byte| 0x16 ^ (byte as u8 ^ n as u8)).collect();
            let hello = [HALF_HELLO, &garbage][n % 2];
            stream.write_all(hello).await.ok()?;
            Some(stream)
        });
        send_slowly(held.await, &[0], attack_duration()).await
    };
    harness.run_attack("1,000 halves of a ClientHello", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_sent_byte_by_byte_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = async {
        let held = open_many(500, |_| tls(port, b"http/1.1")).await;
        send_slowly(held, b"G", attack_duration() * 2).await
    };
    harness.run_attack("500 slow heads", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_http_on_the_tls_port_does_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let until = Instant::now() + attack_duration() * 2;
    let attack = repeat_in_parallel(32, until, move || async move {
        let Some(mut stream) = tcp(port).await else { return 0 };
        let _ = stream.write_all(b"GET /oauth?code=x HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
        let (answer, closed) = read_remaining(&mut stream, Duration::from_secs(5)).await;
        assert!(closed && answer.starts_with("HTTP/1.1 308 "), "{answer}");
        1
    });
    harness.run_attack("plain HTTP", attack).await;
}

/// The limit is not reached, so only the timeouts end them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_are_closed_within_the_time_limits() {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let alone = harness.open_files();
    let mut slow: Vec<TcpStream> = open_many(100, |_| tcp(port)).await;
    for stream in &mut slow[..50] {
        stream.write_all(HALF_HELLO).await.unwrap();
    }
    let agreed = open_many(100, |n| tls(port, if n % 2 == 0 { b"h2" } else { b"http/1.1" })).await;
    let mut control = Vec::new();
    for _ in 0..50 {
        control.push(harness.control_stream().await);
    }
    let begun = Instant::now();
    assert!(harness.open_files() >= alone + 200);
    // Ten seconds for the handshake, ten for the first head after it, and one to close.
    sleep_until(begun + Duration::from_secs(13)).await;
    assert!(harness.open_files() <= alone, "{} open files, {alone} before", harness.open_files());
    drop((slow, agreed, control));
}
