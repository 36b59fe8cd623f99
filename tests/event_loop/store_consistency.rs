//! The loop and its store: trouble at start and later, what readers see, and two who write about one person.

use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::consent::Offered;
use webex_tokend::domain::grant::State;
use webex_tokend::refresh::Came;
use webex_tokend::store::Saved;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::MoodyStore;
use crate::support::faulty_store::NOTES;
use crate::support::faulty_store::WRITES;
use crate::support::intercept_store::Verb;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_is_not_hammered_and_nothing_is_sent() {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.consents(3).await;
    sleep(2 * DAY).await;
    store.fails(&WRITES, StoreError::ReadOnly);
    world.start(false).await;
    sleep(10 * MINUTE).await;
    let claims = store.asked(&[Verb::ClaimDue]);
    assert!((2..=21).contains(&claims), "{claims} claims in ten minutes");
    assert_eq!(world.model().counters().refreshes.attempts, 0);
    store.is_well();
    sleep(MINUTE).await;
    assert_eq!(world.model().counters().refreshes.renewed, 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_start_could_not_prepare_is_done_at_a_later_wake() {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.consents(3).await;
    sleep(HOUR).await;
    store.fails(&NOTES, StoreError::ReadOnly);
    world.start(true).await;
    sleep(30 * MINUTE).await;
    assert_eq!(world.model().counters().refreshes.attempts, 0, "nobody is due yet");
    world.consent(1).await;
    store.is_well();
    sleep(HOUR).await;
    let starts: Vec<usize> = (0..3).map(|person| world.starts(person).len()).collect();
    assert_eq!(starts, [1, 0, 1], "all but the one who consented since the start");
    sleep(5 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.attempts, 2, "once only");
}

#[tokio::test(start_paused = true)]
async fn readers_see_what_a_start_changed() {
    let mut world = World::new(Settings::default());
    world.consent(0).await;
    sleep(HOUR).await;
    let id = world.id(0);
    let seen = async |world: &World| world.view.look(&id).await.unwrap().unwrap().state(world.now());
    assert_eq!(seen(&world).await, State::Fresh);
    world.start(true).await;
    assert_eq!(seen(&world).await, State::Due, "not what was cached before");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_is_not_forced_leaves_one_alone_who_failed_a_moment_ago() {
    let mut world = World::new(Settings::default());
    world.consent(0).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::Unavailable { status: 503, html: false };
    world.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    world.start(false).await;
    sleep(SECOND).await;
    let (refresher, id) = (world.refresher.clone().unwrap(), world.id(0));
    assert_eq!(world.starts(0).len(), 1);
    for _ in 0..20 {
        assert_eq!(refresher.renew(&id, false).await.unwrap().came, Came::Skipped);
        sleep(SECOND).await;
    }
    assert_eq!(world.starts(0).len(), 1);
    assert_eq!(refresher.renew(&id, true).await.unwrap().came, Came::Failed);
    assert_eq!(world.starts(0).len(), 2, "force is not bound by it");
}

#[tokio::test(start_paused = true)]
async fn a_grant_taken_over_while_it_is_refreshed_is_the_one_that_stays() {
    let mut world = World::new(Settings { noop_window: Duration::ZERO, ..Settings::default() });
    world.consent(0).await;
    let refresh_token = world.grant(0).await.tokens.refresh_token;
    sleep(2 * DAY).await;
    world.model().settings_mut().latency = Duration::from_secs(20);
    world.start(false).await;
    sleep(5 * SECOND).await;
    assert_eq!(world.model().counters().in_flight, 1, "the refresh is under way");
    world.model().settings_mut().latency = Duration::ZERO;
    let offered = Offered { refresh_token: Some(refresh_token), access_token: None, replace: true };
    assert_eq!(world.consents.take_over(offered).await.unwrap().saved, Saved::Replaced);
    let taken = world.grant(0).await;
    sleep(MINUTE).await;
    assert_eq!(world.grant(0).await, taken, "the older answer changed nothing");
    assert!(world.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_consent_that_was_slow_to_be_kept_does_not_undo_a_later_one() {
    let world = World::new(Settings::default());
    world.consent(0).await;
    // The first asks whose it is for ten seconds; the second overtakes it.
    let slow =
        Fault { on: Endpoint::PeopleMe, person: None, times: Some(1), kind: FaultKind::Slow(10 * SECOND) };
    world.model().fault(slow);
    let (first, later) = tokio::join!(world.consent(0), async {
        sleep(2 * SECOND).await;
        world.consent(0).await;
        world.grant(0).await
    });
    assert_eq!(first.saved, Saved::Older);
    assert_eq!(world.grant(0).await, later);
}
