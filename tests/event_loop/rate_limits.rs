//! Rate limits: many consents in one minute, all grants due at once, passes longer than the sleep.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RateLimits;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;

fn services_for_persons(persons: usize) -> TestServices {
    TestServices::with_policy(
        Settings { people: Person::some(persons), ..Settings::default() },
        POLICY,
        RATE_LIMITS,
    )
}

/// The refresh times of each person. Getting them one by one would copy all counters each time.
fn starts_of_each(services: &TestServices) -> Vec<Vec<Duration>> {
    let people = services.model().counters().people;
    let since_dawn = |ms: &i64| UnixTime(*ms).since(START);
    people.iter().map(|person| person.starts_ms.iter().map(since_dawn).collect()).collect()
}

/// The times at which refreshes started, in order.
fn all_starts(services: &TestServices) -> Vec<Duration> {
    let mut starts = starts_of_each(services).concat();
    starts.sort_unstable();
    starts
}

/// The largest number of starts within one second.
fn most_in_a_second(starts: &[Duration]) -> usize {
    let (mut from, mut most) = (0, 0);
    for (to, start) in starts.iter().enumerate() {
        while *start - starts[from] >= SECOND {
            from += 1;
        }
        most = most.max(to - from + 1);
    }
    most
}

/// `persons` consent within a minute. For `days` days they are refreshed daily, never faster than the rate limit.
async fn mass_consent(persons: usize, days: u32) {
    let mut services = services_for_persons(persons);
    services.start(false).await;
    for person in 0..persons {
        services.consent(person).await;
        sleep(MINUTE / u32::try_from(persons).unwrap()).await;
    }
    sleep(days * DAY + HOUR).await;
    let starts = all_starts(&services);
    let mut passes: Vec<Vec<Duration>> = Vec::new();
    for start in starts {
        match passes.last_mut() {
            Some(pass) if start - *pass.last().unwrap() < HOUR / 2 => pass.push(start),
            _ => passes.push(vec![start]),
        }
    }
    let least = persons as u64 / 20;
    for pass in &passes {
        let (most, width) = (most_in_a_second(pass), *pass.last().unwrap() - pass[0]);
        assert!(most <= 20, "{most} in one second");
        assert!(pass.len() <= persons);
        assert!(pass.len() < persons || width.as_secs() + 1 >= least, "{width:?} for {} starts", pass.len());
    }
    println!(
        "{} passes; starts and seconds of each: {:?}",
        passes.len(),
        passes
            .iter()
            .map(|pass| (pass.len(), (*pass.last().unwrap() - pass[0]).as_secs()))
            .collect::<Vec<_>>()
    );
    let starts = starts_of_each(&services);
    assert_eq!(starts.len(), persons);
    for (person, own) in starts.iter().enumerate() {
        let longest = own.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        assert!(longest <= DAY + HOUR + 3 * MINUTE, "person {person} waited {longest:?}");
        assert!(own.len() >= days as usize * 24 / 25 - 1, "person {person}: {} refreshes", own.len());
    }
    assert_eq!(services.model().counters().most_in_flight_for_one_token, 1);
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_consents_in_one_minute_never_exceed_the_rate_limit() {
    mass_consent(500, 6).await;
}

#[tokio::test(start_paused = true)]
async fn readers_of_hundreds_of_dead_tokens_never_exceed_the_rate_limit() {
    let mut services = services_for_persons(300);
    services.consent_all(300).await;
    sleep(20 * DAY).await;
    services.start(false).await;
    let mut readers = JoinSet::new();
    for person in 0..300 {
        let (refresher, id) = (services.refresher.clone().unwrap(), services.id(person));
        readers.spawn(async move {
            refresher.token(&id, MINUTE).await.map(|given| given.grant.person.id.clone())
        });
    }
    let given = readers.join_all().await.into_iter().filter(Result::is_ok).count();
    assert!(given >= 200, "{given} within the twenty seconds that a reader waits");
    let starts = all_starts(&services);
    assert!(
        starts.len() >= 200 && most_in_a_second(&starts) <= 20,
        "{} in one second",
        most_in_a_second(&starts)
    );
    assert!(starts_of_each(&services).iter().all(|own| own.len() <= 1), "one refresh for each person");
}

#[tokio::test(start_paused = true)]
async fn three_thousand_consents_in_one_minute_stay_spread_out() {
    mass_consent(3000, 3).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "180,000 refreshes: more than a minute without optimization"]
async fn three_thousand_consents_in_one_minute_stay_spread_out_for_sixty_days() {
    mass_consent(3000, 60).await;
}

#[tokio::test(start_paused = true)]
async fn after_long_downtime_live_tokens_go_by_least_life_left_and_dead_tokens_last() {
    let mut services = services_for_persons(400);
    // The later a consent, the sooner its token expires; a hundred are dead after twenty days.
    for person in 0..400 {
        let life = if person < 100 { 10 * DAY } else { 40 * DAY };
        services.model().settings_mut().access_lifetime = life - u32::try_from(person).unwrap() * HOUR;
        services.consent(person).await;
    }
    sleep(20 * DAY).await;
    services.model().settings_mut().latency = Duration::from_millis(200);
    services.start(false).await;
    sleep(MINUTE).await;
    let starts = all_starts(&services);
    assert_eq!(starts.len(), 400);
    assert!(most_in_a_second(&starts) <= 20);
    let mut last = Duration::ZERO;
    // Live tokens by the life they have left, then dead ones.
    for person in (100..400).rev().chain((0..100).rev()) {
        let own = services.starts(person);
        assert!(own.len() == 1 && own[0] >= last, "person {person}: {own:?} after {last:?}");
        last = own[0];
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_step_during_a_long_pass_loses_no_token_and_causes_no_burst() {
    for by in [-86_400_000, 86_400_000, -400 * 86_400_000] {
        let settings = Settings { people: Person::some(200), ..Settings::default() };
        let mut services =
            TestServices::with_policy(settings, POLICY, RateLimits { concurrency: 4, per_second: 1.0 });
        services.consent_all(200).await;
        sleep(2 * DAY).await;
        services.start(false).await;
        sleep(MINUTE).await;
        services.clock.step(by);
        sleep(15 * MINUTE).await;
        let counters = services.model().counters();
        let attempts = counters.refreshes.attempts;
        assert!((200..=460).contains(&attempts), "{attempts} after a step of {by} ms");
        assert_eq!(counters.most_in_flight_for_one_token, 1);
        assert!(most_in_a_second(&all_starts(&services)) <= 1);
        for person in 0..200 {
            assert!(!services.starts(person).is_empty(), "person {person} after a step of {by} ms");
            assert!(services.grant(person).await.renewed_at <= services.now(), "person {person}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_released_and_reclaimed_grant_is_counted_once() {
    let settings = Settings { people: Person::some(4), ..Settings::default() };
    let mut services =
        TestServices::with_policy(settings, POLICY, RateLimits { concurrency: 2, per_second: 0.0 });
    services.consent_all(4).await;
    sleep(2 * DAY).await;
    let fault =
        |person, kind| Fault { on: Endpoint::AccessToken, person: Some(person), times: Some(1), kind };
    for person in [0, 2] {
        services.model().fault(fault(person, FaultKind::TooMany429 { retry_after: Some("1".to_owned()) }));
    }
    services.model().fault(fault(1, FaultKind::Slow(20 * SECOND)));
    services.model().settings_mut().latency = SECOND;
    capture_thread_logs();
    services.start(false).await;
    sleep(30 * SECOND).await;
    let heard: Vec<String> = captured_logs().into_iter().map(|(_, text)| text).collect();
    let given_back = heard.iter().filter(|text| text.contains("refreshes pause; it is due again"));
    assert_eq!(given_back.count(), 1, "{heard:?}");
    let told: Vec<&String> = heard.iter().filter(|text| text.contains(" due: ")).collect();
    let tally = "4 due: 2 renewed, 0 unchanged, 2 failed, 0 in need of consent; sleeping";
    assert!(told.len() == 1 && told[0].contains(tally), "{told:?}");
}
