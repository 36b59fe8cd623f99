//! Readers of dead tokens after an outage: they go before the loop, and are told honestly when to ask again.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use webex_tokend::refresh::TokenError;

use super::after_an_outage;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::RATE_LIMITS;
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
