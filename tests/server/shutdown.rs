//! Shutdown: what is finished, what is closed, what is interrupted; and what must not cause it.

use std::process::Command;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use webex_tokend::http::server::handler::Peer;
use webex_tokend::http::server::limits::Limits;

use super::harness::GatedService;
use super::harness::HONEST;
use super::harness::TestServer;
use super::harness::echo;
use super::harness::read_response;
use super::harness::send_request;
use super::harness::short_limits;
use super::harness::text;
use super::harness::wait_for_close;
use crate::support::time::SHORT_LIMITS_TIMEOUT;

const PATIENT: Limits = Limits {
    handshake: SHORT_LIMITS_TIMEOUT,
    header: SHORT_LIMITS_TIMEOUT,
    idle: SHORT_LIMITS_TIMEOUT,
    closing: Duration::from_millis(100),
    header_bytes: 32 * 1024,
    connections: 64,
    streams: 8,
    drain: SHORT_LIMITS_TIMEOUT,
};

#[tokio::test]
async fn at_shutdown_requests_in_flight_finish_and_idle_connections_close() {
    let gate = GatedService::default();
    let server = TestServer::new_tls(PATIENT, gate.service()).await;
    let mut idle = server.connect_tls(None).await;
    send_request(&mut idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let mut unused = server.connect_tls(None).await;
    let mut silent = server.connect().await;
    let mut busy = server.connect_tls(None).await;
    busy.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.started.notified().await;
    let over_http2 = server.client().build().unwrap().get(server.url("/gate")).send();
    let over_http2 = server.tasks.spawn("ask", over_http2);
    gate.started.notified().await;
    let addr = server.addr;

    server.tasks.stop();
    for stream in [&mut idle, &mut unused] {
        assert!(wait_for_close(stream).await < SHORT_LIMITS_TIMEOUT / 2);
    }
    assert!(wait_for_close(&mut silent).await < SHORT_LIMITS_TIMEOUT / 2);
    assert!(TcpStream::connect(addr).await.is_err(), "a new connection is accepted after the shutdown began");

    gate.release.notify_waiters();
    let reply = read_response(&mut busy).await;
    assert!(reply.ends_with("let go"), "{reply}");
    assert!(reply.contains("connection: close"), "{reply}");
    assert_eq!(over_http2.await.unwrap().unwrap().text().await.unwrap(), "let go");
    assert!(server.shut_down().await < SHORT_LIMITS_TIMEOUT / 2);
}

#[tokio::test]
async fn shutdown_without_requests_in_flight_does_not_wait() {
    let server = TestServer::new_tls(PATIENT, echo).await;
    let client = server.client().build().unwrap();
    assert_eq!(client.get(server.url("/honest")).send().await.unwrap().version(), reqwest::Version::HTTP_2);
    let _no_preface = server.connect_tls(Some(b"h2")).await;
    let _half_a_head = {
        let mut stream = server.connect_tls(None).await;
        stream.write_all(b"GET / HT").await.unwrap();
        stream
    };
    let took = server.shut_down().await;
    assert!(took < SHORT_LIMITS_TIMEOUT / 2, "{took:?}");
}

#[tokio::test]
async fn a_hung_handler_does_not_delay_shutdown_beyond_the_drain_time() {
    let gate = GatedService::default();
    let server =
        TestServer::new_tls(Limits { drain: Duration::from_millis(300), ..PATIENT }, gate.service()).await;
    let mut over_http1 = server.connect_tls(None).await;
    over_http1.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.started.notified().await;
    server.tasks.spawn("ask", server.client().build().unwrap().get(server.url("/gate")).send());
    gate.started.notified().await;
    let took = server.shut_down().await;
    assert!((Duration::from_millis(300)..SHORT_LIMITS_TIMEOUT / 2).contains(&took), "{took:?}");
    wait_for_close(&mut over_http1).await;
}

#[tokio::test]
async fn a_panicking_handler_fails_its_own_request_only() {
    let server = TestServer::new_tls(short_limits(), |request: Request<Incoming>, peer: Peer| async move {
        assert!(request.uri().path() != "/panic", "on purpose");
        echo(request, peer).await
    })
    .await;
    for client in [server.client().http1_only(), server.client()] {
        let client = client.build().unwrap();
        assert!(client.get(server.url("/panic")).send().await.is_err_and(|error| !error.is_timeout()));
        assert_eq!(client.get(server.url("/honest")).send().await.unwrap().text().await.unwrap(), HONEST);
    }
    server.shut_down().await;
}

#[test]
fn running_out_of_file_descriptors_does_not_end_the_accept_loop() {
    // In a separate process, because the limit applies to the process.
    let this = std::env::current_exe().unwrap();
    let run = Command::new("sh")
        .args(["-c", "ulimit -n 40 && exec \"$0\" --exact server::shutdown::accept_without_file_descriptors --ignored --nocapture"])
        .arg(this)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

#[tokio::test]
#[ignore = "run by the test above, with 40 descriptors"]
async fn accept_without_file_descriptors() {
    let server =
        TestServer::new_plain(PATIENT, |_: Request<Incoming>, _: Peer| async { text("served") }).await;
    let mut held = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        assert!(held.len() < 100, "the limit has no effect");
        held.push(file);
    }
    // One descriptor for the client's side, none for the server's.
    held.pop();
    let mut early = server.connect().await;
    early.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), read_response(&mut early)).await.is_err());
    drop(held);
    assert!(read_response(&mut early).await.ends_with("served"));
    assert!(server.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("served"));
}
