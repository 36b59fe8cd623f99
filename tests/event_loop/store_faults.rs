//! A store in trouble under the loop: nothing is spent that cannot be kept, nothing is shown that is not kept.

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
use webex_tokend::refresh::Refresher;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::Mood;
use crate::support::faulty_store::MoodyStore;
use crate::support::heard_here;
use crate::support::intercept_store::Verb;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

/// So many persons who consented two days ago, and the store that they are kept in.
async fn world(persons: usize) -> (World, Arc<MoodyStore>) {
    let store = MoodyStore::new();
    let settings = Settings { people: Person::some(persons), ..Settings::default() };
    let world = World::on(store.clone(), settings, POLICY, PACE);
    world.consents(persons).await;
    sleep(2 * DAY).await;
    (world, store)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_kept_is_shown_to_nobody_and_kept_as_soon_as_it_can_be() {
    let (mut world, store) = world(1).await;
    let old = world.grant(0).await;
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.fails(&[Verb::Commit], StoreError::Full);
    world.start(false).await;
    sleep(20 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.renewed, 1, "Webex has given a new token");
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.is_well();
    sleep(MINUTE).await;
    let (kept, shown) = (world.grant(0).await, world.view.look(&world.id(0)).await.unwrap().unwrap());
    assert_ne!(kept.tokens.access_token, old.tokens.access_token);
    assert_eq!(shown.tokens, kept.tokens);
    assert_eq!(world.starts(0).len(), 1, "and was not asked for another one");
}

#[tokio::test(start_paused = true)]
async fn a_read_while_an_outcome_is_being_kept_hides_the_new_token_from_no_later_reader() {
    let (mut world, store) = world(1).await;
    let old = world.grant(0).await.tokens;
    store.plans(|verb, _| if verb == Verb::Commit { Mood::Slow(MINUTE) } else { Mood::Well });
    world.start(false).await;
    let shown = || async { world.view.look(&world.id(0)).await.unwrap().unwrap().tokens.clone() };
    while world.model().counters().refreshes.renewed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(MINUTE / 2).await;
    assert_eq!(shown().await, old, "the new one is not kept yet");
    sleep(MINUTE).await;
    assert_eq!(shown().await, world.grant(0).await.tokens);
    assert_ne!(shown().await, old);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_is_longer_on_its_way_to_the_store_than_its_lease_is_not_asked_for_again() {
    let (mut world, store) = world(2).await;
    let wrong = world.id(0);
    store.plans(
        move |verb, person| {
            if verb == Verb::Commit && person == Some(&wrong) { Mood::Slow(HOUR) } else { Mood::Well }
        },
    );
    world.start(false).await;
    for _ in 0..58 {
        sleep(MINUTE).await;
        assert_eq!([world.starts(0).len(), world.starts(1).len()], [1, 1]);
    }
    sleep(5 * MINUTE).await;
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(world.starts(0).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_an_outcome_is_offered_to_the_store_several_times() {
    let (mut world, store) = world(1).await;
    let mut tries = 0;
    store.plans(move |verb, _| {
        tries += u32::from(verb == Verb::Commit);
        if verb == Verb::Commit && tries <= 3 { Mood::Fails(StoreError::Locked) } else { Mood::Well }
    });
    world.start(false).await;
    while world.model().counters().refreshes.renewed == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    world.stop().await;
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(store.asked(&[Verb::Commit]), 4);
}

#[tokio::test(start_paused = true)]
async fn a_consent_is_offered_to_the_store_several_times() {
    let (world, store) = world(1).await;
    let (old, mut tries) = (world.grant(0).await.tokens, 0);
    store.plans(move |verb, _| {
        tries += u32::from(verb == Verb::SaveConsent);
        if verb == Verb::SaveConsent && tries <= 3 { Mood::Fails(StoreError::Locked) } else { Mood::Well }
    });
    world.consent(0).await;
    assert_ne!(world.grant(0).await.tokens, old);
    assert_eq!(store.asked(&[Verb::SaveConsent]), 1 + 4, "the first one was well");
    assert_eq!(world.model().counters().codes_exchanged, 2, "each code once");
}

#[tokio::test(start_paused = true)]
async fn readers_are_told_at_once_of_a_record_that_the_loop_cannot_open() {
    let (mut world, store) = world(2).await;
    let mark = world.view.events().now();
    store.plans(|verb, _| if verb == Verb::ClaimDue { Mood::Unreadable } else { Mood::Well });
    world.start(false).await;
    sleep(MINUTE).await;
    for person in 0..2 {
        assert!(world.view.events().changed_since(mark, &world.id(person)), "person {person}");
    }
    assert_eq!(world.model().counters().refreshes.attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn while_nothing_can_be_kept_no_refresh_is_sent_and_the_old_token_is_there() {
    let (mut world, store) = world(3).await;
    let old = world.grant(0).await;
    store.fails(&[Verb::ClaimDue], StoreError::Full);
    world.start(false).await;
    sleep(6 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.attempts, 0);
    assert_eq!(world.view.look(&world.id(0)).await.unwrap().unwrap().tokens, old.tokens);
    store.is_well();
    sleep(2 * HOUR).await;
    for person in 0..3 {
        assert_eq!(world.grant(person).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_refuses_alone_holds_up_no_other_person() {
    let (mut world, store) = world(6).await;
    let damaged = world.id(0);
    store.plans(move |verb, person| {
        let refused = verb == Verb::Commit && person == Some(&damaged);
        if refused { Mood::Fails(StoreError::Corrupt("a page".to_owned())) } else { Mood::Well }
    });
    listen_here();
    world.start(false).await;
    let unkept = world.refresher.clone().unwrap().unkept().clone();
    sleep(MINUTE / 2).await;
    assert!(unkept.hold_all(), "at first it may be everything");
    sleep(HOUR).await;
    for person in 1..6 {
        assert_eq!(world.grant(person).await.last.outcome, Outcome::Renewed, "person {person}");
    }
    assert!(!unkept.hold_all());
    let told = heard_here().into_iter().filter(|(level, line)| {
        *level == Level::Error && line.contains("the store refuses to keep it, while it keeps other changes")
    });
    assert!((2..=7).contains(&told.count()), "at once and every ten minutes: {:?}", heard_here());
    store.is_well();
    sleep(MINUTE).await;
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(world.starts(0).len(), 1, "the result of the only refresh");
}

#[tokio::test(start_paused = true)]
async fn when_the_store_refuses_the_results_of_several_no_more_are_sent_and_it_is_not_ready() {
    let (mut world, store) = world(40).await;
    store.fails(&[Verb::Commit], StoreError::Corrupt("a page".to_owned()));
    world.start(false).await;
    sleep(2 * HOUR).await;
    let sent = world.model().counters().refreshes.attempts;
    sleep(10 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.attempts, sent, "not one more is put at risk");
    let unkept = world.refresher.clone().unwrap().unkept().clone();
    let ready = Health::new(world.store.clone(), unkept).ready().await;
    assert!(matches!(ready, Err(NotReady::Unkept)), "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_asked_for_is_not_sent_while_a_result_cannot_be_kept() {
    let (mut world, store) = world(2).await;
    store.fails(&[Verb::Commit], StoreError::Full);
    world.start(true).await;
    sleep(MINUTE).await;
    let sent = world.model().counters().refreshes.attempts;
    let refresher = world.refresher.clone().unwrap();
    for person in 0..2 {
        let came = refresher.renew(&world.id(person), true).await;
        assert!(came.is_ok(), "{came:?}");
    }
    assert_eq!(world.model().counters().refreshes.attempts, sent);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_ones_refresh_holds_up_nobody_and_is_made_good_when_its_lease_ends() {
    let (mut world, store) = world(3).await;
    let before = world.grant(0).await;
    let mut wrong = Some(world.id(0));
    store.plans(move |verb, person| {
        let now = verb == Verb::Commit && wrong.is_some() && person == wrong.as_ref();
        if now { wrong.take().map_or(Mood::Well, |_| Mood::Panics) } else { Mood::Well }
    });
    world.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(world.grant(0).await.tokens, before.tokens, "broken off");
    for person in 1..3 {
        assert!(world.grant(person).await.renewed_at > before.renewed_at + DAY, "person {person}");
    }
    sleep(2 * HOUR).await;
    assert!(world.grant(0).await.renewed_at > before.renewed_at + DAY);
    assert!(world.is_live(0).await);
}

/// Five persons who are due, half a minute after Webex has asked to wait for one.
async fn asked_to_wait() -> (World, Arc<MoodyStore>, Arc<Refresher>) {
    let (mut world, store) = world(5).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("60".to_owned()) };
    world.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    world.start(false).await;
    sleep(MINUTE / 2).await;
    let refresher = world.refresher.clone().unwrap();
    assert!(refresher.pause().is_some(), "Webex has asked to wait");
    world.model().clear_faults();
    (world, store, refresher)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_does_not_open_is_no_probe_and_the_next_one_ends_the_pause() {
    let (world, store, refresher) = asked_to_wait().await;
    let mut probes = 0;
    store.plans(move |verb, _| {
        probes += u32::from(verb == Verb::ClaimDue);
        if verb == Verb::ClaimDue && probes <= 2 { Mood::Unreadable } else { Mood::Well }
    });
    sleep(MINUTE).await;
    assert_eq!(refresher.pause(), None, "two did not open, the third was the probe");
    assert!(world.model().counters().refreshes.renewed > 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_could_not_be_claimed_holds_up_no_other_one() {
    let (world, store, refresher) = asked_to_wait().await;
    let mut failed = false;
    store.plans(move |verb, _| {
        let fails = verb == Verb::ClaimDue && !std::mem::replace(&mut failed, true);
        if fails { Mood::Fails(StoreError::Locked) } else { Mood::Well }
    });
    sleep(MINUTE + MINUTE / 4).await;
    assert_eq!(refresher.pause().map(|pause| pause.probing), None, "the store's next try was the probe");
    assert!(world.model().counters().refreshes.renewed > 0);
}
