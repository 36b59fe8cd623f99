//! Streaming responses: one that is read is not an idle connection, and one that is not read ends.

use std::sync::Arc;
use std::time::Duration;

use hyper::Response;
use hyper::body::Bytes;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout;
use webex_tokend::http::response::response_body::ResponseBody;
use webex_tokend::tasks::Tasks;

use super::harness::TestServer;
use super::harness::short_limits;
use super::harness::wait_for_close;
use crate::support::time::SHORT_LIMITS_TIMEOUT;

/// A server that answers every request with a stream of chunks of so many bytes, one every 100 ms (or without pause).
/// The semaphore counts the streams that have ended.
async fn flowing(bytes: usize, pause: Duration) -> (TestServer, Arc<Semaphore>) {
    let ended = Arc::new(Semaphore::new(0));
    let count = ended.clone();
    let server = TestServer::new_tls(short_limits(), move |_, _| {
        let (sender, pieces) = mpsc::channel(1);
        let count = count.clone();
        Tasks::new().spawn("flow", async move {
            while sender.send(Bytes::from(vec![b'x'; bytes])).await.is_ok() {
                sleep(pause).await;
            }
            count.add_permits(1);
        });
        async move { Response::new(ResponseBody::stream(pieces)) }
    })
    .await;
    (server, ended)
}

async fn all_end(ended: &Semaphore, flows: u32) {
    timeout(SHORT_LIMITS_TIMEOUT, ended.acquire_many(flows))
        .await
        .expect("a stream goes on")
        .unwrap()
        .forget();
}

#[tokio::test]
async fn a_streaming_response_outlives_the_idle_limit_while_it_is_read() {
    let (server, ended) = flowing(10, Duration::from_millis(100)).await;
    let idle = short_limits().idle;
    for client in [server.client().http1_only(), server.client()] {
        let mut response = client.build().unwrap().get(server.url("/")).send().await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < idle * 3 {
            let piece = timeout(idle, response.chunk()).await.expect("no data arrives").unwrap();
            assert!(piece.is_some(), "the stream was cut off after {:?}", begun.elapsed());
        }
        drop(response);
        all_end(&ended, 1).await;
    }
    server.shut_down().await;
}

#[tokio::test]
async fn a_streaming_response_that_is_not_read_ends_with_its_connection() {
    let (server, ended) = flowing(64 * 1024, Duration::ZERO).await;
    let mut first = server.connect_tls(Some(b"http/1.1")).await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    all_end(&ended, 1).await;
    wait_for_close(&mut first).await;
    let mut second = server.client().build().unwrap().get(server.url("/")).send().await.unwrap();
    second.chunk().await.unwrap();
    all_end(&ended, 1).await;
}

#[tokio::test]
async fn a_streaming_response_without_data_is_idle() {
    let (server, _ended) = flowing(10, SHORT_LIMITS_TIMEOUT * 2).await;
    let mut stream = server.connect_tls(Some(b"http/1.1")).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    wait_for_close(&mut stream).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_disconnecting_client_ends_its_streaming_response() {
    let (server, ended) = flowing(10, Duration::from_millis(50)).await;
    let mut stream = server.connect_tls(Some(b"http/1.1")).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stream.read_u8().await.unwrap();
    drop(stream);
    all_end(&ended, 1).await;
}
