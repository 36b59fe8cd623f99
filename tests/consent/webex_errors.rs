//! Webex refuses, does not answer, or answers nonsense while a consent is being finished.

use std::time::Duration;

use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::BUSY;
use super::CLIENT_REFUSED;
use super::GRANTED;
use super::REFUSED;
use super::UNREACHABLE;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PageResponse;
use crate::support::counters;
use crate::support::inject_fault;
use crate::support::start_sim;

/// Webex's tracking id, as shown on the page.
fn tracking_id(answered: &PageResponse) -> Option<&str> {
    answered.body.split_once(r#"id="tracking-id">"#)?.1.split('<').next()
}

fn html(status: u16) -> FaultKind {
    FaultKind::Unavailable { status, html: true }
}

fn json(status: u16) -> FaultKind {
    FaultKind::Unavailable { status, html: false }
}

fn raw(body: &str) -> FaultKind {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    FaultKind::Raw { status: 200, headers, body: body.as_bytes().to_vec() }
}

#[tokio::test]
async fn a_code_that_webex_refuses_ends_the_consent() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let mut ids = Vec::new();
    for kind in [
        FaultKind::TokenLimit,
        json(400),
        json(403),
        raw(r#"{"access_token":"AAAA","expires_in":1209600,"token_type":"Bearer"}"#),
    ] {
        inject_fault(&sim, Endpoint::AccessToken, 1, kind.clone());
        // Only the simulator knows the access token of a response without a refresh token.
        inject_fault(
            &sim,
            Endpoint::PeopleMe,
            1,
            raw(r#"{"id":"Y2lzY29zcGFyazovL3VzL1BFT1BMRS8x","emails":[]}"#),
        );
        let answered = visitor.consent(&daemon, 0).await;
        page(&answered, 502, REFUSED);
        let id = tracking_id(&answered).unwrap_or_else(|| panic!("{kind:?}: no tracking id"));
        assert!(daemon.stored_grants().is_empty(), "{kind:?}");
        ids.push(id.to_owned());
        sim.with(|webex| webex.clear_faults());
    }
    // The first error is logged at once, the others are counted in the next minute's line.
    let first = daemon.wait_for_line("a consent failed: Webex did not accept it: ").await;
    assert!(first.contains(&format!("tracking id {}", ids[0])), "{first}");
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    daemon.terminate().await;
    let log = daemon.final_log().await;
    let told = log.iter().filter(|line| line.contains("a consent failed")).count();
    assert_eq!(told, 1, "{log:?}");
}

/// The person cannot fix it and sees no settings; the operator can, and does.
#[tokio::test]
async fn a_refused_client_names_the_settings_in_the_log_but_not_on_the_page() {
    let sim = start_sim().await;
    let invalid_client = FaultKind::Raw {
        status: 400,
        headers: vec![("TrackingID".to_owned(), "ROUTER_42".to_owned())],
        body: br#"{"error":"invalid_client","error_description":"Client authentication failed"}"#.to_vec(),
    };
    for kind in [FaultKind::Client401, invalid_client] {
        let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
        inject_fault(&sim, Endpoint::AccessToken, 1, json(400));
        page(&visitor.consent(&daemon, 0).await, 502, REFUSED);
        inject_fault(&sim, Endpoint::AccessToken, 1, kind.clone());
        let answered = visitor.consent(&daemon, 0).await;
        page(&answered, 502, CLIENT_REFUSED);
        assert!(answered.says("must fix its registration at Webex"), "{}", answered.body);
        assert!(!answered.says("MY_APP_"), "{}", answered.body);
        let id = tracking_id(&answered).unwrap_or_else(|| panic!("{kind:?}: no tracking id"));
        let line = daemon.wait_for_line("Webex refuses MY_APP_CLIENT_ID or MY_APP_SECRET_ID").await;
        assert!(line.contains(" WARN ") && line.contains(&format!("tracking id {id}")), "{line}");
        assert!(daemon.stored_grants().is_empty(), "{kind:?}");
        page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    }
}

/// The consent survives the failure: the same link works afterwards.
async fn survives(daemon: &Daemon, sim: &Sim, visitor: &BrowserClient, kind: FaultKind, told: bool) {
    inject_fault(sim, Endpoint::AccessToken, 1, kind.clone());
    let kept = daemon.stored_grants();
    let back = visitor.come_back(daemon, 0).await;
    let answered = visitor.get(back.clone()).await;
    page(&answered, 502, UNREACHABLE);
    assert_eq!(tracking_id(&answered).is_some(), told, "{kind:?}: {}", answered.body);
    assert_eq!(answered.header("retry-after"), Some("30"), "{kind:?}");
    assert_eq!(daemon.stored_grants(), kept, "{kind:?}");
    page(&visitor.get(back).await, 200, GRANTED);
}

#[tokio::test]
async fn an_outage_of_webex_loses_no_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for kind in [
        json(500),
        html(502),
        html(503),
        json(408),
        html(302),
        html(400),
        html(401),
        html(403),
        html(404),
        html(407),
        html(511),
        FaultKind::Raw { status: 403, headers: vec![], body: b"blocked".to_vec() },
        FaultKind::Raw { status: 401, headers: vec![], body: b"Unauthorized".to_vec() },
        FaultKind::Redirect("https://portal.test/login".to_owned()),
        FaultKind::OkHtml,
        FaultKind::OkEmpty,
        FaultKind::OkNoToken,
        FaultKind::OkBrokenJson,
    ] {
        survives(&daemon, &sim, &visitor, kind, true).await;
    }
    survives(&daemon, &sim, &visitor, FaultKind::ResetBefore, false).await;
    survives(&daemon, &sim, &visitor, FaultKind::OkHuge(2 * 1024 * 1024), false).await;
    assert_eq!(daemon.stored_grants().len(), 1);
}

/// Webex's `Retry-After` applies to every code that has not been exchanged yet.
#[tokio::test]
async fn a_retry_after_of_webex_is_shown_and_loses_no_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::TooMany429 { retry_after: Some("2".to_owned()) });
    let back = visitor.come_back(&daemon, 0).await;
    let answered = visitor.get(back.clone()).await;
    page(&answered, 503, BUSY);
    assert_eq!(answered.header("retry-after"), Some("2"));
    assert!(tracking_id(&answered).is_some(), "{}", answered.body);
    let other = BrowserClient::new();
    let theirs = other.come_back(&daemon, 1).await;
    page(&other.get(theirs).await, 503, BUSY);
    let again = visitor.get(back.clone()).await;
    page(&again, 503, BUSY);
    assert!(again.header("retry-after").is_some_and(|wait| ["1", "2"].contains(&wait)), "{again:?}");
    assert_eq!(counters(&sim).calls.access_token, 1);
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    page(&visitor.get(back).await, 200, GRANTED);
}

#[tokio::test]
async fn redirects_of_a_captive_portal_are_not_followed() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(
        &sim,
        Endpoint::AccessToken,
        1,
        FaultKind::Redirect(format!("{}/people/me", sim.base_url())),
    );
    let answered = visitor.consent(&daemon, 0).await;
    assert_eq!(answered.status, 502, "{}", answered.body);
    assert_eq!(counters(&sim).calls.people_me, 0, "the redirect was followed");
    assert!(daemon.stored_grants().is_empty());
}

#[tokio::test]
async fn an_unreachable_webex_is_reported_and_a_later_reload_succeeds() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    // No server listens on port 1 of loopback.
    daemon.restart(&[("WEBEX_API_BASE_URL", "http://127.0.0.1:1/v1")]).await;
    let answered = visitor.get(back.clone()).await;
    page(&answered, 502, UNREACHABLE);
    assert!(daemon.stored_grants().is_empty());
    daemon.restart(&[("WEBEX_API_BASE_URL", &sim.base_url())]).await;
    page(&visitor.get(back).await, 200, GRANTED);
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn one_failure_of_people_me_loses_no_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for kind in [json(500), html(200), html(403), html(401), html(302), FaultKind::ResetBefore] {
        inject_fault(&sim, Endpoint::PeopleMe, 1, kind);
        let answered = visitor.consent(&daemon, 0).await;
        page(&answered, 200, GRANTED);
        assert!(answered.says("Ada Lovelace"), "{}", answered.body);
    }
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn a_token_without_an_owner_is_not_stored() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for (times, kind) in
        [(1, FaultKind::Client401), (1, raw(r#"{"displayName":"Unknown"}"#)), (1, raw("{\"id\":\"\"}"))]
    {
        inject_fault(&sim, Endpoint::PeopleMe, times, kind.clone());
        let answered = visitor.consent(&daemon, 0).await;
        page(&answered, 502, REFUSED);
        assert!(tracking_id(&answered).is_some(), "{kind:?}: {}", answered.body);
        assert!(daemon.stored_grants().is_empty(), "{kind:?}");
    }
    daemon.wait_for_line("a consent failed: Webex did not accept it: people/me: HTTP 401").await;
}

#[tokio::test]
async fn a_slow_response_is_awaited() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Drip(Duration::from_millis(2)));
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
}
