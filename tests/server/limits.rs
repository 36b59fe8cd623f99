//! Clients that occupy connections: each is disconnected, and an honest client is served meanwhile.

use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;
use tokio::time::timeout;
use webex_tokend::http::server::limits::Limits;

use super::harness::GatedService;
use super::harness::HONEST;
use super::harness::TestServer;
use super::harness::echo;
use super::harness::read_response;
use super::harness::send_request;
use super::harness::short_limits;
use super::harness::wait_for_close;
use crate::support::time::SHORT_LIMITS_TIMEOUT;

/// On a busy machine a limit may be reached late, but a test limit is never confused with a default one.
const SOON: Duration = Duration::from_secs(5);

/// Only the limits before the first request can end a connection.
fn never_idle() -> Limits {
    Limits { idle: SHORT_LIMITS_TIMEOUT * 2, ..short_limits() }
}

async fn is_sent_away<T: AsyncRead + Unpin>(server: &TestServer, mut stream: T) {
    let (took, honest) = tokio::join!(wait_for_close(&mut stream), server.honest());
    assert_eq!(honest, HONEST);
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn a_silent_client_is_disconnected() {
    let server = TestServer::new_tls(short_limits(), echo).await;
    is_sent_away(&server, server.connect().await).await;
}

#[tokio::test]
async fn a_silent_client_on_a_plain_port_is_disconnected() {
    let server = TestServer::new_plain(never_idle(), echo).await;
    let took = wait_for_close(&mut server.connect().await).await;
    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn a_client_that_stops_during_the_handshake_is_disconnected() {
    let server = TestServer::new_tls(short_limits(), echo).await;
    let mut stream = server.connect().await;
    // The head of a handshake record that announces 512 bytes, and the first of them.
    stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00]).await.unwrap();
    is_sent_away(&server, stream).await;
}

#[tokio::test]
async fn a_client_that_is_silent_after_the_handshake_is_disconnected() {
    let server = TestServer::new_tls(never_idle(), echo).await;
    for protocol in [None, Some(&b"http/1.1"[..]), Some(b"h2")] {
        is_sent_away(&server, server.connect_tls(protocol).await).await;
    }
}

#[tokio::test]
async fn an_http2_client_without_requests_is_disconnected() {
    let server = TestServer::new_tls(never_idle(), echo).await;
    let mut stream = server.connect_tls(Some(b"h2")).await;
    stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    is_sent_away(&server, stream).await;
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_disconnected() {
    let server = TestServer::new_tls(never_idle(), echo).await;
    is_sent_away(&server, slowly(server.connect_tls(None).await)).await;
    is_sent_away(&server, slowly(server.connect().await)).await;
}

#[tokio::test]
async fn a_client_that_sends_a_later_head_slowly_is_disconnected() {
    let server = TestServer::new_tls(short_limits(), echo).await;
    let mut stream = server.connect_tls(None).await;
    send_request(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    is_sent_away(&server, slowly(stream)).await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_the_idle_time_and_not_before() {
    let server = TestServer::new_tls(short_limits(), echo).await;
    let mut stream = server.connect_tls(None).await;
    send_request(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let took = wait_for_close(&mut stream).await;
    // Longer than the limit for the first head, which would end the connection if the two were confused.
    assert!((Duration::from_millis(450)..SOON).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_request_in_flight_is_not_idle() {
    for protocol in [reqwest::Version::HTTP_11, reqwest::Version::HTTP_2] {
        let gate = GatedService::default();
        let server = TestServer::new_tls(short_limits(), gate.service()).await;
        let client = server.client();
        let client = if protocol == reqwest::Version::HTTP_11 { client.http1_only() } else { client };
        let asked = server.tasks.spawn("ask", client.build().unwrap().get(server.url("/gate")).send());
        gate.started.notified().await;
        sleep(short_limits().idle * 2).await;
        gate.release.notify_one();
        let reply = asked.await.unwrap().unwrap();
        assert_eq!(reply.version(), protocol);
        assert_eq!(reply.text().await.unwrap(), "let go");
    }
}

/// A complete HTTP/2 opening: the preface, SETTINGS (empty, or with an initial window of 0), and `GET /` on stream 1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const NO_WINDOW: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
const GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x84\x87\x41\x01x";

#[tokio::test]
async fn an_http2_connection_is_closed_after_the_idle_time_even_if_the_client_reads_nothing() {
    let server = TestServer::new_tls(short_limits(), echo).await;
    for settings in [SETTINGS, NO_WINDOW] {
        let mut stream = server.connect_tls(Some(b"h2")).await;
        stream.write_all(&[PREFACE, settings, GET].concat()).await.unwrap();
        let took = wait_for_close(&mut stream).await;
        // Not the limit for a first request, which the client did send.
        assert!((Duration::from_millis(450)..SOON).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn at_the_connection_limit_only_the_longest_idle_client_is_evicted() {
    let limits = Limits { connections: 2, handshake: SHORT_LIMITS_TIMEOUT * 2, ..Limits::default() };
    let server = TestServer::new_tls(limits, echo).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    assert_eq!(timeout(SHORT_LIMITS_TIMEOUT, server.honest()).await.unwrap(), HONEST);
    wait_for_close(&mut first).await;
    assert!(timeout(Duration::from_millis(200), wait_for_close(&mut second)).await.is_err());
}

#[tokio::test]
async fn at_the_connection_limit_no_request_in_flight_is_interrupted() {
    let gate = GatedService::default();
    let server = TestServer::new_tls(Limits { connections: 1, ..Limits::default() }, gate.service()).await;
    let mut busy = server.connect_tls(None).await;
    busy.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.started.notified().await;
    let mut waiting = Box::pin(server.honest());
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    gate.release.notify_one();
    assert!(read_response(&mut busy).await.ends_with("let go"));
    assert_eq!(timeout(SHORT_LIMITS_TIMEOUT, waiting).await.unwrap(), HONEST);
}

/// Sends a head byte by byte on this stream, as long as the server reads it.
fn slowly<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: T) -> impl AsyncRead + Unpin {
    let (reader, mut writer) = tokio::io::split(stream);
    webex_tokend::tasks::Tasks::new().spawn("slow peer", async move {
        while writer.write_all(b"G").await.is_ok() && writer.flush().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    reader
}
