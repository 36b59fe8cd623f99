//! The pace after an outage: it grows for dead and dying tokens until Webex answers 429, and for no others.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::refresh::RateLimits;

use super::after_an_outage;
use crate::support::time::DAY;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;

const FIVE_A_SECOND: RateLimits = RateLimits { per_second: 5.0, ..RATE_LIMITS };

/// `EVENT_LOOP_CATCH_UP_PER_SECOND` of these tests.
const MOST: f64 = 50.0;

/// Starts the loop with calls of 50 ms and a pace that may grow. Returns the time of the start.
async fn start(services: &mut TestServices) -> Duration {
    services.model().settings_mut().latency = Duration::from_millis(50);
    services.catch_up = MOST;
    services.start(false).await;
    services.now().since(START)
}

/// How many refreshes started in each second after `began`, of these persons.
fn per_second(services: &TestServices, persons: std::ops::Range<usize>, began: Duration) -> Vec<usize> {
    let mut counts = Vec::new();
    for start in persons.flat_map(|person| services.starts(person)).filter(|start| *start >= began) {
        let second = usize::try_from((start - began).as_secs()).unwrap();
        counts.resize(counts.len().max(second + 1), 0);
        counts[second] += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn dead_tokens_are_refreshed_at_a_pace_that_grows_to_the_limit() {
    let mut services = after_an_outage(1500, FIVE_A_SECOND).await;
    let began = start(&mut services).await;
    sleep(30 * SECOND).await;
    let backlog = services.refresher.as_ref().unwrap().backlog().unwrap();
    assert!(backlog.per_second.is_some_and(|rate| rate > 15.0), "the estimate follows the pace: {backlog:?}");
    sleep(MINUTE).await;
    let counts = per_second(&services, 0..1500, began);
    assert!(counts.len() < 60, "at five a second it would take 300: {counts:?}");
    assert!(counts[0] <= 6, "{counts:?}");
    assert!(counts.iter().all(|count| *count <= 51), "{counts:?}");
    assert!(counts.windows(2).all(|pair| pair[1] <= pair[0] + 5), "step by step: {counts:?}");
    assert!(counts.iter().filter(|count| **count >= 49).count() >= 10, "{counts:?}");
    for person in [0, 700, 1499] {
        assert!(services.is_live(person).await);
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_only_old_keep_to_the_configured_rate() {
    let mut services = after_an_outage(0, FIVE_A_SECOND).await;
    services.model().settings_mut().people = webex_sim::Person::some(300);
    services.consent_all(300).await;
    sleep(2 * DAY).await;
    let began = start(&mut services).await;
    sleep(2 * MINUTE).await;
    let counts = per_second(&services, 0..300, began);
    assert!(counts.iter().all(|count| *count <= 6), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn old_tokens_go_first_at_the_configured_rate_and_then_the_pace_grows() {
    let mut services = after_an_outage(1000, FIVE_A_SECOND).await;
    services.model().settings_mut().people = webex_sim::Person::some(1100);
    for person in 1000..1100 {
        services.consent(person).await;
    }
    sleep(2 * DAY).await;
    let began = start(&mut services).await;
    sleep(3 * MINUTE).await;
    let (dead, old) = (per_second(&services, 0..1000, began), per_second(&services, 1000..1100, began));
    assert!(old.len() <= 22 && old.iter().all(|count| *count <= 6), "{old:?}");
    assert!(dead.len() < 60, "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn a_429_halves_the_pace_and_the_configured_rate_stays() {
    let mut services = after_an_outage(2500, FIVE_A_SECOND).await;
    let began = start(&mut services).await;
    sleep(30 * SECOND).await;
    let kind = FaultKind::TooMany429 { retry_after: None };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind });
    sleep(40 * SECOND).await;
    let counts = per_second(&services, 0..2500, began);
    assert!(counts[25..29].iter().all(|count| *count >= 48), "{counts:?}");
    assert!(counts[32..60].iter().all(|count| (23..=27).contains(count)), "{counts:?}");
    assert!(counts[64..68].iter().all(|count| (26..=38).contains(count)), "it grows again: {counts:?}");
}

/// The first persons have dead tokens. The tokens of the others live, and become old half a minute after the loop has started.
/// Returns when it started, which is now.
async fn start_with_dead_and_old_tokens(dead: usize, old: usize) -> (TestServices, Duration) {
    let mut services = after_an_outage(dead, FIVE_A_SECOND).await;
    services.model().settings_mut().people = webex_sim::Person::some(dead + old);
    for person in dead..dead + old {
        services.consent(person).await;
        sleep(Duration::from_millis(20)).await;
    }
    sleep(DAY - 30 * SECOND).await;
    let began = start(&mut services).await;
    (services, began)
}

#[tokio::test(start_paused = true)]
async fn old_tokens_that_wait_for_the_configured_rate_hold_up_no_dead_ones() {
    let (services, began) = start_with_dead_and_old_tokens(3500, 90).await;
    sleep(75 * SECOND).await;
    let (dead, old) = (per_second(&services, 0..3500, began), per_second(&services, 3500..3590, began));
    assert_eq!(old.iter().sum::<usize>(), 90, "{old:?}");
    assert!(old.len() < 66 && old.iter().all(|count| *count <= 6), "{old:?}");
    assert!(dead[25..70].iter().all(|count| *count >= 40), "{dead:?}");
    assert!(dead.iter().all(|count| *count <= 51), "{dead:?}");
}

#[tokio::test(start_paused = true)]
async fn old_tokens_whose_calls_hang_hold_up_no_dead_ones() {
    let limits = RateLimits { per_second: 0.25, ..RATE_LIMITS };
    let mut services = after_an_outage(3500, limits).await;
    services.model().settings_mut().people = webex_sim::Person::some(3510);
    for person in 3500..3510 {
        services.consent(person).await;
        let (on, kind) = (Endpoint::AccessToken, FaultKind::Hang);
        services.model().fault(Fault { on, person: Some(person), times: None, kind });
    }
    sleep(DAY - 300 * SECOND).await;
    let began = start(&mut services).await;
    sleep(400 * SECOND).await;
    let dead = per_second(&services, 0..3500, began);
    let by_half_minute: Vec<usize> = dead[270..390].chunks(30).map(|half| half.iter().sum()).collect();
    assert!(by_half_minute.iter().all(|count| *count >= 50), "{by_half_minute:?}");
}

#[tokio::test(start_paused = true)]
async fn refreshes_of_old_tokens_that_operators_request_hold_up_no_reader_of_a_dead_one() {
    let (services, began) = start_with_dead_and_old_tokens(3000, 60).await;
    // Before they are due, so that the loop does not refresh them.
    sleep(25 * SECOND).await;
    let refresher = services.refresher.clone().unwrap();
    let mut operators = JoinSet::new();
    for person in 3000..3060 {
        let (refresher, id) = (refresher.clone(), services.id(person));
        operators.spawn(async move { refresher.refresh_now(&id, true).await });
    }
    sleep(SECOND).await;
    let asked_at = services.now();
    assert!(refresher.token(&services.id(2999), Duration::ZERO).await.is_ok());
    assert!(services.now().since(asked_at) <= SECOND, "{:?}", services.now().since(asked_at));
    sleep(20 * SECOND).await;
    let old = per_second(&services, 3000..3060, began);
    assert!(old.iter().all(|count| *count <= 6), "{old:?}");
}

#[tokio::test(start_paused = true)]
async fn a_place_among_old_tokens_is_estimated_by_the_configured_rate() {
    let (services, began) = start_with_dead_and_old_tokens(3000, 1000).await;
    sleep(38 * SECOND).await;
    let refresher = services.refresher.clone().unwrap();
    let place = async |person| {
        let place = refresher.queue_place(&services.grant(person).await).await.unwrap().unwrap();
        (place.ahead, place.at.unwrap().since(services.now()))
    };
    let pace = refresher.backlog().unwrap().per_second;
    assert!(pace.is_some_and(|pace| pace > 10.0), "{pace:?} since {began:?}");
    let (ahead, old) = place(3950).await;
    assert!((600..=950).contains(&ahead), "{ahead}");
    let at_five_a_second = SECOND * u32::try_from(ahead).unwrap() / 5;
    assert!(old >= at_five_a_second - SECOND && old <= at_five_a_second * 11 / 10, "{old:?} for {ahead}");
    let (ahead, dead) = place(2999).await;
    assert!(
        dead > at_five_a_second && dead < SECOND * u32::try_from(ahead).unwrap() / 5,
        "{dead:?} for {ahead}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_all_refreshes_ends_a_higher_pace_and_begins_its_probes_at_once() {
    let mut services = after_an_outage(2500, FIVE_A_SECOND).await;
    let began = start(&mut services).await;
    sleep(30 * SECOND).await;
    let kind = FaultKind::Unavailable { status: 503, html: true };
    services.model().fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    sleep(3 * SECOND).await;
    let refresher = services.refresher.clone().unwrap();
    assert!(refresher.pause().is_some(), "the first probe follows after a second, and fails");
    services.model().clear_faults();
    sleep(30 * SECOND).await;
    assert!(refresher.pause().is_none());
    let counts = per_second(&services, 0..2500, began);
    let ended = (33..60).find(|second| counts[*second] > 2).unwrap();
    assert!(counts[25..29].iter().all(|count| *count >= 48), "{counts:?}");
    assert!(counts[ended..].windows(2).all(|pair| pair[1] <= pair[0] + 5), "step by step again: {counts:?}");
    assert!(counts[ended] <= 8, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn an_import_that_webex_answers_with_429_halves_the_pace() {
    let mut services = after_an_outage(2500, FIVE_A_SECOND).await;
    let began = start(&mut services).await;
    sleep(30 * SECOND).await;
    services.refresher.as_ref().unwrap().slow_down_after_bulk_call(10 * SECOND);
    sleep(30 * SECOND).await;
    let counts = per_second(&services, 0..2500, began);
    assert!(counts[25..29].iter().all(|count| *count >= 48), "{counts:?}");
    assert!(counts[32..58].iter().all(|count| (23..=27).contains(count)), "{counts:?}");
}
