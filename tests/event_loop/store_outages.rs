//! A store that keeps nothing for a while: no refresh is sent that could not be kept, none is lost that was sent, the
//! loop does not spin, and everything goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Settings;
use webex_tokend::refresh::Came;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::Mood;
use crate::support::faulty_store::MoodyStore;
use crate::support::intercept_store::Verb;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;
use crate::support::virtual_time::lifetimes;

const CLAIMS: [Verb; 2] = [Verb::ClaimDue, Verb::ClaimOne];
/// What the whole store's trouble keeps from being kept, proofs of health, too.
const COMMITS: [Verb; 2] = [Verb::Commit, Verb::Prove];

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
async fn world() -> (Arc<MoodyStore>, World) {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), Settings::default(), POLICY, PACE);
    world.start(false).await;
    world.consents(3).await;
    (store, world)
}

fn attempts(world: &World) -> u64 {
    world.model().counters().refreshes.attempts
}

#[tokio::test(start_paused = true)]
async fn without_a_claim_that_is_kept_nothing_is_sent_and_the_loop_neither_spins_nor_ends() {
    for why in every_trouble() {
        let (store, world) = world().await;
        let before = store.asked(&CLAIMS);
        store.fails(&CLAIMS, why.clone());
        sleep(3 * DAY).await;
        assert_eq!(attempts(&world), 0, "{why:?}");
        let claims = store.asked(&CLAIMS) - before;
        assert!((8_600..=8_640).contains(&claims), "{why:?}: every half minute, {claims} in three days");

        store.is_well();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(attempts(&world), 3, "{why:?}: and then by itself");
        assert!(world.is_live(2).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_near_its_end_is_claimed_again_every_half_minute() {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), lifetimes(12 * HOUR, 60 * DAY), POLICY, PACE);
    world.start(false).await;
    world.consents(3).await;
    sleep(9 * HOUR).await;
    store.fails(&CLAIMS, StoreError::Full);
    sleep(2 * HOUR).await;
    let before = store.asked(&CLAIMS);
    sleep(MINUTE * 30).await;
    let claims = store.asked(&CLAIMS) - before;
    assert!((55..=65).contains(&claims), "{claims} tries in half an hour");
    assert_eq!(attempts(&world), 0);
    store.is_well();
    sleep(MINUTE).await;
    assert_eq!(attempts(&world), 3);
}

#[tokio::test(start_paused = true)]
async fn what_webex_answered_is_held_until_it_is_kept_and_shown_only_then() {
    for why in every_trouble() {
        let (store, world) = world().await;
        let old = world.grant(0).await.tokens.access_token;
        store.fails(&COMMITS, why.clone());
        sleep(DAY + 2 * HOUR).await;
        assert_eq!(attempts(&world), 1, "{why:?}: sent once; the others' could not be kept either");
        let shown =
            || async { world.view.look(&world.id(0)).await.unwrap().unwrap().tokens.access_token.clone() };
        assert_eq!(shown().await, old, "{why:?}: what is not kept is not shown");
        let before = (store.asked(&CLAIMS), store.asked(&[Verb::Commit]));
        sleep(HOUR).await;
        let (claims, commits) = (store.asked(&CLAIMS) - before.0, store.asked(&[Verb::Commit]) - before.1);
        assert!((100..=135).contains(&commits), "{why:?}: {commits} tries for one outcome in an hour");
        assert!(claims <= 150, "{why:?}: {claims} claims in an hour");
        assert_eq!(attempts(&world), 1, "{why:?}");

        store.is_well();
        sleep(2 * MINUTE).await;
        assert_ne!(shown().await, old, "{why:?}");
        assert_eq!(attempts(&world), 3, "{why:?}: it is the answer of then, and the others' turn");
        for person in 0..3 {
            assert!(world.is_live(person).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asked_for_in_the_moment_of_the_loops_claim_is_the_loops() {
    let (store, world) = world().await;
    sleep(DAY - 2 * HOUR).await;
    store.plans(|verb, _| match verb {
        Verb::ClaimDue => Mood::Late(Duration::from_secs(1)),
        _ => Mood::Well,
    });
    let refresher = world.refresher.clone().unwrap();
    let planned = world.grant(0).await.next.due_at;
    while world.grant(0).await.next.due_at == planned {
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(attempts(&world), 0, "it is claimed, and the loop does not know it yet");
    let report = refresher.renew(&world.id(0), true).await.unwrap();
    assert_eq!(report.came, Came::Renewed, "{}", report.detail);
    assert_eq!(world.starts(0).len(), 1, "and one refresh was enough");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asked_for_is_sent_where_the_one_under_way_gives_way_to_a_consent() {
    let (_, world) = world().await;
    sleep(DAY - MINUTE).await;
    world.model().settings_mut().latency = Duration::from_secs(30);
    while world.starts(0).is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
    world.model().settings_mut().latency = Duration::ZERO;
    world.model().settings_mut().noop_window = Duration::ZERO;
    world.consent(0).await;
    let consented = world.grant(0).await;
    let report = world.refresher.clone().unwrap().renew(&world.id(0), true).await.unwrap();
    assert_eq!(report.came, Came::Renewed, "{}", report.detail);
    assert_ne!(report.grant.tokens.access_token, consented.tokens.access_token);
    assert_eq!(report.grant.obtained_at, consented.obtained_at, "the consent stands");
    assert!(world.is_live(0).await);
    assert_eq!(world.model().counters().most_in_flight_for_one_token, 1);
}
