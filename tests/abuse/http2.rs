//! Abuse of HTTP/2 that is within the specification, or just beyond it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use tokio::time::timeout;

use super::client::hold_many;
use super::client::repeat_in_parallel;
use super::client::tls;
use super::frames::CONTINUATION;
use super::frames::DATA;
use super::frames::END_HEADERS;
use super::frames::END_STREAM;
use super::frames::HEADERS;
use super::frames::INITIAL_WINDOW_SIZE;
use super::frames::PING;
use super::frames::PRIORITY;
use super::frames::RST_STREAM;
use super::frames::SETTINGS;
use super::frames::WINDOW_UPDATE;
use super::frames::block;
use super::frames::field;
use super::frames::frame;
use super::frames::get;
use super::frames::opening;
use super::harness::AttackHarness;
use super::harness::attack_duration;
use crate::support::eventually;

/// Connections that flood in parallel.
const CONNECTIONS: usize = 8;

/// Frames in one write.
const FRAMES_PER_WRITE: u32 = 500;

/// Any flood is ended after this many bytes on one connection. Far above the daemon's own limit, because bytes in the
/// socket buffers count here as well.
const MAX_FLOOD_BYTES: u64 = 16 * 1024 * 1024;

/// Streams that the daemon allows on one connection.
const MAX_STREAMS: u32 = 64;

/// A write that takes longer is blocked by a full buffer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// One kind of flood, and how many frames the daemon has read.
#[derive(Clone)]
struct Flood {
    port: u16,
    /// Whether responses are read.
    reads: bool,
    taken: Arc<AtomicU64>,
}

impl Flood {
    fn new(harness: &AttackHarness, reads: bool) -> Self {
        Self { port: harness.daemon.port(), reads, taken: Arc::default() }
    }

    /// Floods on one connection: `first`, then batches for as long as the daemon reads them. Returns the number of
    /// bytes.
    async fn run_once(&self, first: &[u8], batch: impl Fn(u32) -> Vec<u8>) -> u64 {
        let Some(stream) = tls(self.port, b"h2").await else { return 0 };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let sent = AtomicU64::new(0);
        let send = async {
            let mut next = first.to_vec();
            let mut round = 0;
            // A blocked write means that the daemon reads no more.
            while let Ok(Ok(())) = timeout(WRITE_TIMEOUT, writer.write_all(&next)).await {
                next = batch(round);
                round += 1;
                self.taken.fetch_add(u64::from(FRAMES_PER_WRITE), Ordering::Relaxed);
                let bytes = sent.fetch_add(next.len() as u64, Ordering::Relaxed);
                assert!(bytes < MAX_FLOOD_BYTES, "the daemon reads without limit");
            }
        };
        if self.reads {
            tokio::select! {
                () = send => {}
                () = drain(&mut reader) => {}
            }
        } else {
            send.await;
        }
        sent.into_inner()
    }

    /// Floods from [`CONNECTIONS`] connections in parallel, each opened again when the daemon ends it.
    async fn run(self, first: Vec<u8>, batch: fn(u32) -> Vec<u8>) -> u64 {
        let taken = Arc::clone(&self.taken);
        let one = move || {
            let (flood, first) = (self.clone(), first.clone());
            async move { flood.run_once(&first, batch).await }
        };
        repeat_in_parallel(CONNECTIONS, Instant::now() + attack_duration(), one).await;
        taken.load(Ordering::Relaxed)
    }
}

async fn drain(reader: &mut (impl AsyncRead + Unpin)) {
    let mut taken = vec![0; 64 * 1024];
    while reader.read(&mut taken).await.is_ok_and(|got| got > 0) {}
}

async fn run_flood(name: &str, reads: bool, first: Vec<u8>, batch: fn(u32) -> Vec<u8>) {
    let harness = AttackHarness::new().await;
    harness.run_attack(name, Flood::new(&harness, reads).run(first, batch)).await;
}

/// The number of the `n`th stream of a round.
fn stream(round: u32, n: u32) -> u32 {
    (round * FRAMES_PER_WRITE + n) * 2 + 1
}

fn repeated(one: &[u8]) -> Vec<u8> {
    one.repeat(FRAMES_PER_WRITE as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_do_not_block_other_clients() {
    run_flood("rapid reset", true, opening(&[]), |round| {
        let one = |n| {
            let stream = stream(round, n);
            [get(stream, "/"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
        };
        (0..FRAMES_PER_WRITE).flat_map(one).collect()
    })
    .await;
}

/// Makes the daemon reset the streams itself (CVE-2025-8671).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_that_the_daemon_is_made_to_send_do_not_block_other_clients() {
    run_flood("made you reset", true, opening(&[]), |round| {
        let one = |n| {
            let stream = stream(round, n);
            [get(stream, "/"), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        };
        (0..FRAMES_PER_WRITE).flat_map(one).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_floods_do_not_block_other_clients() {
    run_flood("SETTINGS", true, opening(&[]), |_| repeated(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])))
        .await;
    run_flood("SETTINGS, never reading", false, opening(&[]), |_| repeated(&frame(SETTINGS, 0, 0, &[])))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping_floods_do_not_block_other_clients() {
    run_flood("PING", true, opening(&[]), |_| repeated(&frame(PING, 0, 0, &[7; 8]))).await;
    run_flood("PING, never reading", false, opening(&[]), |_| repeated(&frame(PING, 0, 0, &[7; 8]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn priority_and_window_update_floods_do_not_block_other_clients() {
    run_flood("PRIORITY", true, opening(&[]), |_| repeated(&frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]))).await;
    let first = [opening(&[(INITIAL_WINDOW_SIZE, 0)]), get(1, "/")].concat();
    run_flood("WINDOW_UPDATE by 1", true, first, |_| {
        repeated(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation_floods_do_not_block_other_clients() {
    let head = [opening(&[]), frame(HEADERS, END_STREAM, 1, &block("GET", "/", &[]))].concat();
    run_flood("CONTINUATION", true, head.clone(), |_| repeated(&frame(CONTINUATION, 0, 1, &field("a", "b"))))
        .await;
    run_flood("empty CONTINUATION", true, head, |_| repeated(&frame(CONTINUATION, 0, 1, &[]))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_floods_do_not_block_other_clients() {
    let harness = AttackHarness::new().await;
    let key = field("authorization", &format!("Bearer {}", harness.key));
    let post = frame(HEADERS, END_HEADERS, 1, &block("POST", "/api/v1/keys", &key));
    let attack =
        Flood::new(&harness, true).run([opening(&[]), post].concat(), |_| repeated(&frame(DATA, 0, 1, &[])));
    harness.run_attack("empty DATA", attack).await;
}

/// Requests whose heads have 16 KB on the wire and 48 MB when decompressed: a field of nearly 4 KiB goes into the
/// table, and each further byte refers to it.
fn bombs(streams: Range<u32>) -> Vec<u8> {
    let value = "x".repeat(4_000);
    // 4,000 is 127 + 3,873, in groups of seven bits (RFC 7541, 5.1).
    let kept = [&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e][..], value.as_bytes()].concat();
    let first = block("GET", "/", &[kept, vec![0xbe; 12_000]].concat());
    let later = block("GET", "/", &[0xbe; 16_000]);
    let head = |n| if n == 0 { &first } else { &later };
    streams.flat_map(|n| frame(HEADERS, END_STREAM | END_HEADERS, n * 2 + 1, head(n))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_table_bombs_do_not_block_other_clients() {
    run_flood("header table bombs", true, [opening(&[]), bombs(0..1)].concat(), |round| {
        bombs(round * 20 + 1..round * 20 + 21)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_streams_do_not_block_other_clients() {
    run_flood("1,000 streams", true, opening(&[(INITIAL_WINDOW_SIZE, 0)]), |round| {
        (0..FRAMES_PER_WRITE).flat_map(|n| get(stream(round, n), "/oauth")).collect()
    })
    .await;
}

/// As many responses as may wait on one connection, and the client reads none.
async fn never_read(connections: usize) {
    let harness = AttackHarness::new().await;
    let port = harness.daemon.port();
    let attack = async {
        let held = hold_many(connections, attack_duration(), |_| async move {
            let mut stream = tls(port, b"h2").await?;
            let asked: Vec<u8> = (0..MAX_STREAMS).flat_map(|n| get(n * 2 + 1, "/")).collect();
            stream.write_all(&[opening(&[(INITIAL_WINDOW_SIZE, 0)]), asked].concat()).await.ok()?;
            Some(stream)
        });
        held.await * u64::from(MAX_STREAMS)
    };
    harness.run_attack("responses that are not read, 64 each", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_do_not_block_other_clients() {
    never_read(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: 25,600 requests"]
async fn four_hundred_clients_that_never_read_do_not_block_other_clients() {
    never_read(400).await;
}

/// A connection without requests is ended after so many bytes, whatever it sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_floods_without_requests_is_closed() {
    let harness = AttackHarness::new().await;
    let first = [opening(&[]), get(1, "/healthz")].concat();
    let floods =
        [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[]), frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7])];
    for (before, one) in floods.iter().enumerate() {
        let flood = Flood::new(&harness, true);
        let flooding = flood.run_once(&first, |_| repeated(one));
        let bytes = timeout(Duration::from_secs(10), flooding).await.expect("the flood is not ended");
        // Most of the bytes are in the buffers of the two sockets.
        assert!(bytes < 12 * 1024 * 1024, "{bytes} bytes");
        // The limit on bytes ends it: a limit on one kind of frame would miss the others.
        let counted =
            || harness.daemon.log().iter().filter(|line| line.contains("without a request")).count();
        eventually("the daemon says why it ended the connection", || counted() == before + 1).await;
    }
}
