//! The protocols on the port.

use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use rustls::version::TLS12;
use rustls::version::TLS13;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use webex_tokend::http::request::request_body;
use webex_tokend::http::request::request_body::BodyError;
use webex_tokend::http::server::limits::Limits;

use super::harness::GatedService;
use super::harness::HONEST;
use super::harness::TestServer;
use super::harness::client_config;
use super::harness::client_config_with_versions;
use super::harness::connect_tls_to;
use super::harness::echo;
use super::harness::read_response;
use super::harness::send_request;
use super::harness::short_limits;
use super::harness::text;
use super::harness::wait_for_close;

#[tokio::test]
async fn http1_and_http2_are_served_as_alpn_selects() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    for (client, version) in [
        (server.client().http1_only(), reqwest::Version::HTTP_11),
        (server.client(), reqwest::Version::HTTP_2),
    ] {
        let reply = client.build().unwrap().get(server.url("/honest")).send().await.unwrap();
        assert_eq!(reply.version(), version);
        assert_eq!(reply.text().await.unwrap(), HONEST);
    }
}

#[tokio::test]
async fn a_client_without_alpn_gets_http1() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    let mut stream = server.connect_tls(None).await;
    assert!(send_request(&mut stream, "GET /honest HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with(HONEST));
}

#[tokio::test]
async fn without_tls_plain_http1_is_served_and_marked_insecure() {
    let server = TestServer::new_plain(Limits::default(), echo).await;
    let mut stream = server.connect().await;
    assert!(send_request(&mut stream, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("GET /a false"));
    assert!(send_request(&mut stream, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("GET /b false"));
}

#[tokio::test]
async fn the_certificate_is_valid_for_its_names_only() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    let config = client_config(&server.pem, None);
    for name in ["localhost", "127.0.0.1", "::1"] {
        connect_tls_to(server.addr, name, Arc::clone(&config))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["example.com", "127.0.0.2", "::2"] {
        assert!(connect_tls_to(server.addr, name, Arc::clone(&config)).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn plain_http_on_the_tls_port_is_redirected_with_path_and_query() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    let mut stream = server.connect().await;
    let reply =
        send_request(&mut stream, "GET /oauth?code=a%20b&state=c HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")
            .await;
    assert!(reply.starts_with("HTTP/1.1 308 "), "{reply}");
    assert!(reply.contains("\r\nlocation: https://localhost:8000/oauth?code=a%20b&state=c\r\n"), "{reply}");
    assert!(reply.contains("\r\nconnection: close\r\n"), "{reply}");
    assert!(!reply.contains("strict-transport-security"), "{reply}");
    let text = reply.split_once("\r\n\r\n").unwrap().1;
    assert!(text.contains("https://") && !text.contains("oauth"), "{text}");
    wait_for_close(&mut stream).await;
}

#[tokio::test]
async fn a_hostile_host_header_is_not_reflected() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    for host in [
        "Host: evil.example",
        "Host: evil.example:8000",
        "Host: EVIL.example",
        "Host: xtokend.example:8000",
        "Host: tokend.example.evil.example:8000",
        "Host: evil.localhost",
        "Host: 192.0.2.7",
        "Host: 127.0.0.2:8000",
        "Host: [2001:db8::1]:8000",
        "Host: evil.example/x",
        "Host: evil.example@localhost",
        "Host: localhost:8000@evil.example",
        "Host: ",
        "Host: evil.example\\",
        "Host: evil.example:99999",
        "Host: a\r\nHost: evil.example",
        "X-Nothing: evil.example",
        "Host: <evil.example>",
        "Host: evil.example?",
        "Host: evil.example#",
        "Host: [evil.example]",
    ] {
        let reply = server.request(&format!("GET /p?q=1 HTTP/1.1\r\n{host}\r\n\r\n")).await;
        assert!(!reply.to_lowercase().contains("evil"), "{host}: {reply}");
        assert!(reply.contains("\r\nlocation: https://tokend.example:8000/p?q=1\r\n"), "{host}: {reply}");
    }
}

#[tokio::test]
async fn an_http_1_1_request_must_have_exactly_one_host() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    let config = client_config_with_versions(&[&TLS13], &server.pem, None);
    for (version, hosts, status) in [
        ("1.1", "Host: localhost\r\n", 200),
        ("1.1", "Host: \r\n", 200),
        ("1.0", "", 200),
        ("1.1", "", 400),
        ("1.1", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("1.1", "Host: localhost\r\nhost: evil.example\r\n", 400),
        ("1.0", "Host: localhost\r\nHost: evil.example\r\n", 400),
    ] {
        let mut stream = connect_tls_to(server.addr, "localhost", Arc::clone(&config)).await.unwrap();
        let reply = send_request(&mut stream, &format!("GET / HTTP/{version}\r\n{hosts}\r\n")).await;
        assert!(reply.starts_with(&format!("HTTP/{version} {status} ")), "{version} {hosts:?}: {reply}");
        if status == 400 {
            assert!(reply.contains("connection: close\r\n") || version == "1.0", "{reply}");
            assert!(!reply.contains("evil"), "{reply}");
        }
    }
}

#[tokio::test]
async fn redirects_keep_a_requested_host_that_is_served_here() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    for host in [
        "tokend.example:8000",
        "tokend.example",
        "Tokend.Example:9",
        "localhost:8000",
        "127.0.0.1:1",
        "[::1]",
    ] {
        let reply = server.request(&format!("GET /p HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(reply.contains(&format!("\r\nlocation: https://{host}/p\r\n")), "{host}: {reply}");
    }
}

#[tokio::test]
async fn a_request_target_without_a_path_is_redirected_to_the_root() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    for line in ["OPTIONS * HTTP/1.1", "CONNECT evil.example:443 HTTP/1.1"] {
        let reply = server.request(&format!("{line}\r\nHost: localhost\r\n\r\n")).await;
        assert!(reply.contains("\r\nlocation: https://localhost/\r\n"), "{line}: {reply}");
    }
}

#[tokio::test]
async fn a_second_handshake_resumes_the_session() {
    for version in [&TLS12, &TLS13] {
        let server = TestServer::new_tls(Limits::default(), echo).await;
        let config = client_config_with_versions(&[version], &server.pem, None);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect_tls_to(server.addr, "localhost", Arc::clone(&config)).await.unwrap();
            // TLS 1.3 session tickets come with the first response.
            send_request(&mut stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
            let got = stream.get_ref().1.handshake_kind().unwrap();
            let resumed = |kind| matches!(kind, HandshakeKind::Resumed);
            assert_eq!(resumed(got), resumed(kind), "{version:?}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_shut_its_write_side_still_gets_its_response() {
    let gate = GatedService::default();
    let server = TestServer::new_plain(Limits::default(), gate.service()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    gate.started.notified().await;
    stream.shutdown().await.unwrap();
    // Sent and answered after the client shut its write side, so that the server had a chance to notice.
    let other = server.request("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(other.ends_with("GET /a false"));
    gate.release.notify_one();
    assert!(read_response(&mut stream).await.ends_with("let go"));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::new_tls(Limits::default(), echo).await;
    let mut stream = server.connect_tls(None).await;
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_response(&mut stream).await.ends_with("GET /a true"));
    assert!(read_response(&mut stream).await.ends_with("GET /b true"));
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let server = TestServer::new_tls(Limits { header_bytes: 8192, ..short_limits() }, echo).await;
    let long = "x".repeat(9000);
    let mut stream = server.connect_tls(None).await;
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut reply = String::new();
    _ = stream.read_to_string(&mut reply).await;
    assert!(reply.starts_with("HTTP/1.1 431 "), "{reply}");
    let over_http2 =
        server.client().build().unwrap().get(server.url("/")).header("x-long", long).send().await;
    assert_eq!(over_http2.unwrap().status(), reqwest::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(server.honest().await, HONEST);
}

#[tokio::test]
async fn a_body_is_read_within_a_size_limit_and_a_timeout() {
    let server = TestServer::new_plain(
        Limits::default(),
        |request: hyper::Request<hyper::body::Incoming>, _| async move {
            text(match request_body::read(request.into_body(), 10, Duration::from_millis(200)).await {
                Ok(whole) => format!("whole {}", whole.len()),
                Err(BodyError::TooLarge(bytes)) => format!("over {bytes}"),
                Err(BodyError::TooSlow(_)) => "too slow".to_owned(),
                Err(BodyError::Broken(_)) => "broken".to_owned(),
            })
        },
    )
    .await;
    for (head_and_body, expected) in [
        ("Content-Length: 10\r\n\r\n0123456789", "whole 10"),
        ("Content-Length: 11\r\n\r\n", "over 10"),
        ("Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n6\r\n012345\r\n", "over 10"),
        ("Content-Length: 10\r\n\r\n01234", "too slow"),
        ("Transfer-Encoding: chunked\r\n\r\nzz\r\n", "broken"),
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\n{head_and_body}");
        let reply = server.request(&request).await;
        assert!(reply.ends_with(expected), "{head_and_body}: {reply}");
    }
}
