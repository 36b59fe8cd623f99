//! The loop and its store: failures at start and later, what readers see, and concurrent writes about one person.

use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::consent::ImportRequest;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::refresh::RefreshOutcome;
use webex_tokend::store::Saved;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::META_OPS;
use crate::support::faulty_store::WRITES;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

#[tokio::test(start_paused = true)]
async fn an_unwritable_store_is_not_hammered_and_no_refresh_is_sent() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    services.consent_all(3).await;
    sleep(2 * DAY).await;
    store.fail(&WRITES, StoreError::ReadOnly);
    services.start(false).await;
    sleep(10 * MINUTE).await;
    let claims = store.asked(&[StoreOp::ClaimDue]);
    assert!((2..=21).contains(&claims), "{claims} claims in ten minutes");
    assert_eq!(services.model().counters().refreshes.attempts, 0);
    store.recover();
    sleep(MINUTE).await;
    assert_eq!(services.model().counters().refreshes.renewed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_preparation_at_start_is_done_at_a_later_wake() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    services.consent_all(3).await;
    sleep(HOUR).await;
    store.fail(&META_OPS, StoreError::ReadOnly);
    services.start(true).await;
    sleep(30 * MINUTE).await;
    assert_eq!(services.model().counters().refreshes.attempts, 0, "no grant is due yet");
    services.consent(1).await;
    store.recover();
    sleep(HOUR).await;
    let starts: Vec<usize> = (0..3).map(|person| services.starts(person).len()).collect();
    assert_eq!(starts, [1, 0, 1], "all except the one who consented after the start");
    sleep(5 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, 2, "only once");
}

#[tokio::test(start_paused = true)]
async fn readers_see_changes_made_at_start() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(HOUR).await;
    let id = services.id(0);
    let seen = async |services: &TestServices| {
        services.context.cache.get(&id).await.unwrap().unwrap().state(services.now())
    };
    assert_eq!(seen(&services).await, GrantState::Fresh);
    services.start(true).await;
    assert_eq!(seen(&services).await, GrantState::Due, "not the value that was cached before");
}

#[tokio::test(start_paused = true)]
async fn an_unforced_refresh_is_not_sent_right_after_a_failure() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::Unavailable { status: 503, html: false };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    services.start(false).await;
    sleep(SECOND).await;
    let (refresher, id) = (services.refresher.clone().unwrap(), services.id(0));
    assert_eq!(services.starts(0).len(), 1);
    for _ in 0..20 {
        assert_eq!(refresher.refresh_now(&id, false).await.unwrap().outcome, RefreshOutcome::Skipped);
        sleep(SECOND).await;
    }
    assert_eq!(services.starts(0).len(), 1);
    assert_eq!(refresher.refresh_now(&id, true).await.unwrap().outcome, RefreshOutcome::Failed);
    assert_eq!(services.starts(0).len(), 2, "a forced refresh is sent anyway");
}

#[tokio::test(start_paused = true)]
async fn a_grant_imported_during_a_refresh_replaces_its_result() {
    let mut services = TestServices::new(Settings { noop_window: Duration::ZERO, ..Settings::default() });
    services.consent(0).await;
    let refresh_token = services.grant(0).await.tokens.refresh_token;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(20);
    services.start(false).await;
    sleep(5 * SECOND).await;
    assert_eq!(services.model().counters().in_flight, 1, "the refresh is in flight");
    services.model().settings_mut().latency = Duration::ZERO;
    let offered = ImportRequest { refresh_token: Some(refresh_token), access_token: None, replace: true };
    assert_eq!(services.consents.import(offered).await.unwrap().saved, Saved::Replaced);
    let taken = services.grant(0).await;
    sleep(MINUTE).await;
    assert_eq!(services.grant(0).await, taken, "the older response changed nothing");
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_slowly_stored_consent_does_not_replace_a_later_one() {
    let services = TestServices::new(Settings::default());
    services.consent(0).await;
    // The owner look-up of the first takes ten seconds; the second overtakes it.
    let slow =
        Fault { on: Endpoint::PeopleMe, person: None, times: Some(1), kind: FaultKind::Slow(10 * SECOND) };
    services.model().fault(slow);
    let (first, later) = tokio::join!(services.consent(0), async {
        sleep(2 * SECOND).await;
        services.consent(0).await;
        services.grant(0).await
    });
    assert_eq!(first.saved, Saved::Older);
    assert_eq!(services.grant(0).await, later);
}
