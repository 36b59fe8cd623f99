//! Clock steps cause neither bursts nor lost tokens.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::store::Lease;
use webex_tokend::store::StoreError;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::WRITES;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::DAY_MS;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// Webex refuses every refresh.
fn down() -> Fault {
    let kind = FaultKind::Unavailable { status: 503, html: true };
    Fault { on: Endpoint::AccessToken, person: None, times: None, kind }
}

/// Three persons who consented some hours ago, a store with scripted faults, and a running loop.
async fn running_with_faulty_store() -> (Arc<FaultyStore>, TestServices) {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    services.consent_all(3).await;
    services.start(false).await;
    sleep(5 * HOUR).await;
    (store, services)
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_by_days_loses_no_token() {
    for days in [1, 30, 4000] {
        let mut services = TestServices::new(Settings::default());
        services.start(false).await;
        services.consent_all(3).await;
        sleep(5 * HOUR).await;
        services.clock.step(-days * DAY_MS);
        sleep(5 * MINUTE).await;
        let soon = services.model().counters().refreshes.attempts;
        assert!(soon <= 3, "{soon} refreshes after a step of {days} days");
        for _ in 0..30 * 24 {
            sleep(HOUR).await;
            assert!(services.is_live(0).await, "{days} days back, at {}", services.now());
        }
        let all = services.model().counters().refreshes.attempts;
        assert!((80..=100).contains(&all), "{all} refreshes of 3 persons in 30 days");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_clock_step_back_every_grant_is_refreshed_at_its_true_time() {
    for back in [HOUR, 30 * DAY] {
        let policy = Policy { sleep: 12 * HOUR, ..POLICY };
        let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
        services.start(false).await;
        services.consent_all(3).await;
        sleep(5 * HOUR).await;
        services.clock.step(-i64::try_from(back.as_millis()).unwrap());
        sleep(5 * MINUTE).await;
        let attempts = |services: &TestServices| services.model().counters().refreshes.attempts;
        assert_eq!(attempts(&services), 0, "their age is known, {back:?} back");
        for person in 0..3 {
            let age = services.now().since(services.grant(person).await.renewed_at);
            assert!(age.abs_diff(5 * HOUR + 5 * MINUTE) < MINUTE, "{age:?} old, {back:?} back");
        }
        sleep(DAY - 6 * HOUR).await;
        assert_eq!(attempts(&services), 0, "not a day old, {back:?} back");
        sleep(14 * HOUR).await;
        assert_eq!(attempts(&services), 3, "a day old, and a regular wake, {back:?} back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_on_time_although_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().fault(Fault { times: Some(1), ..down() });
    services.start(false).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(services.grant(0).await.failures, 1);
    services.clock.step(-30 * DAY_MS);
    sleep(3 * MINUTE).await;
    assert_eq!(services.model().counters().refreshes.attempts, 2);
    assert_eq!(services.grant(0).await.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn dates_behind_an_abandoned_claim_are_corrected() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    let before = services.grant(0).await.tokens.expires_at;
    services.model().fault(down());
    services.start(false).await;
    sleep(DAY - 2 * MINUTE).await;
    let now = services.now();
    let lease = Lease { now, owner: "a claim that came to nothing".to_owned(), end: now + 30 * MINUTE };
    assert!(services.context.store.claim_one(services.id(0), lease).await.unwrap().is_some());
    services.clock.step(-30 * DAY_MS);
    sleep(2 * HOUR).await;
    let after = services.grant(0).await;
    assert_ne!(after.failures, 0, "a refresh was tried since, without success");
    assert_eq!(after.tokens.expires_at, before - 30 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_ends_on_time_although_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
    services.consent(0).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: Some(0), times: Some(1), kind });
    services.start(false).await;
    sleep(5 * HOUR).await;
    let attempts = |services: &TestServices| services.model().counters().refreshes.attempts;
    assert_eq!(attempts(&services), 1);
    services.clock.step(-900 * DAY_MS);
    sleep(50 * MINUTE).await;
    assert_eq!(attempts(&services), 1, "the Retry-After is obeyed");
    sleep(2 * HOUR).await;
    assert_eq!(attempts(&services), 2, "and no longer");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_waits_for_a_retry_after_is_sent_then_although_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
    services.consent_all(2).await;
    sleep(2 * DAY).await;
    let wish = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(2), kind: wish });
    services.model().settings_mut().latency = Duration::from_secs(1);
    services.start(false).await;
    sleep(5 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, 2);
    services.clock.step(-30 * DAY_MS);
    sleep(50 * MINUTE).await;
    assert_eq!(services.model().counters().refreshes.attempts, 2, "the wait is obeyed");
    // Each wait has a jitter of up to a fifth.
    sleep(100 * MINUTE).await;
    assert_eq!([services.starts(0).len(), services.starts(1).len()], [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_all_refreshes_ends_on_time_although_the_clock_was_set_back() {
    let settings = Settings { people: Person::some(20), ..Settings::default() };
    let mut services = TestServices::new(settings);
    services.consent_all(20).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    services.model().settings_mut().latency = Duration::from_secs(1);
    services.start(false).await;
    sleep(5 * HOUR).await;
    services.model().clear_faults();
    assert!(services.refresher.as_ref().unwrap().pause().is_some(), "a probe has confirmed it");
    services.clock.step(-30 * DAY_MS);
    sleep(55 * MINUTE).await;
    assert_eq!(services.model().counters().refreshes.renewed, 0, "the wait is obeyed");
    sleep(20 * MINUTE).await;
    assert_eq!(services.refresher.as_ref().unwrap().pause(), None);
    let asked = services.model().counters().refreshes.renewed;
    assert!(asked >= 1, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_extend_the_life_of_an_older_token() {
    let policy = Policy { max_age: 30 * DAY, ..POLICY };
    let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
    services.start(false).await;
    services.consent(0).await;
    sleep(6 * DAY).await;
    services.clock.step(-3 * DAY_MS);
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        assert!(services.is_live(0).await, "at {}", services.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_ahead_by_days_causes_no_burst() {
    for days in [1, 30, 4000] {
        let mut services = TestServices::new(Settings::default());
        services.start(false).await;
        services.consent_all(3).await;
        sleep(5 * HOUR).await;
        services.clock.step(days * DAY_MS);
        sleep(2 * HOUR).await;
        let soon = services.model().counters().refreshes.attempts;
        assert!((3..=6).contains(&soon), "{soon} refreshes after a step of {days} days");
        for _ in 0..30 * 24 {
            sleep(HOUR).await;
            assert!(services.is_live(0).await, "{days} days ahead, at {}", services.now());
        }
        let all = services.model().counters().refreshes.attempts;
        assert!((80..=100).contains(&all), "{all} refreshes of 3 persons in 30 days");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_years_ahead_at_boot_and_corrected_later_loses_no_token() {
    let mut services = TestServices::new(Settings::default());
    services.clock.step(9 * 365 * DAY_MS);
    services.start(false).await;
    services.consent_all(2).await;
    sleep(2 * DAY).await;
    services.stop().await;
    services.clock.step(-9 * 365 * DAY_MS);
    services.start(false).await;
    sleep(5 * MINUTE).await;
    for person in 0..2 {
        let grant = services.grant(person).await;
        assert!(grant.renewed_at <= services.now() && grant.tokens.expires_at <= services.now() + 14 * DAY);
    }
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        assert!(services.is_live(0).await && services.is_live(1).await, "at {}", services.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_during_refreshes_loses_no_token() {
    let mut services = TestServices::new(Settings::default());
    services.clock.step(365 * DAY_MS);
    services.consent_all(3).await;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(20);
    services.start(false).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(services.model().counters().in_flight, 3);
    services.clock.step(-365 * DAY_MS);
    sleep(MINUTE).await;
    services.model().settings_mut().latency = Duration::ZERO;
    for person in 0..3 {
        let grant = services.grant(person).await;
        assert!(grant.renewed_at <= services.now(), "no renewal time is in the future");
    }
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        for person in 0..3 {
            assert!(services.is_live(person).await, "person {person} at {}", services.now());
        }
    }
    services.stop().await;
    assert!(
        services.context.store.last_write_at().await.unwrap().unwrap() <= services.now(),
        "the store's times are corrected as well"
    );
}

#[tokio::test(start_paused = true)]
async fn two_clock_steps_back_are_both_corrected_even_if_the_store_fails_meanwhile() {
    let (store, services) = running_with_faulty_store().await;
    let before = services.grant(0).await;
    store.fail(&WRITES, StoreError::ReadOnly);
    services.clock.step(-2 * DAY_MS);
    sleep(5 * MINUTE).await;
    services.clock.step(-3 * DAY_MS);
    sleep(5 * MINUTE).await;
    store.recover();
    services.model().fault(down());
    sleep(5 * MINUTE).await;
    let after = services.grant(0).await;
    assert_eq!(after.tokens.expires_at, before.tokens.expires_at - 5 * DAY);
    assert_eq!(after.renewed_at, before.renewed_at - 5 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_consent_during_a_clock_correction_keeps_its_dates() {
    // The second time the old dates look as if they were of the minutes in which they are corrected.
    for back in [2 * DAY, 5 * HOUR + 2 * MINUTE] {
        let (store, services) = running_with_faulty_store().await;
        let before = [services.grant(1).await, services.grant(2).await];
        store.fail(&[StoreOp::Revise], StoreError::Locked);
        services.clock.step(-i64::try_from(back.as_millis()).unwrap());
        sleep(MINUTE).await;
        assert_ne!(store.asked(&[StoreOp::Revise]), 0, "the clock step is detected");
        services.consent(0).await;
        services.consent(3).await;
        let consented = [services.grant(0).await, services.grant(3).await];
        if back > DAY {
            // Whatever was told of it: its dates are the old ones.
            services.context.cache.invalidate(&services.id(1));
        }
        sleep(2 * MINUTE).await;
        store.recover();
        sleep(MINUTE).await;
        assert_eq!([services.grant(0).await, services.grant(3).await], consented, "{back:?}");
        for (person, before) in [1, 2].into_iter().zip(before) {
            let corrected = services.grant(person).await;
            assert_eq!(corrected.renewed_at, before.renewed_at - back, "person {person}, {back:?}");
            assert_eq!(
                corrected.tokens.expires_at,
                before.tokens.expires_at - back,
                "person {person}, {back:?}"
            );
        }
        assert_eq!(services.model().counters().refreshes.attempts, 0, "no grant is due");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_in_flight_during_a_clock_step_is_corrected_even_if_its_refresh_fails() {
    let mut services = TestServices::new(Settings::default());
    services.consent_all(1).await;
    sleep(2 * DAY).await;
    let before = services.grant(0).await;
    services.model().fault(Fault { person: Some(0), ..down() });
    services.model().settings_mut().latency = Duration::from_secs(55);
    let policy = Policy { sleep: 2 * MINUTE, ..POLICY };
    services.context.policy = policy;
    services.start(false).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(services.model().counters().in_flight, 1);
    services.clock.step(-30 * DAY_MS);
    services.model().settings_mut().latency = Duration::ZERO;
    // A consent notifies the loop, so that it detects the clock step before the response arrives.
    services.consent(1).await;
    sleep(2 * MINUTE).await;
    let after = services.grant(0).await;
    assert_eq!(after.tokens.expires_at, before.tokens.expires_at - 30 * DAY, "only once");
}

#[tokio::test(start_paused = true)]
async fn the_next_probe_of_a_dead_grant_is_moved_back_with_the_clock() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.start(false).await;
    let id = services.id(0);
    services.clock.step(30 * DAY_MS);
    services.model().revoke_person(0);
    sleep(2 * HOUR).await;
    let dead = services.context.store.find(id).await.unwrap().unwrap();
    assert_eq!(dead.status, GrantStatus::ConsentNeeded);
    services.clock.step(-30 * DAY_MS);
    sleep(5 * MINUTE).await;
    let next = services.grant(0).await.next.due_at;
    assert!(
        next > services.now() + 20 * HOUR && next < services.now() + 30 * HOUR,
        "{next} at {}",
        services.now()
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_clock_correction_is_not_retried_continuously() {
    let (store, services) = running_with_faulty_store().await;
    store.fail(&WRITES, StoreError::ReadOnly);
    services.clock.step(-2 * DAY_MS);
    capture_thread_logs();
    sleep(10 * MINUTE).await;
    let told = captured_logs();
    assert!(told.iter().all(|(level, _)| *level > Level::Error), "the store logs its own failure: {told:?}");
    let tries = store.asked(&[StoreOp::Revise]);
    assert!((1..=22).contains(&tries), "{tries} tries in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_clock_correction() {
    let (store, mut services) = running_with_faulty_store().await;
    services.clock.step(-2 * DAY_MS);
    let before = store.asked(&[StoreOp::Revise]);
    services.stop().await;
    assert_eq!(store.asked(&[StoreOp::Revise]), before, "the next start continues");
}
