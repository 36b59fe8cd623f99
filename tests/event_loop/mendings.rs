//! Dates on the way to being mended: the store fails between, the clock is set again, the daemon stops.

use std::sync::Arc;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::store::Note;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::Mood;
use crate::support::faulty_store::MoodyStore;
use crate::support::faulty_store::NOTES;
use crate::support::intercept_store::Verb;
use crate::support::time::DAY;
use crate::support::time::DAY_MS;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

/// Three persons who consented five hours ago; and the third one's grant.
async fn world() -> (World, Arc<MoodyStore>, Grant) {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.consents(3).await;
    world.start(false).await;
    sleep(5 * HOUR).await;
    let before = world.grant(2).await;
    (world, store, before)
}

impl World {
    /// Sets the clock back and nudges the loop, which sees it at once.
    async fn set_back(&self, days: i64) {
        self.clock.set_by(-days * DAY_MS);
        self.consent(0).await;
        sleep(SECOND).await;
    }

    /// That the third one's dates were mended by so many days.
    async fn is_mended(&self, before: &Grant, days: u32) {
        let after = self.grant(2).await;
        assert_eq!(after.renewed_at, before.renewed_at - days * DAY);
        assert_eq!(after.tokens.expires_at, before.tokens.expires_at - days * DAY);
        assert_eq!(after.last.at, before.last.at - days * DAY);
        assert_eq!(after.next.due_at, before.next.due_at - days * DAY);
    }
}

/// From now on so many steps of a revision succeed, and then none.
fn only_steps(store: &MoodyStore, mut steps: u32) {
    store.plans(move |verb, _| {
        if verb != Verb::Revise {
            return Mood::Well;
        }
        let fails = steps == 0;
        steps = steps.saturating_sub(1);
        if fails { Mood::Fails(StoreError::Full) } else { Mood::Well }
    });
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_mended_is_not_tried_at_each_nudge() {
    let (world, store, before) = world().await;
    let before_it = store.asked(&[Verb::Revise]);
    only_steps(&store, 0);
    world.set_back(2).await;
    for _ in 0..5 * 60 {
        world.consent(0).await;
        sleep(SECOND).await;
    }
    let tries = store.asked(&[Verb::Revise]) - before_it;
    assert!((9..=12).contains(&tries), "{tries} tries in five minutes");
    store.is_well();
    sleep(MINUTE).await;
    world.is_mended(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_once_more_is_mended_at_once() {
    let (world, store, before) = world().await;
    only_steps(&store, 0);
    world.set_back(2).await;
    assert_eq!(world.grant(2).await, before);
    store.is_well();
    world.set_back(3).await;
    world.is_mended(&before, 5).await;
    assert!(world.store.latest().await.unwrap().unwrap() <= world.now());
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_before_the_store_failed_is_not_mended_twice() {
    let (world, store, before) = world().await;
    only_steps(&store, 1);
    world.set_back(2).await;
    store.is_well();
    sleep(2 * MINUTE).await;
    world.is_mended(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_start_finds_what_was_mended_by_the_first_of_two_settings_only() {
    let (mut world, store, before) = world().await;
    only_steps(&store, 0);
    world.set_back(2).await;
    // One step for the grants, one to find that there are no more.
    only_steps(&store, 2);
    world.set_back(3).await;
    world.is_mended(&before, 2).await;
    world.kill().await;
    store.is_well();
    world.start(false).await;
    let after = world.grant(2).await;
    assert!(after.renewed_at <= world.now() && after.next.due_at <= world.now(), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_amid_the_mending_leaves_the_rest_to_the_next_start() {
    let (mut world, store, before) = world().await;
    let steps = store.asked(&[Verb::Revise]);
    store.plans(|verb, _| if verb == Verb::Revise { Mood::Slow(2 * SECOND) } else { Mood::Well });
    world.set_back(2).await;
    world.stop().await;
    assert_eq!((store.asked(&[Verb::Revise]), store.asked(&[Verb::Settle])), (steps + 1, 0));
    store.is_well();
    world.start(false).await;
    assert_eq!(store.asked(&[Verb::Settle]), 1);
    world.is_mended(&before, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_amid_new_settings_leaves_them_to_the_next_start() {
    let (mut world, store, _) = world().await;
    world.stop().await;
    let known = world.store.recall(Note::Policy).await;
    world.policy = Policy { max_age: 5 * DAY, ..POLICY };
    store.fails(&NOTES, StoreError::ReadOnly);
    world.start(false).await;
    let steps = store.asked(&[Verb::Revise]);
    store.plans(|verb, _| if verb == Verb::Revise { Mood::Slow(2 * SECOND) } else { Mood::Well });
    while store.asked(&[Verb::Revise]) == steps {
        sleep(SECOND).await;
    }
    world.stop().await;
    assert_eq!(world.store.recall(Note::Policy).await, known, "not all are planned by the new ones");
    store.is_well();
    world.start(false).await;
    assert_ne!(world.store.recall(Note::Policy).await, known);
}

#[tokio::test(start_paused = true)]
async fn a_clock_tended_between_two_starts_is_no_wrong_clock() {
    for (seconds, mendings) in [(59, 0), (61, 1)] {
        let store = MoodyStore::new();
        let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
        world.clock.set_by(seconds * 1000);
        world.consent(0).await;
        world.clock.set_by(-seconds * 1000);
        world.start(false).await;
        assert_eq!(store.asked(&[Verb::Settle]), mendings, "{seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn what_webex_answers_after_the_clock_was_set_back_is_planned_by_the_clock_as_it_is() {
    let kind = FaultKind::Unavailable { status: 503, html: false };
    let failing = Fault { on: Endpoint::AccessToken, person: None, times: None, kind };
    for fault in [None, Some(failing)] {
        let policy = Policy { sleep: 10 * SECOND, ..POLICY };
        let mut world = World::with(Settings::default(), policy, PACE);
        world.consent(0).await;
        sleep(2 * DAY).await;
        let (fails, before) = (fault.is_some(), world.grant(0).await);
        if let Some(fault) = fault {
            world.model().fault(fault);
        }
        world.model().settings_mut().latency = MINUTE / 2;
        world.start(false).await;
        sleep(SECOND).await;
        world.clock.set_by(-30 * DAY_MS);
        sleep(MINUTE / 2).await;
        let (after, now) = (world.grant(0).await, world.now());
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
async fn an_outcome_that_waits_for_the_store_while_the_clock_is_set_back_is_kept_with_right_dates() {
    let store = MoodyStore::new();
    let policy = Policy { sleep: 10 * SECOND, ..POLICY };
    let mut world = World::on(store.clone(), Settings::default(), policy, PACE);
    world.consent(0).await;
    sleep(2 * DAY).await;
    store.fails(&[Verb::Commit], StoreError::Full);
    world.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(world.model().counters().refreshes.renewed, 1);
    world.clock.set_by(-30 * DAY_MS);
    sleep(MINUTE).await;
    store.is_well();
    sleep(MINUTE).await;
    let age = world.now().since(world.grant(0).await.renewed_at);
    assert!(age > 2 * MINUTE && age < 4 * MINUTE, "{age:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_failed_is_tried_again_in_its_time_though_the_clock_was_set_back() {
    for back in [2, 30] {
        let store = MoodyStore::new();
        let policy = Policy { sleep: 12 * HOUR, ..POLICY };
        let mut world = World::on(store.clone(), Settings::default(), policy, PACE);
        world.consent(0).await;
        sleep(2 * DAY).await;
        store.fails(&[Verb::ClaimDue], StoreError::Full);
        world.start(false).await;
        sleep(10 * SECOND).await;
        world.clock.set_by(-back * DAY_MS);
        store.is_well();
        sleep(MINUTE + MINUTE / 2).await;
        assert_eq!(world.model().counters().refreshes.renewed, 1, "{back} days back");
    }
}

#[tokio::test(start_paused = true)]
async fn who_consented_between_two_settings_is_mended_by_the_second_only() {
    let (world, store, before) = world().await;
    only_steps(&store, 0);
    world.set_back(2).await;
    world.consent(1).await;
    let between = world.grant(1).await;
    store.is_well();
    world.set_back(3).await;
    world.is_mended(&before, 5).await;
    let after = world.grant(1).await;
    assert_eq!(after.renewed_at, between.renewed_at - 3 * DAY);
    assert_eq!(after.tokens.expires_at, between.tokens.expires_at - 3 * DAY);
}
