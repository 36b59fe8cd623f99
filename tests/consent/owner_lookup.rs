//! Webex has issued tokens for the code, but their owner is not known yet, or they cannot be stored yet. The code is
//! used up, so the tokens must not be lost.

use std::time::Duration;

use webex_sim::Consent;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;
use webex_tokend::consent::ConsentError;
use webex_tokend::store::StoreError;

use super::BUSY;
use super::GRANTED;
use super::UNREACHABLE;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::faulty_store::FaultyStore;
use crate::support::inject_fault;
use crate::support::intercept_store::StoreOp;
use crate::support::start_sim;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

fn down() -> FaultKind {
    FaultKind::Unavailable { status: 503, html: false }
}

#[tokio::test]
async fn an_outage_of_people_me_loses_no_consent_and_a_reload_continues() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::PeopleMe, 4, down());
    let back = visitor.come_back(&daemon, 0).await;
    let answered = visitor.get(back.clone()).await;
    page(&answered, 502, UNREACHABLE);
    assert_eq!(answered.header("retry-after"), Some("30"));
    assert!(daemon.stored_grants().is_empty());
    daemon.wait_for_line("a consent failed: Webex cannot be reached: people/me: HTTP 503").await;
    page(&visitor.get(back.clone()).await, 200, GRANTED);
    page(&visitor.get(back).await, 200, GRANTED);
    let calls = counters(&sim).calls;
    assert_eq!((calls.access_token, calls.people_me), (1, 5), "the code was sent once");
    daemon.wait_until_stored(&["ada"]).await;
}

/// The obtained tokens do not expire as fast as a code, so Webex is asked for their owner as long as the ticket is
/// valid.
#[tokio::test]
async fn reloads_with_obtained_tokens_continue_more_than_three_times() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    for _ in 0..5 {
        inject_fault(
            &sim,
            Endpoint::PeopleMe,
            1,
            FaultKind::TooMany429 { retry_after: Some("1".to_owned()) },
        );
        inject_fault(
            &sim,
            Endpoint::PeopleMe,
            1,
            FaultKind::TooMany429 { retry_after: Some("2".to_owned()) },
        );
        page(&visitor.get(back.clone()).await, 503, BUSY);
        sim.with(|webex| webex.clear_faults());
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    page(&visitor.get(back).await, 200, GRANTED);
    assert_eq!(counters(&sim).calls.access_token, 1);
}

#[tokio::test]
async fn while_people_me_asks_to_wait_no_code_is_spent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::PeopleMe, 1, FaultKind::TooMany429 { retry_after: Some("4".to_owned()) });
    let back = visitor.come_back(&daemon, 0).await;
    let answered = visitor.get(back.clone()).await;
    page(&answered, 503, BUSY);
    assert_eq!(answered.header("retry-after"), Some("4"));
    assert_eq!(counters(&sim).calls.people_me, 1, "Webex was asked again at once");
    let other = BrowserClient::new();
    let theirs = other.come_back(&daemon, 1).await;
    page(&other.get(theirs.clone()).await, 503, BUSY);
    page(&visitor.get(back.clone()).await, 503, BUSY);
    assert_eq!(counters(&sim).calls.access_token, 1, "a code was used meanwhile");
    tokio::time::sleep(Duration::from_millis(4_100)).await;
    page(&visitor.get(back).await, 200, GRANTED);
    page(&other.get(theirs).await, 200, GRANTED);
    assert_eq!(counters(&sim).calls.access_token, 2);
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_loses_no_consent_and_a_reload_continues() {
    let store = FaultyStore::new();
    let services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    let begun = services.consents.begin(None).unwrap();
    let back = services.decide_at_webex(&begun.url, Consent::AcceptAs(0));
    let finish = || services.consents.finish(back("code"), back("state"), Some(&begun.sealed), None);
    store.fail(&[StoreOp::SaveConsent], StoreError::Full);
    for _ in 0..4 {
        assert!(matches!(finish().await, Err(ConsentError::Store(_))));
    }
    store.recover();
    finish().await.unwrap();
    assert_eq!(services.model().counters().calls.access_token, 1);
    assert!(services.is_live(0).await);
}
