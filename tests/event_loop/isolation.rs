//! Isolation of persons: one person or one organization whose refreshes fail, or an outage that ends late, costs no
//! other person a token.

use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::DeadText;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RateLimits;
use webex_tokend::refresh::RefreshOutcome;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::lifetimes;

fn fault(person: Option<usize>, kind: FaultKind) -> Fault {
    Fault { on: Endpoint::AccessToken, person, times: None, kind }
}

fn down() -> FaultKind {
    FaultKind::Unavailable { status: 503, html: true }
}

fn wait_six_hours() -> FaultKind {
    FaultKind::TooMany429 { retry_after: Some("21600".to_owned()) }
}

/// Responses to one person's refreshes, independent of the others'.
fn troubles_of_one() -> [FaultKind; 6] {
    [
        wait_six_hours(),
        FaultKind::Locked423 { retry_after: Some("21600".to_owned()) },
        FaultKind::Client401,
        FaultKind::Status400Dead(DeadText::RefreshToken),
        down(),
        FaultKind::Hang,
    ]
}

/// Persons with tokens of this lifetime who have just consented, and a running loop.
async fn consented(persons: usize, access: Duration) -> TestServices {
    consented_under(POLICY, persons, access).await
}

async fn consented_under(policy: Policy, persons: usize, access: Duration) -> TestServices {
    let settings = Settings {
        people: Person::some(persons),
        noop_window: Duration::ZERO,
        ..lifetimes(access, 60 * DAY)
    };
    let mut services = TestServices::with_policy(settings, policy, RATE_LIMITS);
    services.start(false).await;
    services.consent_all(persons).await;
    services
}

async fn all_live(services: &TestServices, persons: usize) -> bool {
    for person in 0..persons {
        if !services.is_live(person).await {
            return false;
        }
    }
    true
}

fn errors() -> usize {
    captured_logs().iter().filter(|(level, _)| *level == Level::Error).count()
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_within_the_margin_loses_no_token() {
    // Tokens of twelve hours have a margin of 72 minutes. Ten of them are enough.
    for ends_after in [0, 1, 5, 15, 30, 45, 60] {
        for kind in [down(), FaultKind::Hang, FaultKind::Client401, FaultKind::ResetBefore] {
            let services = consented(40, 12 * HOUR).await;
            sleep(9 * HOUR + 49 * MINUTE).await;
            services.model().fault(fault(None, kind.clone()));
            sleep(59 * MINUTE + ends_after * MINUTE).await;
            services.model().clear_faults();
            sleep(10 * MINUTE).await;
            services.model().fault(fault(None, kind.clone()));
            sleep(90 * MINUTE).await;
            assert!(all_live(&services, 40).await, "{kind:?} until {ends_after} minutes into the margin");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_one_hour_need_half_of_their_margin() {
    for ends_after in [0, 1, 2, 3] {
        let services = consented_under(Policy { sleep: 10 * MINUTE, ..POLICY }, 10, HOUR).await;
        sleep(25 * MINUTE).await;
        services.model().fault(fault(None, down()));
        sleep(29 * MINUTE + ends_after * MINUTE).await;
        services.model().clear_faults();
        sleep(3 * MINUTE).await;
        services.model().fault(fault(None, down()));
        sleep(15 * MINUTE).await;
        assert!(all_live(&services, 10).await, "an outage until {ends_after} minutes into the margin");
    }
}

/// Asserts that all these persons except `ill` were refreshed once.
async fn others_are_renewed(services: &TestServices, persons: usize, ill: &[usize], what: &str) {
    for person in (0..persons).filter(|person| !ill.contains(person)) {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed, "person {person}: {what}");
        assert_eq!(services.starts(person).len(), 1, "person {person}: {what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answers_about_one_person_delay_no_other_person() {
    let every = troubles_of_one().into_iter().flat_map(|kind| [0, 3, 5].map(|ill| (kind.clone(), ill)));
    for (kind, ill) in every {
        let mut services = TestServices::new(Settings { people: Person::some(6), ..Settings::default() });
        services.consent_all(6).await;
        sleep(2 * DAY).await;
        services.model().fault(fault(Some(ill), kind.clone()));
        services.start(false).await;
        sleep(MINUTE).await;
        others_are_renewed(&services, 6, &[ill], &format!("{kind:?} for person {ill}")).await;
        let refresher = services.refresher.clone().unwrap();
        let report = refresher.refresh_now(&services.id((ill + 1) % 6), true).await.unwrap();
        assert_ne!(report.outcome, RefreshOutcome::Failed, "{}", report.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn one_person_with_a_retry_after_of_hours_keeps_a_live_token() {
    let services = consented(2, 12 * HOUR).await;
    sleep(10 * HOUR).await;
    services.model().fault(Fault { times: Some(1), ..fault(Some(0), wait_six_hours()) });
    sleep(3 * HOUR).await;
    assert!(all_live(&services, 2).await);
}

#[tokio::test(start_paused = true)]
async fn seven_refused_of_a_hundred_and_twelve_delay_others_by_seconds_without_an_alert() {
    let kinds = [FaultKind::Client401, wait_six_hours()];
    for (kind, stride) in kinds.into_iter().flat_map(|kind| [1, 16].map(|stride| (kind.clone(), stride))) {
        let mut services = TestServices::new(Settings { people: Person::some(112), ..Settings::default() });
        services.consent_all(112).await;
        sleep(2 * DAY).await;
        services.model().settings_mut().latency = Duration::from_millis(50);
        let ill: Vec<usize> = (0..7).map(|n| n * stride).collect();
        let faults = ill.iter().map(|person| fault(Some(*person), kind.clone()));
        faults.for_each(|fault| services.model().fault(fault));
        capture_thread_logs();
        services.start(false).await;
        sleep(20 * SECOND).await;
        others_are_renewed(&services, 112, &ill, &format!("{kind:?}, one in {stride}")).await;
        assert_eq!(errors(), 0, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_all_grants_within_minutes_end_none_and_cause_one_alert() {
    let settings = Settings { people: Person::some(60), ..Settings::default() };
    let mut services = TestServices::new(settings);
    services.start(false).await;
    services.consent_all(60).await;
    sleep(DAY + 12 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 60, "Webex renewed all of them before");
    services.model().fault(fault(None, FaultKind::Status400Dead(DeadText::RefreshToken)));
    capture_thread_logs();
    // Twenty hours after the next refreshes were due.
    sleep(32 * HOUR).await;
    for person in 0..60 {
        let grant = services.grant(person).await;
        assert_eq!(grant.status, GrantStatus::Active, "person {person}");
        assert_ne!(grant.state(services.now()), GrantState::ConsentNeeded);
    }
    assert_eq!(errors(), 1, "{:?}", captured_logs());
    services.model().clear_faults();
    sleep(HOUR).await;
    let renewed = services.model().counters().refreshes.renewed - 60;
    assert!(renewed >= 50, "{renewed}: all except those whose own retry is hours away");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_all_grants_are_final_after_a_day_and_the_end_of_the_pause_is_logged() {
    let mut services = TestServices::new(Settings { people: Person::some(20), ..Settings::default() });
    services.consent_all(20).await;
    sleep(2 * DAY).await;
    services.model().fault(fault(None, FaultKind::Status400Dead(DeadText::RefreshToken)));
    capture_thread_logs();
    services.start(false).await;
    let ended = |line: &&(Level, String)| line.1.contains("Webex has refused all grants for a day");
    sleep(23 * HOUR).await;
    assert_eq!(captured_logs().iter().filter(ended).count(), 0);
    sleep(2 * DAY).await;
    assert_eq!(captured_logs().iter().filter(ended).count(), 1, "{:?}", captured_logs());
    for person in 0..20 {
        assert_eq!(
            services.grant(person).await.state(services.now()),
            GrantState::ConsentNeeded,
            "person {person}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_grant_is_reported_after_a_second_refusal_ten_minutes_later() {
    let mut services = TestServices::new(Settings::default());
    services.consent_all(2).await;
    sleep(2 * DAY).await;
    services.model().revoke_person(0);
    services.start(false).await;
    let mut told_after = Duration::ZERO;
    while services.grant(0).await.status == GrantStatus::Active {
        sleep(SECOND).await;
        told_after += SECOND;
    }
    assert!((10 * MINUTE..=13 * MINUTE).contains(&told_after), "{told_after:?}");
    assert_eq!(services.starts(0).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_downtime_living_tokens_go_before_dead_ones() {
    let settings = Settings { people: Person::some(110), ..lifetimes(HOUR, 60 * DAY) };
    let settings = Settings { noop_window: Duration::ZERO, ..settings };
    let mut services =
        TestServices::with_policy(settings, POLICY, RateLimits { per_second: 2.0, ..RATE_LIMITS });
    for person in 0..80 {
        services.consent(person).await;
    }
    sleep(HOUR).await;
    for person in 80..110 {
        services.consent(person).await;
    }
    sleep(HOUR - 40 * SECOND).await;
    services.start(false).await;
    sleep(40 * SECOND).await;
    for person in 80..110 {
        assert!(services.is_live(person).await, "person {person}");
    }
    sleep(MINUTE).await;
    assert!(all_live(&services, 110).await, "and the dead tokens after them");
}

#[tokio::test(start_paused = true)]
async fn a_grant_due_while_another_refresh_hangs_is_refreshed_at_once() {
    let settings =
        Settings { people: Person::some(17), noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    let mut services = TestServices::new(settings);
    // As many are due as may be claimed at once, so that the loop claims once more and finds nothing.
    services.consent_all(16).await;
    sleep(11 * HOUR).await;
    services.model().settings_mut().access_lifetime = 40 * SECOND;
    services.consent(16).await;
    services.model().settings_mut().access_lifetime = 12 * HOUR;
    services.model().fault(fault(Some(0), FaultKind::Hang));
    services.start(false).await;
    assert_eq!(services.grant(16).await.next.wake_at.until(services.now()), 20 * SECOND);
    sleep(22 * SECOND).await;
    assert_eq!(services.starts(16).len(), 1, "two seconds after it became due");
}

#[tokio::test(start_paused = true)]
async fn a_grant_due_during_a_long_pass_is_refreshed_in_that_pass() {
    let settings = Settings { people: Person::some(200), ..Settings::default() };
    let mut services =
        TestServices::with_policy(settings, POLICY, RateLimits { concurrency: 4, per_second: 1.0 });
    services.consent_all(200).await;
    sleep(2 * DAY).await;
    // With the least life left, it becomes due a minute after the others.
    services.model().settings_mut().access_lifetime = 2 * HOUR;
    services.model().settings_mut().noop_window = Duration::ZERO;
    services.consent(199).await;
    let due = services.grant(199).await.next.due_at;
    sleep(due.until(services.now()) - MINUTE).await;
    services.start(false).await;
    sleep(MINUTE + 30 * SECOND).await;
    assert_eq!(services.starts(199).len(), 1, "half a minute after it became due, although 100 others wait");
}

/// One refresh at a time, and persons whose calls hang until their tokens end, twelve hours after the beginning. `other`
/// consents `late`, to a token that ends ten seconds later than theirs, and `trouble` is that person's own until `ends`.
/// Whether the token is renewed all the same.
async fn is_renewed_among_hanging_calls(late: Duration, trouble: Option<FaultKind>, ends: Duration) -> bool {
    const HANGING: usize = 14;
    let (other, witness) = (HANGING, HANGING + 1);
    let settings = Settings {
        people: Person::some(HANGING + 2),
        noop_window: Duration::ZERO,
        ..lifetimes(12 * HOUR, 60 * DAY)
    };
    let mut services =
        TestServices::with_policy(settings, POLICY, RateLimits { concurrency: 1, per_second: 20.0 });
    services.start(false).await;
    let refresher = services.refresher.clone().unwrap();
    services.consent_all(HANGING).await;
    services.consent(witness).await;
    let hang = |services: &TestServices| {
        (0..HANGING).for_each(|person| services.model().fault(fault(Some(person), FaultKind::Hang)));
    };
    hang(&services);
    let (witness_id, begun) = (services.id(witness), services.now());
    let passed = |services: &TestServices| services.now().since(begun);
    while passed(&services) < 12 * HOUR + MINUTE {
        if services.context.store.find(services.id(other)).await.unwrap().is_none()
            && passed(&services) >= late
        {
            let left = 12 * HOUR + 10 * SECOND - passed(&services);
            services.model().settings_mut().access_lifetime = left;
            services.consent(other).await;
            services.model().settings_mut().access_lifetime = 12 * HOUR;
            trouble.iter().for_each(|kind| services.model().fault(fault(Some(other), kind.clone())));
        }
        if passed(&services) >= ends {
            services.model().clear_faults();
            hang(&services);
        }
        // Its success tells the breaker that Webex is well.
        let witnessed = refresher.refresh_now(&witness_id, true);
        let (_, report) = tokio::join!(sleep(2 * MINUTE), witnessed);
        report.unwrap();
    }
    services.is_live(other).await
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_with_less_life_left_starve_no_healthy_grant() {
    for late in [Duration::ZERO, 5 * HOUR, 10 * HOUR + 40 * MINUTE] {
        assert!(is_renewed_among_hanging_calls(late, None, 12 * HOUR).await, "consent after {late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_with_less_life_left_starve_no_grant_whose_own_trouble_ends() {
    let ends = 11 * HOUR + 10 * MINUTE;
    assert!(is_renewed_among_hanging_calls(Duration::ZERO, Some(down()), ends).await);
}

#[tokio::test(start_paused = true)]
async fn a_failing_tenant_and_a_long_outage_lose_no_other_persons_token() {
    let refused = FaultKind::Status400Dead(DeadText::InvalidGrant);
    let locked = FaultKind::Locked423 { retry_after: Some("21600".to_owned()) };
    // Not 429: a `Retry-After` confirmed by two persons is obeyed, except for a probe in each quarter of the least life
    // left.
    let kinds = [refused, locked, FaultKind::Client401, down()];
    let every = kinds.into_iter().flat_map(|kind| [10, 30, 50].map(|late| (kind.clone(), late)));
    for (kind, late) in every {
        // The failing grants have the least life left.
        let settings = Settings {
            people: Person::some(40),
            noop_window: Duration::ZERO,
            ..lifetimes(12 * HOUR, 60 * DAY)
        };
        let mut services = TestServices::new(settings);
        services.start(false).await;
        services.consent_all(30).await;
        sleep(30 * SECOND).await;
        for person in 30..40 {
            services.consent(person).await;
        }
        sleep(9 * HOUR + 49 * MINUTE).await;
        services.model().fault(fault(None, down()));
        sleep(59 * MINUTE + late * MINUTE).await;
        services.model().clear_faults();
        (0..30).for_each(|person| services.model().fault(fault(Some(person), kind.clone())));
        sleep(10 * MINUTE).await;
        for person in 30..40 {
            assert!(services.is_live(person).await, "person {person}, {kind:?}, {late} minutes in");
            let grant = services.grant(person).await;
            assert!(grant.age(services.now()) < 11 * MINUTE, "person {person}, {kind:?}, {late} minutes in");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_retry_after_following_an_outage_delays_no_other_person() {
    for (ill, late) in (0..6).flat_map(|ill| [5, 8, 11, 40].map(|late| (ill, late))) {
        let mut services = consented(6, 12 * HOUR).await;
        sleep(9 * HOUR + 49 * MINUTE).await;
        services.model().fault(fault(None, down()));
        sleep(59 * MINUTE + late * MINUTE).await;
        services.model().clear_faults();
        services.model().fault(fault(Some(ill), wait_six_hours()));
        sleep(10 * MINUTE).await;
        for person in (0..6).filter(|person| *person != ill) {
            let grant = services.grant(person).await;
            assert!(
                grant.age(services.now()) < 11 * MINUTE,
                "person {person}, {ill} waits, {late} minutes in"
            );
        }
        services.kill().await;
    }
}
