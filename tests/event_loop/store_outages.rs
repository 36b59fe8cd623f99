//! A store that accepts no write for a while: no refresh is sent that could not be stored, no result is lost, the loop
//! does not spin, and recovery is automatic.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_tokend::refresh::RefreshOutcome;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::lifetimes;

const CLAIMS: [StoreOp; 2] = [StoreOp::ClaimDue, StoreOp::ClaimOne];
/// The operations that fail when the whole store fails, including the health check.
const COMMITS: [StoreOp; 2] = [StoreOp::Commit, StoreOp::Prove];

fn every_trouble() -> [StoreError; 6] {
    [
        StoreError::Full,
        StoreError::ReadOnly,
        StoreError::Locked,
        StoreError::Disk("disk I/O error".to_owned()),
        StoreError::Corrupt("database disk image is malformed".to_owned()),
        StoreError::Moved("tokend.db".into()),
    ]
}

/// Three persons whose grants are due in a day.
async fn services() -> (Arc<FaultyStore>, TestServices) {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    services.start(false).await;
    services.consent_all(3).await;
    (store, services)
}

fn attempts(services: &TestServices) -> u64 {
    services.model().counters().refreshes.attempts
}

#[tokio::test(start_paused = true)]
async fn without_a_stored_claim_no_refresh_is_sent_and_the_loop_neither_spins_nor_ends() {
    for why in every_trouble() {
        let (store, services) = services().await;
        let before = store.asked(&CLAIMS);
        store.fail(&CLAIMS, why.clone());
        sleep(3 * DAY).await;
        assert_eq!(attempts(&services), 0, "{why:?}");
        let claims = store.asked(&CLAIMS) - before;
        assert!(
            (8_600..=8_640).contains(&claims),
            "{why:?}: every half minute: {claims} claims in three days"
        );

        store.recover();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(attempts(&services), 3, "{why:?}: and then recovery is automatic");
        assert!(services.is_live(2).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_near_its_expiry_is_claimed_again_every_half_minute() {
    let store = FaultyStore::new();
    let mut services =
        TestServices::with_store(store.clone(), lifetimes(12 * HOUR, 60 * DAY), POLICY, RATE_LIMITS);
    services.start(false).await;
    services.consent_all(3).await;
    sleep(9 * HOUR).await;
    store.fail(&CLAIMS, StoreError::Full);
    sleep(2 * HOUR).await;
    let before = store.asked(&CLAIMS);
    sleep(MINUTE * 30).await;
    let claims = store.asked(&CLAIMS) - before;
    assert!((55..=65).contains(&claims), "{claims} tries in half an hour");
    assert_eq!(attempts(&services), 0);
    store.recover();
    sleep(MINUTE).await;
    assert_eq!(attempts(&services), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_token_is_held_until_it_is_stored_and_shown_only_then() {
    for why in every_trouble() {
        let (store, services) = services().await;
        let old = services.grant(0).await.tokens.access_token;
        store.fail(&COMMITS, why.clone());
        sleep(DAY + 2 * HOUR).await;
        assert_eq!(attempts(&services), 1, "{why:?}: sent once; the others could not be stored either");
        let shown = || async {
            services.context.cache.get(&services.id(0)).await.unwrap().unwrap().tokens.access_token.clone()
        };
        assert_eq!(shown().await, old, "{why:?}: a token that is not stored is not shown");
        let before = (store.asked(&CLAIMS), store.asked(&[StoreOp::Commit]));
        sleep(HOUR).await;
        let (claims, commits) = (store.asked(&CLAIMS) - before.0, store.asked(&[StoreOp::Commit]) - before.1);
        assert!((100..=135).contains(&commits), "{why:?}: {commits} tries for one outcome in an hour");
        assert!(claims <= 150, "{why:?}: {claims} claims in an hour");
        assert_eq!(attempts(&services), 1, "{why:?}");

        store.recover();
        sleep(2 * MINUTE).await;
        assert_ne!(shown().await, old, "{why:?}");
        assert_eq!(attempts(&services), 3, "{why:?}: the earlier response is stored, and the others follow");
        for person in 0..3 {
            assert!(services.is_live(person).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_requested_during_the_loops_claim_joins_the_loops_refresh() {
    let (store, services) = services().await;
    sleep(DAY - 2 * HOUR).await;
    store.script(|op, _| match op {
        StoreOp::ClaimDue => StoreFault::DelayReply(Duration::from_secs(1)),
        _ => StoreFault::None,
    });
    let refresher = services.refresher.clone().unwrap();
    let planned = services.grant(0).await.next.due_at;
    while services.grant(0).await.next.due_at == planned {
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(attempts(&services), 0, "it is claimed, and the loop does not have the reply yet");
    let report = refresher.refresh_now(&services.id(0), true).await.unwrap();
    assert_eq!(report.outcome, RefreshOutcome::Renewed, "{}", report.detail);
    assert_eq!(services.starts(0).len(), 1, "and one refresh was enough");
}

#[tokio::test(start_paused = true)]
async fn a_requested_refresh_is_sent_after_the_one_in_flight_was_superseded_by_a_consent() {
    let (_, services) = services().await;
    sleep(DAY - MINUTE).await;
    services.model().settings_mut().latency = Duration::from_secs(30);
    while services.starts(0).is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    services.model().settings_mut().latency = Duration::ZERO;
    services.model().settings_mut().noop_window = Duration::ZERO;
    services.consent(0).await;
    let consented = services.grant(0).await;
    let report = services.refresher.clone().unwrap().refresh_now(&services.id(0), true).await.unwrap();
    assert_eq!(report.outcome, RefreshOutcome::Renewed, "{}", report.detail);
    assert_ne!(report.grant.tokens.access_token, consented.tokens.access_token);
    assert_eq!(report.grant.obtained_at, consented.obtained_at, "the consent is stored");
    assert!(services.is_live(0).await);
    assert_eq!(services.model().counters().most_in_flight_for_one_token, 1);
}
