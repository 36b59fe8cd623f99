//! Faults, as they arrive.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use webex_sim::Settings;
use webex_sim::model::{DeadText, Endpoint, Fault, FaultKind};

use crate::client::{Client, client, status_and_json, text};

async fn struck(kind: FaultKind) -> (Client, String) {
    let c = client(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    let token = c.mint(0).refresh_token;
    c.sim.with(|webex| {
        webex.fault(Fault { on: Endpoint::AccessToken, person: Some(0), times: Some(1), kind })
    });
    (c, token)
}

fn renewed(c: &Client) -> u64 {
    c.sim.with(|webex| webex.counters()).refreshes.renewed
}

#[tokio::test]
async fn refusals_carry_their_status_and_text() {
    let retry = || Some("rand(30),add(30)".to_owned());
    let dead = FaultKind::Status400Dead;
    let table = [
        (dead(DeadText::RefreshToken), 400, "The refresh token provided is expired"),
        (dead(DeadText::InvalidGrant), 400, "invalid_grant"),
        (dead(DeadText::InvalidRefreshToken), 400, "invalid_refresh_token"),
        (dead(DeadText::Scope), 400, "The requested scope is invalid"),
        (FaultKind::Client401, 401, "Client authentication failed"),
        (FaultKind::TokenLimit, 400, "tokenlimit_reached"),
        (FaultKind::TooMany429 { retry_after: retry() }, 429, ""),
        (FaultKind::Locked423 { retry_after: retry() }, 423, "Locked"),
        (FaultKind::Unavailable { status: 502, html: true }, 502, "<html>"),
        (FaultKind::Unavailable { status: 503, html: false }, 503, "Service Unavailable"),
        (FaultKind::OkHtml, 200, "Hotel"),
        (FaultKind::OkNoToken, 200, "An error occurred"),
        (FaultKind::OkEmpty, 200, ""),
        (FaultKind::OkBrokenJson, 200, "{\"access_token\": oops"),
        (FaultKind::Redirect("http://localhost:1/".to_owned()), 302, ""),
        (FaultKind::Raw { status: 418, headers: vec![], body: b"tea".to_vec() }, 418, "tea"),
    ];
    for (kind, status, needle) in table {
        let wants_retry_after = format!("{kind:?}").contains("retry_after");
        let (c, token) = struck(kind.clone()).await;
        let answer = c.refresh_call(&token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{kind:?}");
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(retry_after, wants_retry_after.then_some("rand(30),add(30)"));
        let body = answer.text().await.unwrap();
        assert!(body.contains(needle) && body.is_empty() == needle.is_empty(), "{kind:?}: {body}");
        assert_eq!(renewed(&c), 0);
        assert_eq!(c.refresh(&token).await.0, 200, "it strikes once");
        let counters = c.sim.with(|webex| webex.counters());
        assert_eq!((counters.refreshes.faulted, counters.people[0].refreshes.attempts), (1, 2));
    }
}

#[tokio::test]
async fn spoilt_answers_were_processed() {
    let (c, token) = struck(FaultKind::OkTruncatedJson).await;
    assert_eq!(c.refresh(&token).await, (200, Value::Null));
    assert_eq!(renewed(&c), 1);
    let (c, token) = struck(FaultKind::ExpiresInAsString).await;
    assert_eq!(text(&c.refresh(&token).await.1, "expires_in"), "1209600");
    let (c, token) = struck(FaultKind::ProcessedButLost).await;
    assert!(c.refresh_call(&token).send().await.is_err());
    assert_eq!(renewed(&c), 1);
}

#[tokio::test]
async fn a_reset_reaches_the_client_as_an_error() {
    let (c, token) = struck(FaultKind::ResetBefore).await;
    let error = format!("{:?}", c.refresh_call(&token).send().await.unwrap_err());
    assert!(error.contains("ConnectionReset"), "{error}");
    assert_eq!(renewed(&c), 0);
}

#[tokio::test]
async fn a_cut_answer_breaks_off_where_it_says() {
    let (c, token) = struck(FaultKind::CutAfterHeaders).await;
    let answer = c.refresh_call(&token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.is_err());
    let (c, token) = struck(FaultKind::CutInBody).await;
    let mut answer = c.refresh_call(&token).send().await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"{") && !first.ends_with(b"}"));
    assert!(answer.chunk().await.is_err());
}

#[tokio::test]
async fn a_hanging_call_stays_in_flight_until_the_client_leaves() {
    let (c, token) = struck(FaultKind::Hang).await;
    let call = c.refresh_call(&token).timeout(Duration::from_millis(100));
    assert!(call.send().await.unwrap_err().is_timeout());
    while c.sim.with(|webex| webex.counters()).in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(c.refresh(&token).await.0, 200);
}

#[tokio::test]
async fn slow_and_dripping_answers_arrive_whole() {
    for kind in [FaultKind::Slow(Duration::from_millis(100)), FaultKind::Drip(Duration::from_millis(1))] {
        let (c, token) = struck(kind).await;
        let start = Instant::now();
        assert_eq!(c.refresh(&token).await.0, 200);
        assert!(start.elapsed() >= Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_huge_answer_has_the_size_it_says() {
    let (c, token) = struck(FaultKind::OkHuge(5_000_000)).await;
    let answer = c.refresh_call(&token).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), 5_000_000);
}

#[tokio::test]
async fn a_fault_without_a_count_lasts_until_cleared() {
    let c = client(Settings::default()).await;
    let token = c.mint(0).access_token;
    let kind = FaultKind::Client401;
    c.sim.with(|webex| webex.fault(Fault { on: Endpoint::PeopleMe, person: None, times: None, kind }));
    let me = || c.get("/people/me").bearer_auth(&token).send();
    for _ in 0..3 {
        let (status, error) = status_and_json(me().await.unwrap()).await;
        assert_eq!(status, 401);
        assert!(text(&error, "message").contains("valid access token"));
    }
    c.sim.with(|webex| webex.clear_faults());
    assert_eq!(me().await.unwrap().status(), 200);
}
