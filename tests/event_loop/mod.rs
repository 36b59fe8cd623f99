//! The event loop over days and months, in virtual time, with its own code and an in-process Webex.

mod backlog;
mod breaker;
mod catch_up;
mod clock_corrections;
mod isolation;
mod person_checks;
mod queued_claims;
mod quiet_logs;
mod rate_limits;
mod store_consistency;
mod store_faults;
mod store_outages;
mod time;
mod waiting_readers;
mod webex_faults;

use std::time::Duration;

use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RateLimits;

use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::lifetimes;

/// Persons who consented one after the other, and whose access tokens expired while the daemon was down.
async fn after_an_outage(persons: usize, pace: RateLimits) -> TestServices {
    let settings = Settings { people: Person::some(persons), ..Settings::default() };
    let services = TestServices::with_policy(settings, POLICY, pace);
    for person in 0..persons {
        services.consent(person).await;
        sleep(SECOND).await;
    }
    sleep(20 * DAY).await;
    services
}

#[tokio::test(start_paused = true)]
async fn by_default_grants_are_refreshed_after_a_day_and_not_before() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    for person in 0..5 {
        services.consent(person).await;
        sleep(7 * MINUTE).await;
    }
    for _ in 0..120 * 24 {
        sleep(HOUR).await;
        for person in 0..5 {
            assert!(services.is_live(person).await, "person {person} at {}", services.now());
        }
    }
    for person in 0..5 {
        let starts = services.starts(person);
        assert!((115..=120).contains(&starts.len()), "{} refreshes in 120 days", starts.len());
        let mut last = 7 * MINUTE * u32::try_from(person).unwrap();
        for start in starts {
            let gap = start - last;
            assert!(gap > DAY && gap <= DAY + HOUR + MINUTE, "{gap:?} between two refreshes");
            last = start;
        }
    }
    assert_eq!(services.model().counters().most_in_flight_for_one_token, 1);
    assert_eq!(services.model().counters().refreshes.unchanged, 0, "each refresh brought a new token");
}

#[tokio::test(start_paused = true)]
async fn a_large_min_ttl_causes_no_refresh_inside_the_no_op_window() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent_all(3).await;
    let refresher = services.refresher.clone().unwrap();
    for _ in 0..23 * 6 {
        sleep(10 * MINUTE).await;
        for person in 0..3 {
            let given = refresher.token(&services.id(person), 365 * DAY).await.unwrap();
            assert!(given.short, "no token lives that long");
        }
    }
    assert_eq!(services.model().counters().refreshes.attempts, 0);
    sleep(3 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 3);
}

#[tokio::test(start_paused = true)]
async fn a_twelve_hour_token_is_always_refreshed_before_it_expires() {
    // Contact Center: 12 hours, and no no-op window, or every refresh would be a no-op.
    let settings = Settings { noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    let mut services = TestServices::new(settings);
    services.start(false).await;
    services.consent_all(3).await;
    for _ in 0..120 * 24 * 4 {
        sleep(15 * MINUTE).await;
        for person in 0..3 {
            assert!(services.is_live(person).await, "person {person} at {}", services.now());
            let left = services.grant(person).await.life_left(services.now());
            assert!(left >= Policy::margin(12 * HOUR) - MINUTE, "{left:?} left");
        }
    }
    for person in 0..3 {
        let starts = services.starts(person).len();
        assert!((240..=340).contains(&starts), "{starts} refreshes in 120 days: some two or three a day");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_token_is_no_failure_and_not_retried_at_once() {
    // Webex's no-op window is longer than the configured one.
    let mut services = TestServices::new(Settings { noop_window: 3 * DAY, ..Settings::default() });
    services.start(false).await;
    services.consent(0).await;
    sleep(30 * DAY).await;
    let counters = services.model().counters();
    assert!(counters.refreshes.unchanged > 10, "{:?}", counters.refreshes);
    assert!(services.starts(0).len() <= 30, "{} refreshes in 30 days", services.starts(0).len());
    let grant = services.grant(0).await;
    assert_eq!(grant.failures, 0);
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_consent_during_a_refresh_wins() {
    let settings = Settings { noop_window: Duration::ZERO, ..Settings::default() };
    let mut services = TestServices::new(settings);
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(20);
    services.start(false).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(services.model().counters().in_flight, 1, "the refresh is in flight");
    services.model().settings_mut().latency = Duration::ZERO;
    services.consent(0).await;
    let consented = services.grant(0).await;
    sleep(HOUR / 2).await;
    assert_eq!(services.grant(0).await, consented, "the late response of the refresh changed nothing");
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn no_refresh_is_sent_for_a_person_who_consents_or_leaves_while_the_claim_waits() {
    for consents in [true, false] {
        let mut services = TestServices::with_policy(
            Settings::default(),
            POLICY,
            RateLimits { concurrency: 1, ..RATE_LIMITS },
        );
        services.consent_all(2).await;
        sleep(2 * DAY).await;
        services.model().settings_mut().latency = Duration::from_secs(20);
        services.start(false).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(services.starts(0).len(), 1, "the slot is occupied");
        services.model().settings_mut().latency = Duration::ZERO;
        let refresher = services.refresher.clone().unwrap();
        if consents {
            services.consent(1).await;
        } else {
            assert!(refresher.forget(&services.id(1)).await.unwrap());
        }
        let after = services.context.store.find(services.id(1)).await.unwrap();
        assert_eq!(after.is_some(), consents);
        sleep(HOUR / 2).await;
        assert_eq!(services.context.store.find(services.id(1)).await.unwrap(), after);
        assert!(services.starts(1).is_empty(), "a refresh was sent for a deleted grant");
        assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn refreshes_go_by_least_life_left_at_the_configured_rate() {
    let pace = RateLimits { concurrency: 4, per_second: 2.0 };
    let settings = Settings { people: Person::some(40), ..Settings::default() };
    let mut services = TestServices::with_policy(settings, POLICY, pace);
    for person in 0..40 {
        let days = if person % 2 == 0 { 14 } else { 10 };
        services.model().settings_mut().access_lifetime = days * DAY;
        services.consent(person).await;
        sleep(MINUTE).await;
    }
    sleep(3 * DAY).await;
    services.model().settings_mut().latency = Duration::from_millis(300);
    services.start(false).await;
    sleep(30 * MINUTE).await;
    let mut order: Vec<(Duration, usize)> = (0..40).map(|p| (services.starts(p)[0], p)).collect();
    order.sort();
    let odd_first = order.iter().take(20).all(|(_, person)| person % 2 == 1);
    assert!(odd_first, "those with ten-day tokens go first: {order:?}");
    for (earlier, later) in order.iter().zip(order.iter().skip(1)) {
        assert!(later.0 - earlier.0 >= Duration::from_millis(499), "{earlier:?} {later:?}");
    }
    assert!(services.model().counters().most_in_flight <= 4);
}

#[tokio::test(start_paused = true)]
async fn concurrent_refreshes_never_exceed_the_configured_number() {
    let settings = Settings { people: Person::some(100), ..Settings::default() };
    let mut services =
        TestServices::with_policy(settings, POLICY, RateLimits { concurrency: 7, per_second: 0.0 });
    services.consent_all(100).await;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(1);
    services.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(services.model().counters().most_in_flight, 7);
    assert_eq!(services.model().counters().refreshes.renewed, 100);
}

#[tokio::test(start_paused = true)]
async fn a_pass_longer_than_the_sleep_continues_without_piling_up() {
    let settings = Settings { people: Person::some(300), ..Settings::default() };
    let policy = Policy { sleep: MINUTE, ..POLICY };
    let mut services =
        TestServices::with_policy(settings, policy, RateLimits { concurrency: 4, per_second: 1.0 });
    services.consent_all(300).await;
    sleep(2 * DAY).await;
    services.start(false).await;
    sleep(10 * MINUTE).await;
    let counters = services.model().counters();
    assert_eq!(counters.refreshes.attempts, 300, "each exactly once");
    assert_eq!(counters.most_in_flight_for_one_token, 1);
}

#[tokio::test(start_paused = true)]
async fn the_slowest_rate_serves_all_persons_in_turn() {
    let mut services = TestServices::with_policy(
        Settings::default(),
        POLICY,
        RateLimits { concurrency: 16, per_second: 0.01 },
    );
    services.consent_all(6).await;
    sleep(2 * DAY).await;
    services.start(false).await;
    sleep(HOUR / 2).await;
    assert_eq!(services.model().counters().refreshes.attempts, 6);
    for person in 0..6 {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed, "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_the_schedule_continues() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent_all(3).await;
    sleep(10 * HOUR).await;
    services.stop().await;
    sleep(HOUR).await;
    services.start(false).await;
    sleep(12 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, 0, "a start refreshes no young token");
    sleep(3 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 3);
}

#[tokio::test(start_paused = true)]
async fn refresh_at_start_refreshes_every_grant_of_any_age() {
    let mut services = TestServices::new(Settings::default());
    services.consent_all(3).await;
    services.start(true).await;
    sleep(MINUTE).await;
    let counters = services.model().counters();
    assert_eq!(counters.refreshes.attempts, 3);
    assert_eq!(counters.refreshes.unchanged, 3, "inside the window Webex changes nothing");
    sleep(12 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.attempts, 3, "only once");
}

#[tokio::test(start_paused = true)]
async fn new_settings_take_effect_at_the_next_start() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent(0).await;
    sleep(HOUR).await;
    services.stop().await;
    services.context.policy = Policy { max_age: 5 * DAY, ..POLICY };
    services.start(false).await;
    sleep(4 * DAY + 20 * HOUR).await;
    assert!(services.starts(0).is_empty());
    sleep(6 * HOUR).await;
    assert_eq!(services.starts(0).len(), 1);
    services.stop().await;
    services.context.policy = POLICY;
    services.start(false).await;
    sleep(26 * HOUR).await;
    assert_eq!(services.starts(0).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_the_refresh_and_its_commit() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    let before = services.grant(0).await;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(10);
    services.start(false).await;
    sleep(Duration::from_secs(1)).await;
    services.stop().await;
    let after = services.grant(0).await;
    assert_ne!(after.tokens.access_token, before.tokens.access_token);
    assert_eq!(after.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_refresh_is_sent_again_when_its_lease_ends() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().settings_mut().latency = Duration::from_secs(10);
    services.start(false).await;
    sleep(Duration::from_secs(1)).await;
    services.kill().await;
    services.model().settings_mut().latency = Duration::ZERO;
    services.start(false).await;
    sleep(MINUTE).await;
    assert_eq!(services.starts(0).len(), 1, "no other refresh is sent before the lease ends");
    sleep(4 * MINUTE).await;
    assert_eq!(services.starts(0).len(), 2);
    assert!(services.is_live(0).await);
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed);
    assert_eq!(services.model().counters().refreshes.unchanged, 1, "the first one had reached Webex");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_longer_than_the_tokens_life_loses_no_token_and_causes_no_burst() {
    let policy = Policy { sleep: 30 * DAY, ..POLICY };
    let settings = Settings { noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    let mut services = TestServices::with_policy(settings, policy, RATE_LIMITS);
    services.start(false).await;
    services.consent(0).await;
    for _ in 0..30 * 24 {
        sleep(HOUR).await;
        assert!(services.is_live(0).await, "at {}", services.now());
    }
    let starts = services.starts(0).len();
    assert!((60..=130).contains(&starts), "{starts} refreshes in 30 days of 12-hour tokens");
}
