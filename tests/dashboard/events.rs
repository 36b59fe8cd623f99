//! The event stream of a session.

use std::time::Duration;

use reqwest::Method;
use reqwest::Response;
use tokio::time::timeout;
use webex_tokend::domain::person::PersonId;

use super::harness::DashboardServer;
use super::harness::OperatorBrowser;
use crate::support::time::HANG_TIMEOUT;

async fn open(browser: &OperatorBrowser) -> Response {
    browser.request(Method::GET, "/dashboard/events").send().await.unwrap()
}

/// The next chunk; `None` at the end.
async fn piece(response: &mut Response) -> Option<String> {
    loop {
        let piece = timeout(HANG_TIMEOUT, response.chunk()).await.expect("no event arrives").unwrap()?;
        // HTTP/2 may end with an empty chunk.
        if !piece.is_empty() {
            return Some(String::from_utf8(piece.to_vec()).unwrap());
        }
    }
}

#[tokio::test]
async fn a_session_receives_events_until_it_ends() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    let mut stream = open(&browser).await;
    assert_eq!(
        (stream.status().as_u16(), &stream.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert!(piece(&mut stream).await.unwrap().starts_with("retry: "));
    let person = PersonId::parse("person-1").unwrap();
    server.services.cache.invalidate(&person);
    let told = piece(&mut stream).await.unwrap();
    assert!(told.starts_with("event: forgotten\ndata: {\"person_id\":\"person-1\"}\nid: "), "{told}");
    // Reconnects, as browsers do.
    let id = told.trim_end().rsplit("id: ").next().unwrap().to_owned();
    server.services.cache.invalidate(&person);
    let again = browser.request(Method::GET, "/dashboard/events").header("last-event-id", &id);
    let mut again = again.send().await.unwrap();
    piece(&mut again).await.unwrap();
    assert!(piece(&mut again).await.unwrap().contains("person-1"));
    let since = browser.request(Method::GET, "/dashboard/events?since=nonsense").send();
    assert!(piece(&mut since.await.unwrap()).await.unwrap().contains("event: reset"));
    piece(&mut stream).await.unwrap();

    let csrf = browser.get("/dashboard").await.csrf();
    assert_eq!(browser.post("/dashboard/sign-out", &[("csrf", &csrf)]).await.status, 303);
    server.services.cache.invalidate(&person);
    assert_eq!(piece(&mut stream).await, None, "an event after the end of the session");
}

#[tokio::test]
async fn events_need_a_session_with_a_valid_key() {
    let server = DashboardServer::new_https().await;
    let mut stranger = server.browser();
    stranger.part = Some("A".repeat(43));
    let refused = open(&stranger).await;
    let status = refused.status().as_u16();
    assert_eq!(
        (status, refused.headers().get("location")),
        (403, None),
        "a 401 would need a WWW-Authenticate header, and there is none"
    );
    let browser = server.sign_in_operator("op").await;
    let mut stream = open(&browser).await;
    piece(&mut stream).await.unwrap();
    assert!(server.services.keys.revoke("op").await.unwrap());
    assert_eq!(piece(&mut stream).await, None);
    assert_eq!(open(&browser).await.status(), 403);
}

#[tokio::test]
async fn an_open_stream_does_not_extend_the_session() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    for _ in 0..3 {
        server.clock.advance(Duration::from_secs(15 * 60));
        assert_eq!(open(&browser).await.status(), 200);
    }
    server.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(open(&browser).await.status(), 403);
    assert!(!browser.is_signed_in().await);
}
