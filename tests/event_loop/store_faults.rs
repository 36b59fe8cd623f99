//! A failing store under the loop: no refresh is sent that could not be stored, and no token is shown that is not
//! stored.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::health::Health;
use webex_tokend::health::NotReady;
use webex_tokend::refresh::RefreshService;
use webex_tokend::store::StoreError;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// So many persons who consented two days ago, and their store.
async fn services(persons: usize) -> (TestServices, Arc<FaultyStore>) {
    let store = FaultyStore::new();
    let settings = Settings { people: Person::some(persons), ..Settings::default() };
    let services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
    services.consent_all(persons).await;
    sleep(2 * DAY).await;
    (services, store)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_to_no_reader_until_it_is_stored() {
    let (mut services, store) = services(1).await;
    let old = services.grant(0).await;
    assert_eq!(services.context.cache.get(&services.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.fail(&[StoreOp::Commit], StoreError::Full);
    services.start(false).await;
    sleep(20 * MINUTE).await;
    assert_eq!(services.model().counters().refreshes.renewed, 1, "Webex has issued a new token");
    assert_eq!(services.context.cache.get(&services.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.recover();
    sleep(MINUTE).await;
    let (kept, shown) =
        (services.grant(0).await, services.context.cache.get(&services.id(0)).await.unwrap().unwrap());
    assert_ne!(kept.tokens.access_token, old.tokens.access_token);
    assert_eq!(shown.tokens, kept.tokens);
    assert_eq!(services.starts(0).len(), 1, "and got no second request");
}

#[tokio::test(start_paused = true)]
async fn a_read_during_a_commit_does_not_hide_the_new_token_from_later_readers() {
    let (mut services, store) = services(1).await;
    let old = services.grant(0).await.tokens;
    store
        .script(|op, _| if op == StoreOp::Commit { StoreFault::DelayCall(MINUTE) } else { StoreFault::None });
    services.start(false).await;
    let shown =
        || async { services.context.cache.get(&services.id(0)).await.unwrap().unwrap().tokens.clone() };
    while services.model().counters().refreshes.renewed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(MINUTE / 2).await;
    assert_eq!(shown().await, old, "the new token is not stored yet");
    sleep(MINUTE).await;
    assert_eq!(shown().await, services.grant(0).await.tokens);
    assert_ne!(shown().await, old);
}

#[tokio::test(start_paused = true)]
async fn a_commit_longer_than_its_lease_causes_no_second_refresh() {
    let (mut services, store) = services(2).await;
    let wrong = services.id(0);
    store.script(move |op, person| {
        if op == StoreOp::Commit && person == Some(&wrong) {
            StoreFault::DelayCall(HOUR)
        } else {
            StoreFault::None
        }
    });
    services.start(false).await;
    for _ in 0..58 {
        sleep(MINUTE).await;
        assert_eq!([services.starts(0).len(), services.starts(1).len()], [1, 1]);
    }
    sleep(5 * MINUTE).await;
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(services.starts(0).len(), 1);
}

/// Makes the next three calls of this operation fail.
fn fail_three_times(store: &FaultyStore, failing: StoreOp) {
    let mut tries = 0;
    store.script(move |op, _| {
        tries += u32::from(op == failing);
        if op == failing && tries <= 3 { StoreFault::Fail(StoreError::Locked) } else { StoreFault::None }
    });
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_retried_during_shutdown() {
    let (mut services, store) = services(1).await;
    fail_three_times(&store, StoreOp::Commit);
    services.start(false).await;
    while services.model().counters().refreshes.renewed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    services.stop().await;
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(store.asked(&[StoreOp::Commit]), 4);
}

#[tokio::test(start_paused = true)]
async fn storing_a_consent_is_retried() {
    let (services, store) = services(1).await;
    let old = services.grant(0).await.tokens;
    fail_three_times(&store, StoreOp::SaveConsent);
    services.consent(0).await;
    assert_ne!(services.grant(0).await.tokens, old);
    assert_eq!(store.asked(&[StoreOp::SaveConsent]), 1 + 4, "the first consent succeeded");
    assert_eq!(services.model().counters().codes_exchanged, 2, "each code is exchanged once");
}

#[tokio::test(start_paused = true)]
async fn readers_learn_at_once_of_a_record_that_the_loop_cannot_open() {
    let (mut services, store) = services(2).await;
    let mark = services.context.cache.events().position();
    store.script(|op, _| if op == StoreOp::ClaimDue { StoreFault::Unreadable } else { StoreFault::None });
    services.start(false).await;
    sleep(MINUTE).await;
    for person in 0..2 {
        assert!(services.context.cache.events().changed_since(mark, &services.id(person)), "person {person}");
    }
    assert_eq!(services.model().counters().refreshes.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_unwritable_no_refresh_is_sent_and_old_tokens_are_served() {
    let (mut services, store) = services(3).await;
    let old = services.grant(0).await;
    store.fail(&[StoreOp::ClaimDue], StoreError::Full);
    services.start(false).await;
    sleep(6 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, 0);
    assert_eq!(services.context.cache.get(&services.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.recover();
    sleep(2 * HOUR).await;
    for person in 0..3 {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_store_refuses_delays_no_other_person() {
    let (mut services, store) = services(6).await;
    let damaged = services.id(0);
    store.script(move |op, person| {
        let refused = op == StoreOp::Commit && person == Some(&damaged);
        if refused { StoreFault::Fail(StoreError::Corrupt("a page".to_owned())) } else { StoreFault::None }
    });
    capture_thread_logs();
    services.start(false).await;
    let unkept = services.refresher.clone().unwrap().pending_commits().clone();
    sleep(MINUTE / 2).await;
    assert!(unkept.is_stalled(), "at first the whole store may be affected");
    sleep(HOUR).await;
    for person in 1..6 {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed, "person {person}");
    }
    assert!(!unkept.is_stalled());
    let told = captured_logs().into_iter().filter(|(level, line)| {
        *level == Level::Error
            && line.contains("the store rejects the result of a refresh, but accepts other writes")
    });
    assert!((2..=7).contains(&told.count()), "logged at once and every ten minutes: {:?}", captured_logs());
    store.recover();
    sleep(MINUTE).await;
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(services.starts(0).len(), 1, "the result of the only refresh");
}

#[tokio::test(start_paused = true)]
async fn several_refused_commits_pause_refreshes_and_readiness() {
    let (mut services, store) = services(40).await;
    store.fail(&[StoreOp::Commit], StoreError::Corrupt("a page".to_owned()));
    services.start(false).await;
    sleep(2 * HOUR).await;
    let sent = services.model().counters().refreshes.attempts;
    sleep(10 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, sent, "no other refresh is sent");
    let unkept = services.refresher.clone().unwrap().pending_commits().clone();
    let ready = Health::new(services.context.store.clone(), unkept).ready().await;
    assert!(matches!(ready, Err(NotReady::Unkept)), "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn a_requested_refresh_is_not_sent_while_a_commit_is_pending() {
    let (mut services, store) = services(2).await;
    store.fail(&[StoreOp::Commit], StoreError::Full);
    services.start(true).await;
    sleep(MINUTE).await;
    let sent = services.model().counters().refreshes.attempts;
    let refresher = services.refresher.clone().unwrap();
    for person in 0..2 {
        let came = refresher.refresh_now(&services.id(person), true).await;
        assert!(came.is_ok(), "{came:?}");
    }
    assert_eq!(services.model().counters().refreshes.attempts, sent);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_refresh_delays_no_other_and_is_repaired_when_its_lease_ends() {
    let (mut services, store) = services(3).await;
    let before = services.grant(0).await;
    let mut wrong = Some(services.id(0));
    store.script(move |op, person| {
        let now = op == StoreOp::Commit && wrong.is_some() && person == wrong.as_ref();
        if now { wrong.take().map_or(StoreFault::None, |_| StoreFault::Panic) } else { StoreFault::None }
    });
    services.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(services.grant(0).await.tokens, before.tokens, "the refresh was aborted");
    for person in 1..3 {
        assert!(services.grant(person).await.renewed_at > before.renewed_at + DAY, "person {person}");
    }
    sleep(2 * HOUR).await;
    assert!(services.grant(0).await.renewed_at > before.renewed_at + DAY);
    assert!(services.is_live(0).await);
}

/// Five persons whose grants are due, half a minute after Webex sent a `Retry-After` for one of them.
async fn asked_to_wait() -> (TestServices, Arc<FaultyStore>, Arc<RefreshService>) {
    let (mut services, store) = services(5).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("60".to_owned()) };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    services.start(false).await;
    sleep(MINUTE / 2).await;
    let refresher = services.refresher.clone().unwrap();
    assert!(refresher.pause().is_some(), "a Retry-After is in force");
    services.model().clear_faults();
    (services, store, refresher)
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_record_is_no_probe_and_the_next_one_ends_the_pause() {
    let (services, store, refresher) = asked_to_wait().await;
    let mut probes = 0;
    store.script(move |op, _| {
        probes += u32::from(op == StoreOp::ClaimDue);
        if op == StoreOp::ClaimDue && probes <= 2 { StoreFault::Unreadable } else { StoreFault::None }
    });
    sleep(MINUTE).await;
    assert_eq!(refresher.pause(), None, "two records did not open, the third was the probe");
    assert!(services.model().counters().refreshes.renewed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_could_not_be_claimed_does_not_block_the_next() {
    let (services, store, refresher) = asked_to_wait().await;
    let mut failed = false;
    store.script(move |op, _| {
        let fails = op == StoreOp::ClaimDue && !std::mem::replace(&mut failed, true);
        if fails { StoreFault::Fail(StoreError::Locked) } else { StoreFault::None }
    });
    sleep(MINUTE + MINUTE / 4).await;
    assert_eq!(refresher.pause().map(|pause| pause.probing), None, "the next successful claim was the probe");
    assert!(services.model().counters().refreshes.renewed > 0);
}
