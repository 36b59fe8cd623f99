//! Readers of dead tokens after an outage: they go before the loop, and are told honestly when to ask again.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use webex_tokend::refresh::RateLimits;
use webex_tokend::refresh::RefreshOptions;
use webex_tokend::refresh::TokenError;

use super::after_an_outage;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;

const PERSONS: usize = 2000;

/// Persons with dead tokens, and a loop that has begun to refresh them at 20 a second.
async fn loop_after_an_outage() -> TestServices {
    let mut services = after_an_outage(PERSONS, RATE_LIMITS).await;
    services.start(false).await;
    sleep(SECOND).await;
    services
}

/// Reads the tokens of this many persons at once, those whose turn in the loop comes last. Returns the waits that readers
/// without a token are told.
async fn read_at_once(services: &TestServices, readers: usize) -> Vec<Duration> {
    let mut reading = JoinSet::new();
    for person in PERSONS - readers..PERSONS {
        let (refresher, id) = (services.refresher.clone().unwrap(), services.id(person));
        reading.spawn(async move { refresher.token(&id, Duration::ZERO).await });
    }
    let told = reading.join_all().await.into_iter().filter_map(Result::err);
    let wait = |why| match why {
        TokenError::Unavailable { retry_after, .. } => retry_after,
        other => panic!("{other:?}"),
    };
    told.map(wait).collect()
}

#[tokio::test(start_paused = true)]
async fn readers_of_dead_tokens_go_before_the_loop() {
    let services = loop_after_an_outage().await;
    // Fifteen a second within the twenty seconds that a reader waits, and five a second for the loop.
    assert_eq!(read_at_once(&services, 290).await, [Duration::ZERO; 0]);
    let renewed = services.model().counters().refreshes.renewed;
    assert!(renewed >= 290 + 85, "the loop got a quarter meanwhile: {renewed}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_without_a_token_is_told_when_all_that_wait_have_had_their_turn() {
    let services = loop_after_an_outage().await;
    let told = read_at_once(&services, 900).await;
    assert!((590..=610).contains(&told.len()), "{} have waited in vain", told.len());
    for wait in &told {
        // 600 refreshes at fifteen a second.
        assert!((38 * SECOND..=42 * SECOND).contains(wait), "{wait:?}");
    }
    sleep(told[0]).await;
    for person in PERSONS - 900..PERSONS {
        assert!(services.is_live(person).await, "person {person}");
    }
    sleep(MINUTE).await;
}

/// Reads the token of a person whose refresh already waits. Returns how long that took.
async fn read_token_while_its_refresh_waits(services: &TestServices, person: usize) -> Duration {
    let refresher = services.refresher.clone().unwrap();
    assert!(refresher.is_refreshing(&services.id(person)) && services.starts(person).is_empty());
    let asked_at = services.now();
    assert!(refresher.token(&services.id(person), Duration::ZERO).await.is_ok());
    services.now().since(asked_at)
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_joins_a_refresh_of_a_bulk_command_goes_before_the_others() {
    let services = loop_after_an_outage().await;
    let mut command = JoinSet::new();
    for person in PERSONS - 400..PERSONS {
        let (refresher, id) = (services.refresher.clone().unwrap(), services.id(person));
        let bulk = RefreshOptions { force: true, bulk: true };
        command.spawn(async move { refresher.refresh_now_if(&id, bulk, || true).await });
    }
    sleep(SECOND).await;
    let waited = read_token_while_its_refresh_waits(&services, PERSONS - 1).await;
    assert!(waited <= SECOND, "{waited:?}");
    sleep(MINUTE).await;
    assert_eq!(services.starts(PERSONS - 1).len(), 1, "one refresh for both");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_joins_a_refresh_of_the_loop_goes_before_the_others() {
    let mut services = after_an_outage(100, RateLimits { concurrency: 2, per_second: 0.5 }).await;
    services.start(false).await;
    sleep(SECOND).await;
    let waits = |person: &usize| {
        let refresher = services.refresher.as_ref().unwrap();
        refresher.is_refreshing(&services.id(*person)) && services.starts(*person).is_empty()
    };
    let last = (0..100).rfind(waits).unwrap();
    let waited = read_token_while_its_refresh_waits(&services, last).await;
    // One start of the loop is scheduled already.
    assert!(waited <= 4 * SECOND, "person {last}: {waited:?}");
    sleep(MINUTE).await;
    assert_eq!(services.starts(last).len(), 1, "one refresh for both");
}

/// After how long the refresh starts that the loop has claimed last, while 120 readers wait for others. With `joins`, a reader
/// waits for it, too.
async fn start_of_the_last_claimed(joins: bool) -> Duration {
    let mut services = after_an_outage(600, RateLimits { concurrency: 2, per_second: 1.0 }).await;
    services.start(false).await;
    sleep(SECOND / 5).await;
    let refresher = services.refresher.clone().unwrap();
    let is_waiting = |person: &usize| {
        refresher.is_refreshing(&services.id(*person)) && services.starts(*person).is_empty()
    };
    let last = (0..100).rfind(is_waiting).unwrap();
    let mut reading = JoinSet::new();
    for person in (300..420).chain(joins.then_some(last)) {
        let (refresher, id) = (refresher.clone(), services.id(person));
        reading.spawn(async move { refresher.token(&id, Duration::ZERO).await.is_ok() });
        sleep(SECOND / 1000).await;
    }
    let asked_at = services.now().since(START);
    while services.starts(last).is_empty() {
        sleep(SECOND / 10).await;
    }
    services.starts(last)[0].saturating_sub(asked_at)
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_joins_a_claimed_refresh_does_not_delay_it() {
    let (alone, joined) = (start_of_the_last_claimed(false).await, start_of_the_last_claimed(true).await);
    assert!(joined <= alone, "{joined:?} instead of {alone:?}");
}
