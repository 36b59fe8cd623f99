//! Browsers that disconnect, and a daemon that ends, during a consent.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::GRANTED;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PLAIN;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim;

/// Long enough to disconnect in the meantime.
const SLOW: Duration = Duration::from_secs(1);

/// Longer than the daemon's shutdown waits for responses in progress.
const LONGER_THAN_ANSWERS: Duration = Duration::from_secs(10);

/// Returns while the request with the code is at Webex.
async fn asked(sim: &Sim, codes: u64) {
    eventually("Webex is asked", || counters(sim).calls.access_token == codes).await;
}

async fn still_unanswered(daemon: &Daemon) {
    assert!(
        !daemon.log().iter().any(|line| line.contains("consent stored")),
        "Webex answered too fast for this test"
    );
}

#[tokio::test]
async fn a_consent_is_stored_even_if_the_browser_leaves_before_the_exchange_ends() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(SLOW));
    let back = visitor.come_back(&daemon, 0).await;
    tokio::select! {
        _ = visitor.get(back) => panic!("Webex answered too fast for this test"),
        () = asked(&sim, 1) => {}
    }
    still_unanswered(&daemon).await;
    drop(visitor);
    daemon.wait_for_line("consent stored person=").await;
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn a_consent_is_stored_even_if_the_connection_breaks_before_the_exchange_ends() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[PLAIN]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(SLOW));
    let back = visitor.come_back(&daemon, 0).await;
    let connection = raw(&daemon, &back, &visitor).await;
    asked(&sim, 1).await;
    still_unanswered(&daemon).await;
    // The connection is reset, not closed: a client that only closes its side may still wait for the response.
    connection.set_zero_linger().unwrap();
    drop(connection);
    daemon.wait_for_line("consent stored person=").await;
    daemon.wait_until_stored(&["ada"]).await;
}

/// Sends the request over a new socket and reads nothing.
async fn raw(daemon: &Daemon, back: &Url, visitor: &BrowserClient) -> TcpStream {
    let mut connection = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
    let (query, cookie) = (back.query().unwrap(), visitor.cookie_header().unwrap());
    let request = format!("GET /oauth?{query} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn shutdown_waits_for_a_consent_in_progress() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(SLOW));
    let back = visitor.come_back(&daemon, 0).await;
    let (answered, ended) = tokio::join!(visitor.get(back), async {
        asked(&sim, 1).await;
        still_unanswered(&daemon).await;
        daemon.terminate().await
    });
    page(&answered, 200, GRANTED);
    assert_eq!(ended.code, Some(0), "{:?}", daemon.log());
    assert!(ended.took < Duration::from_secs(10), "{ended:?}");
    assert_eq!(daemon.stored_grants().len(), 1);
    daemon.restart(&[]).await;
    daemon.wait_for_line("store: 1 grant in").await;
}

#[tokio::test]
async fn shutdown_waits_for_a_consent_whose_browser_left() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[PLAIN]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(LONGER_THAN_ANSWERS));
    let back = visitor.come_back(&daemon, 0).await;
    let connection = raw(&daemon, &back, &visitor).await;
    asked(&sim, 1).await;
    connection.set_zero_linger().unwrap();
    drop(connection);
    still_unanswered(&daemon).await;
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{:?}", daemon.log());
    assert_eq!(daemon.stored_grants().len(), 1);
}

#[tokio::test]
async fn shutdown_without_work_in_progress_is_immediate() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0), "{:?}", daemon.log());
    assert!(ended.took < Duration::from_secs(5), "{ended:?}");
}

#[tokio::test]
async fn a_signal_during_startup_ends_the_daemon_cleanly() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    for _ in 0..10 {
        daemon.begin_restart(&[]);
        daemon.wait_for_line("certificate: ").await;
        let ended = daemon.terminate().await;
        assert_eq!(ended.code, Some(0), "{:?}", daemon.log());
    }
}

#[tokio::test]
async fn a_consent_begun_before_a_restart_is_finished_after_it() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let begun = visitor.begin(&daemon).await;
    daemon.terminate().await;
    daemon.restart(&[]).await;
    let back = visitor.accept(&begun, 0).await;
    daemon.kill();
    daemon.restart(&[]).await;
    page(&visitor.get(back).await, 200, GRANTED);
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn what_was_shown_as_granted_survives_a_crash() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for person in [0, 1] {
        page(&visitor.consent(&daemon, person).await, 200, GRANTED);
        daemon.kill();
        daemon.restart(&[]).await;
    }
    daemon.wait_for_line("store: 2 grants in").await;
    daemon.wait_until_stored(&["ada", "grace"]).await;
}
