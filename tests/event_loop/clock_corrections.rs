//! Dates on the way to being corrected: the store fails between, the clock is set again, the daemon stops.

use std::sync::Arc;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::store::MetaKey;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::META_OPS;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::DAY_MS;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;

/// Three persons who consented five hours ago, and the third person's grant.
async fn services() -> (TestServices, Arc<FaultyStore>, Grant) {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
    services.consent_all(3).await;
    services.start(false).await;
    sleep(5 * HOUR).await;
    let before = services.grant(2).await;
    (services, store, before)
}

impl TestServices {
    /// Sets the clock back and notifies the loop, which detects it at once.
    async fn set_back(&self, days: i64) {
        self.clock.step(-days * DAY_MS);
        self.consent(0).await;
        sleep(SECOND).await;
    }

    /// That the third one's dates were corrected by so many days.
    async fn is_corrected(&self, before: &Grant, days: u32) {
        let after = self.grant(2).await;
        assert_eq!(after.renewed_at, before.renewed_at - days * DAY);
        assert_eq!(after.tokens.expires_at, before.tokens.expires_at - days * DAY);
        assert_eq!(after.last.at, before.last.at - days * DAY);
        assert_eq!(after.next.due_at, before.next.due_at - days * DAY);
    }
}

/// From now on so many steps of a revision succeed, and then none.
fn only_steps(store: &FaultyStore, mut steps: u32) {
    store.script(move |op, _| {
        if op != StoreOp::Revise {
            return StoreFault::None;
        }
        let fails = steps == 0;
        steps = steps.saturating_sub(1);
        if fails { StoreFault::Fail(StoreError::Full) } else { StoreFault::None }
    });
}

#[tokio::test(start_paused = true)]
async fn a_failed_clock_correction_is_not_retried_at_each_notification() {
    let (services, store, before) = services().await;
    let before_it = store.asked(&[StoreOp::Revise]);
    only_steps(&store, 0);
    services.set_back(2).await;
    for _ in 0..5 * 60 {
        services.consent(0).await;
        sleep(SECOND).await;
    }
    let tries = store.asked(&[StoreOp::Revise]) - before_it;
    assert!((9..=12).contains(&tries), "{tries} tries in five minutes");
    store.recover();
    sleep(MINUTE).await;
    services.is_corrected(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_clock_step_is_corrected_at_once() {
    let (services, store, before) = services().await;
    only_steps(&store, 0);
    services.set_back(2).await;
    assert_eq!(services.grant(2).await, before);
    store.recover();
    services.set_back(3).await;
    services.is_corrected(&before, 5).await;
    assert!(services.context.store.last_write_at().await.unwrap().unwrap() <= services.now());
}

#[tokio::test(start_paused = true)]
async fn dates_corrected_before_the_store_failed_are_not_corrected_twice() {
    let (services, store, before) = services().await;
    only_steps(&store, 1);
    services.set_back(2).await;
    store.recover();
    sleep(2 * MINUTE).await;
    services.is_corrected(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_start_completes_the_second_of_two_clock_corrections() {
    let (mut services, store, before) = services().await;
    only_steps(&store, 0);
    services.set_back(2).await;
    // One step for the grants, one to find that there are no more.
    only_steps(&store, 2);
    services.set_back(3).await;
    services.is_corrected(&before, 2).await;
    services.kill().await;
    store.recover();
    services.start(false).await;
    let after = services.grant(2).await;
    assert!(after.renewed_at <= services.now() && after.next.due_at <= services.now(), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_clock_correction_leaves_the_rest_to_the_next_start() {
    let (mut services, store, before) = services().await;
    let steps = store.asked(&[StoreOp::Revise]);
    store.script(
        |op, _| if op == StoreOp::Revise { StoreFault::DelayCall(2 * SECOND) } else { StoreFault::None },
    );
    services.set_back(2).await;
    services.stop().await;
    assert_eq!((store.asked(&[StoreOp::Revise]), store.asked(&[StoreOp::Settle])), (steps + 1, 0));
    store.recover();
    services.start(false).await;
    assert_eq!(store.asked(&[StoreOp::Settle]), 1);
    services.is_corrected(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_new_settings_are_applied_leaves_them_to_the_next_start() {
    let (mut services, store, _) = services().await;
    services.stop().await;
    let known = services.context.store.get_meta(MetaKey::Policy).await;
    services.context.policy = Policy { max_age: 5 * DAY, ..POLICY };
    store.fail(&META_OPS, StoreError::ReadOnly);
    services.start(false).await;
    let steps = store.asked(&[StoreOp::Revise]);
    store.script(
        |op, _| if op == StoreOp::Revise { StoreFault::DelayCall(2 * SECOND) } else { StoreFault::None },
    );
    while store.asked(&[StoreOp::Revise]) == steps {
        sleep(SECOND).await;
    }
    services.stop().await;
    assert_eq!(
        services.context.store.get_meta(MetaKey::Policy).await,
        known,
        "not all grants are scheduled by the new settings"
    );
    store.recover();
    services.start(false).await;
    assert_ne!(services.context.store.get_meta(MetaKey::Policy).await, known);
}

#[tokio::test(start_paused = true)]
async fn a_clock_step_under_a_minute_between_two_starts_is_ignored() {
    for (seconds, corrections) in [(59, 0), (61, 1)] {
        let store = FaultyStore::new();
        let mut services = TestServices::with_store(store.clone(), Settings::default(), POLICY, RATE_LIMITS);
        services.clock.step(seconds * 1000);
        services.consent(0).await;
        services.clock.step(-seconds * 1000);
        services.start(false).await;
        assert_eq!(store.asked(&[StoreOp::Settle]), corrections, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_after_the_clock_was_set_back_is_scheduled_by_the_new_clock() {
    let kind = FaultKind::Unavailable { status: 503, html: false };
    let failing = Fault { on: Endpoint::AccessToken, person: None, times: None, kind };
    for fault in [None, Some(failing)] {
        let policy = Policy { sleep: 10 * SECOND, ..POLICY };
        let mut services = TestServices::with_policy(Settings::default(), policy, RATE_LIMITS);
        services.consent(0).await;
        sleep(2 * DAY).await;
        let (fails, before) = (fault.is_some(), services.grant(0).await);
        if let Some(fault) = fault {
            services.model().fault(fault);
        }
        services.model().settings_mut().latency = MINUTE / 2;
        services.start(false).await;
        sleep(SECOND).await;
        services.clock.step(-30 * DAY_MS);
        sleep(MINUTE / 2).await;
        let (after, now) = (services.grant(0).await, services.now());
        assert_eq!(after.failures, u32::from(fails));
        let left = after.next.due_at.until(now);
        let expected = if fails { MINUTE / 2..2 * MINUTE } else { DAY - MINUTE..DAY + MINUTE };
        assert!(expected.contains(&left), "{left:?} until the next one");
        if fails {
            assert_eq!(after.tokens.expires_at, before.tokens.expires_at - 30 * DAY);
        } else {
            assert!(after.renewed_at <= now && after.renewed_at > now - MINUTE, "{}", after.renewed_at);
            assert!(after.tokens.expires_at <= now + 14 * DAY);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_waits_for_the_store_during_a_clock_step_has_correct_dates() {
    let store = FaultyStore::new();
    let policy = Policy { sleep: 10 * SECOND, ..POLICY };
    let mut services = TestServices::with_store(store.clone(), Settings::default(), policy, RATE_LIMITS);
    services.consent(0).await;
    sleep(2 * DAY).await;
    store.fail(&[StoreOp::Commit], StoreError::Full);
    services.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(services.model().counters().refreshes.renewed, 1);
    services.clock.step(-30 * DAY_MS);
    sleep(MINUTE).await;
    store.recover();
    sleep(MINUTE).await;
    let age = services.now().since(services.grant(0).await.renewed_at);
    assert!(age > 2 * MINUTE && age < 4 * MINUTE, "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_store_is_retried_on_time_although_the_clock_was_set_back() {
    for back in [2, 30] {
        let store = FaultyStore::new();
        let policy = Policy { sleep: 12 * HOUR, ..POLICY };
        let mut services = TestServices::with_store(store.clone(), Settings::default(), policy, RATE_LIMITS);
        services.consent(0).await;
        sleep(2 * DAY).await;
        store.fail(&[StoreOp::ClaimDue], StoreError::Full);
        services.start(false).await;
        sleep(10 * SECOND).await;
        services.clock.step(-back * DAY_MS);
        store.recover();
        sleep(MINUTE + MINUTE / 2).await;
        assert_eq!(services.model().counters().refreshes.renewed, 1, "{back} days back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_consent_between_two_clock_steps_is_corrected_by_the_second_only() {
    let (services, store, before) = services().await;
    only_steps(&store, 0);
    services.set_back(2).await;
    services.consent(1).await;
    let intercept = services.grant(1).await;
    store.recover();
    services.set_back(3).await;
    services.is_corrected(&before, 5).await;
    let after = services.grant(1).await;
    assert_eq!(after.renewed_at, intercept.renewed_at - 3 * DAY);
    assert_eq!(after.tokens.expires_at, intercept.tokens.expires_at - 3 * DAY);
}
