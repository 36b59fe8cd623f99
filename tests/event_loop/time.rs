//! Clocks that jump: neither a storm nor starvation.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Standing;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::store::Lease;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::MoodyStore;
use crate::support::faulty_store::WRITES;
use crate::support::heard_here;
use crate::support::intercept_store::Verb;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::DAY_MS;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

/// Webex renews nothing for anybody.
fn down() -> Fault {
    let kind = FaultKind::Unavailable { status: 503, html: true };
    Fault { on: Endpoint::AccessToken, person: None, times: None, kind }
}

/// Three persons who consented some hours ago, kept by a store with moods, and a loop that runs.
async fn moody() -> (Arc<MoodyStore>, World) {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.consents(3).await;
    world.start(false).await;
    sleep(5 * HOUR).await;
    (store, world)
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_by_days_starves_nobody() {
    for days in [1, 30, 4000] {
        let mut world = World::new(Settings::default());
        world.start(false).await;
        world.consents(3).await;
        sleep(5 * HOUR).await;
        world.clock.set_by(-days * DAY_MS);
        sleep(5 * MINUTE).await;
        let soon = world.model().counters().refreshes.attempts;
        assert!(soon <= 3, "{soon} refreshes after a step of {days} days");
        for _ in 0..30 * 24 {
            sleep(HOUR).await;
            assert!(world.is_live(0).await, "{days} days back, at {}", world.now());
        }
        let all = world.model().counters().refreshes.attempts;
        assert!((80..=100).contains(&all), "{all} refreshes of 3 persons in 30 days");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_clock_was_set_back_everybody_is_refreshed_when_their_time_has_truly_come() {
    for back in [HOUR, 30 * DAY] {
        let policy = Policy { sleep: 12 * HOUR, ..POLICY };
        let mut world = World::with(Settings::default(), policy, PACE);
        world.start(false).await;
        world.consents(3).await;
        sleep(5 * HOUR).await;
        world.clock.set_by(-i64::try_from(back.as_millis()).unwrap());
        sleep(5 * MINUTE).await;
        let attempts = |world: &World| world.model().counters().refreshes.attempts;
        assert_eq!(attempts(&world), 0, "it is known how old they are, {back:?} back");
        for person in 0..3 {
            let age = world.now().since(world.grant(person).await.renewed_at);
            assert!(age.abs_diff(5 * HOUR + 5 * MINUTE) < MINUTE, "{age:?} old, {back:?} back");
        }
        sleep(DAY - 6 * HOUR).await;
        assert_eq!(attempts(&world), 0, "not a day old, {back:?} back");
        sleep(14 * HOUR).await;
        assert_eq!(attempts(&world), 3, "a day old, and a regular wake, {back:?} back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_in_its_time_though_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut world = World::with(Settings::default(), policy, PACE);
    world.consent(0).await;
    sleep(2 * DAY).await;
    world.model().fault(Fault { times: Some(1), ..down() });
    world.start(false).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.grant(0).await.failures, 1);
    world.clock.set_by(-30 * DAY_MS);
    sleep(3 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.attempts, 2);
    assert_eq!(world.grant(0).await.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_holds_any_more_hides_no_date_from_being_mended() {
    let mut world = World::new(Settings::default());
    world.consent(0).await;
    let before = world.grant(0).await.tokens.expires_at;
    world.model().fault(down());
    world.start(false).await;
    sleep(DAY - 2 * MINUTE).await;
    let now = world.now();
    let lease = Lease { now, owner: "a claim that came to nothing".to_owned(), end: now + 30 * MINUTE };
    assert!(world.store.claim_one(world.id(0), lease).await.unwrap().is_some());
    world.clock.set_by(-30 * DAY_MS);
    sleep(2 * HOUR).await;
    let after = world.grant(0).await;
    assert_ne!(after.failures, 0, "it was asked for since, in vain");
    assert_eq!(after.tokens.expires_at, before - 30 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_wish_to_wait_ends_in_its_time_though_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut world = World::with(Settings::default(), policy, PACE);
    world.consent(0).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    world.model().fault(Fault { on: Endpoint::AccessToken, person: Some(0), times: Some(1), kind });
    world.start(false).await;
    sleep(5 * HOUR).await;
    let attempts = |world: &World| world.model().counters().refreshes.attempts;
    assert_eq!(attempts(&world), 1);
    world.clock.set_by(-900 * DAY_MS);
    sleep(50 * MINUTE).await;
    assert_eq!(attempts(&world), 1, "the wish is obeyed");
    sleep(2 * HOUR).await;
    assert_eq!(attempts(&world), 2, "and not longer");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_end_of_a_wish_is_sent_then_though_the_clock_was_set_back() {
    let policy = Policy { sleep: 12 * HOUR, ..POLICY };
    let mut world = World::with(Settings::default(), policy, PACE);
    world.consents(2).await;
    sleep(2 * DAY).await;
    let wish = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    world.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(2), kind: wish });
    world.model().settings_mut().latency = Duration::from_secs(1);
    world.start(false).await;
    sleep(5 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.attempts, 2);
    world.clock.set_by(-30 * DAY_MS);
    sleep(50 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.attempts, 2, "the wait is obeyed");
    // Each wait is drawn up to a fifth longer.
    sleep(100 * MINUTE).await;
    assert_eq!([world.starts(0).len(), world.starts(1).len()], [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_all_persons_ends_when_it_would_have_ended_though_the_clock_was_set_back() {
    let settings = Settings { people: Person::some(20), ..Settings::default() };
    let mut world = World::new(settings);
    world.consents(20).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) };
    world.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    world.model().settings_mut().latency = Duration::from_secs(1);
    world.start(false).await;
    sleep(5 * HOUR).await;
    world.model().clear_faults();
    assert!(world.refresher.as_ref().unwrap().pause().is_some(), "a probe has confirmed it");
    world.clock.set_by(-30 * DAY_MS);
    sleep(55 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.renewed, 0, "the wait is obeyed");
    sleep(20 * MINUTE).await;
    assert_eq!(world.refresher.as_ref().unwrap().pause(), None);
    let asked = world.model().counters().refreshes.renewed;
    assert!(asked >= 1, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_make_an_older_token_seem_to_live_longer() {
    let policy = Policy { max_age: 30 * DAY, ..POLICY };
    let mut world = World::with(Settings::default(), policy, PACE);
    world.start(false).await;
    world.consent(0).await;
    sleep(6 * DAY).await;
    world.clock.set_by(-3 * DAY_MS);
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        assert!(world.is_live(0).await, "at {}", world.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_ahead_by_days_causes_no_storm() {
    for days in [1, 30, 4000] {
        let mut world = World::new(Settings::default());
        world.start(false).await;
        world.consents(3).await;
        sleep(5 * HOUR).await;
        world.clock.set_by(days * DAY_MS);
        sleep(2 * HOUR).await;
        let soon = world.model().counters().refreshes.attempts;
        assert!((3..=6).contains(&soon), "{soon} refreshes after a step of {days} days");
        for _ in 0..30 * 24 {
            sleep(HOUR).await;
            assert!(world.is_live(0).await, "{days} days ahead, at {}", world.now());
        }
        let all = world.model().counters().refreshes.attempts;
        assert!((80..=100).contains(&all), "{all} refreshes of 3 persons in 30 days");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_years_ahead_at_boot_and_mended_later_starves_nobody() {
    let mut world = World::new(Settings::default());
    world.clock.set_by(9 * 365 * DAY_MS);
    world.start(false).await;
    world.consents(2).await;
    sleep(2 * DAY).await;
    world.stop().await;
    world.clock.set_by(-9 * 365 * DAY_MS);
    world.start(false).await;
    sleep(5 * MINUTE).await;
    for person in 0..2 {
        let grant = world.grant(person).await;
        assert!(grant.renewed_at <= world.now() && grant.tokens.expires_at <= world.now() + 14 * DAY);
    }
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        assert!(world.is_live(0).await && world.is_live(1).await, "at {}", world.now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_while_refreshes_are_under_way_starves_nobody() {
    let mut world = World::new(Settings::default());
    world.clock.set_by(365 * DAY_MS);
    world.consents(3).await;
    sleep(2 * DAY).await;
    world.model().settings_mut().latency = Duration::from_secs(20);
    world.start(false).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.model().counters().in_flight, 3);
    world.clock.set_by(-365 * DAY_MS);
    sleep(MINUTE).await;
    world.model().settings_mut().latency = Duration::ZERO;
    for person in 0..3 {
        let grant = world.grant(person).await;
        assert!(grant.renewed_at <= world.now(), "nothing is renewed in the future");
    }
    for _ in 0..20 * 24 {
        sleep(HOUR).await;
        for person in 0..3 {
            assert!(world.is_live(person).await, "person {person} at {}", world.now());
        }
    }
    world.stop().await;
    assert!(world.store.latest().await.unwrap().unwrap() <= world.now(), "the store's clock is mended, too");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_twice_is_mended_by_both_even_if_the_store_fails_meanwhile() {
    let (store, world) = moody().await;
    let before = world.grant(0).await;
    store.fails(&WRITES, StoreError::ReadOnly);
    world.clock.set_by(-2 * DAY_MS);
    sleep(5 * MINUTE).await;
    world.clock.set_by(-3 * DAY_MS);
    sleep(5 * MINUTE).await;
    store.is_well();
    world.model().fault(down());
    sleep(5 * MINUTE).await;
    let after = world.grant(0).await;
    assert_eq!(after.tokens.expires_at, before.tokens.expires_at - 5 * DAY);
    assert_eq!(after.renewed_at, before.renewed_at - 5 * DAY);
}

#[tokio::test(start_paused = true)]
async fn who_consents_while_dates_are_mended_keeps_the_dates_of_the_clock_as_it_is() {
    // The second time the old dates look as if they were of the minutes in which they are mended.
    for back in [2 * DAY, 5 * HOUR + 2 * MINUTE] {
        let (store, world) = moody().await;
        let before = [world.grant(1).await, world.grant(2).await];
        store.fails(&[Verb::Revise], StoreError::Locked);
        world.clock.set_by(-i64::try_from(back.as_millis()).unwrap());
        sleep(MINUTE).await;
        assert_ne!(store.asked(&[Verb::Revise]), 0, "it is noticed");
        world.consent(0).await;
        world.consent(3).await;
        let consented = [world.grant(0).await, world.grant(3).await];
        if back > DAY {
            // Whatever was told of it: its dates are the old ones.
            world.view.publish(&world.id(1));
        }
        sleep(2 * MINUTE).await;
        store.is_well();
        sleep(MINUTE).await;
        assert_eq!([world.grant(0).await, world.grant(3).await], consented, "{back:?}");
        for (person, before) in [1, 2].into_iter().zip(before) {
            let mended = world.grant(person).await;
            assert_eq!(mended.renewed_at, before.renewed_at - back, "person {person}, {back:?}");
            assert_eq!(
                mended.tokens.expires_at,
                before.tokens.expires_at - back,
                "person {person}, {back:?}"
            );
        }
        assert_eq!(world.model().counters().refreshes.attempts, 0, "nobody is due");
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_in_work_while_the_clock_is_set_back_is_mended_even_if_its_refresh_fails() {
    let mut world = World::new(Settings::default());
    world.consents(1).await;
    sleep(2 * DAY).await;
    let before = world.grant(0).await;
    world.model().fault(Fault { person: Some(0), ..down() });
    world.model().settings_mut().latency = Duration::from_secs(55);
    let policy = Policy { sleep: 2 * MINUTE, ..POLICY };
    world.policy = policy;
    world.start(false).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.model().counters().in_flight, 1);
    world.clock.set_by(-30 * DAY_MS);
    world.model().settings_mut().latency = Duration::ZERO;
    // Somebody nudges the loop, so that it sees the clock before the answer comes.
    world.consent(1).await;
    sleep(2 * MINUTE).await;
    let after = world.grant(0).await;
    assert_eq!(after.tokens.expires_at, before.tokens.expires_at - 30 * DAY, "once, and no more");
}

#[tokio::test(start_paused = true)]
async fn the_next_try_of_a_dead_grant_does_not_stay_in_the_future_of_a_clock_set_back() {
    let mut world = World::new(Settings::default());
    world.consent(0).await;
    sleep(2 * DAY).await;
    world.start(false).await;
    let id = world.id(0);
    world.clock.set_by(30 * DAY_MS);
    world.model().revoke_person(0);
    sleep(2 * HOUR).await;
    let dead = world.store.find(id).await.unwrap().unwrap();
    assert_eq!(dead.standing, Standing::ConsentNeeded);
    world.clock.set_by(-30 * DAY_MS);
    sleep(5 * MINUTE).await;
    let next = world.grant(0).await.next.due_at;
    assert!(next > world.now() + 20 * HOUR && next < world.now() + 30 * HOUR, "{next} at {}", world.now());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_mended_is_not_tried_in_every_moment() {
    let (store, world) = moody().await;
    store.fails(&WRITES, StoreError::ReadOnly);
    world.clock.set_by(-2 * DAY_MS);
    listen_here();
    sleep(10 * MINUTE).await;
    let told = heard_here();
    assert!(
        told.iter().all(|(level, _)| *level > Level::Error),
        "the store tells its trouble itself: {told:?}"
    );
    let tries = store.asked(&[Verb::Revise]);
    assert!((1..=22).contains(&tries), "{tries} tries in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_until_everything_is_mended() {
    let (store, mut world) = moody().await;
    world.clock.set_by(-2 * DAY_MS);
    let before = store.asked(&[Verb::Revise]);
    world.stop().await;
    assert_eq!(store.asked(&[Verb::Revise]), before, "the next start goes on");
}
