//! Failures of Webex: no token is lost, Webex is not hammered, and no grant is blamed for them.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use webex_sim::Model;
use webex_sim::Person;
use webex_sim::RefreshToken;
use webex_sim::Settings;
use webex_sim::model::DeadText;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::verdict::Outcome;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::lifetimes;

fn fault(person: Option<usize>, kind: FaultKind) -> Fault {
    Fault { on: Endpoint::AccessToken, person, times: None, kind }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_days_loses_no_token() {
    let mut services = TestServices::new(Settings { people: Person::some(20), ..Settings::default() });
    services.start(false).await;
    services.consent_all(20).await;
    services.model().fault(fault(None, FaultKind::Unavailable { status: 503, html: true }));
    sleep(5 * DAY).await;
    let during = services.model().counters().refreshes.attempts;
    assert!(during < 600, "{during} tries in five days for 20 persons behind one breaker");
    services.model().clear_faults();
    let mut soonest = Duration::MAX;
    for person in 0..20 {
        soonest = soonest.min(services.grant(person).await.next.due_at.until(services.now()));
    }
    sleep(soonest + 10 * MINUTE).await;
    assert_eq!(
        services.refresher.as_ref().unwrap().pause(),
        None,
        "the next probe detects the end of the outage"
    );
    // Retries are up to six hours apart, plus a jitter of up to a fifth.
    sleep(7 * HOUR + 12 * MINUTE).await;
    for person in 0..20 {
        let grant = services.grant(person).await;
        assert_eq!(grant.status, GrantStatus::Active);
        assert_eq!(grant.failures, 0, "person {person} is fresh again");
        assert!(services.is_live(person).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_counts_consecutive_failures() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().fault(fault(None, FaultKind::Unavailable { status: 503, html: false }));
    capture_thread_logs();
    services.start(false).await;
    sleep(10 * MINUTE).await;
    let heard = captured_logs();
    let lines = heard.iter().map(|(_, text)| text).filter(|text| text.contains(" outcome=transient "));
    let says: Vec<&str> =
        lines.filter_map(|text| text.split_once(": refresh ")?.1.split(" (").next()).collect();
    assert_eq!(says[..3], ["failed once", "failed 2 times in a row", "failed 3 times in a row"], "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn every_broken_response_leaves_the_old_token_in_place() {
    let kinds = [
        FaultKind::OkHtml,
        FaultKind::OkNoToken,
        FaultKind::OkEmpty,
        FaultKind::OkBrokenJson,
        FaultKind::OkHuge(100_000),
        FaultKind::Redirect("https://evil.test/".to_owned()),
        FaultKind::ResetBefore,
        FaultKind::CutAfterHeaders,
        FaultKind::Unavailable { status: 500, html: false },
        FaultKind::Unavailable { status: 408, html: false },
        FaultKind::Hang,
    ];
    for kind in kinds {
        let mut services = TestServices::new(Settings::default());
        services.consent(0).await;
        let before = services.grant(0).await;
        sleep(2 * DAY).await;
        services.model().fault(fault(None, kind.clone()));
        services.start(false).await;
        sleep(10 * MINUTE).await;
        let grant = services.grant(0).await;
        assert_eq!(grant.tokens, before.tokens, "{kind:?}");
        assert_eq!(grant.status, GrantStatus::Active, "{kind:?}");
        assert_eq!(grant.last.outcome, Outcome::Transient, "{kind:?}");
        let tries = services.starts(0).len();
        assert!((2..=5).contains(&tries), "{kind:?}: {tries} tries in ten minutes");
        services.model().clear_faults();
        sleep(HOUR).await;
        assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed, "{kind:?}");
    }
}

/// The text of the last refresh of each of three persons, as stored and as their readers get it.
async fn words_of_all(services: &TestServices, outcomes: &mut BTreeSet<&'static str>) -> Vec<String> {
    let (refresher, mut told) = (services.refresher.clone().unwrap(), Vec::new());
    for person in 0..3 {
        let last = services.grant(person).await.last;
        outcomes.insert(last.outcome.as_str());
        told.push(last.detail);
        let given = refresher.token(&services.id(person), MINUTE).await;
        told.extend(given.err().map(|why| why.to_string()));
    }
    told
}

#[tokio::test(start_paused = true)]
async fn no_log_line_and_no_stored_text_has_a_secret_whatever_webex_answers() {
    let echo = |model: &Model| {
        let words = model.secrets_issued().join(" ");
        let body = format!("{{\"error\":\"odd\",\"error_description\":\"{words}\"}}").into_bytes();
        FaultKind::Raw { status: 400, headers: Vec::new(), body }
    };
    let kinds = [
        FaultKind::OkHtml,
        FaultKind::OkBrokenJson,
        FaultKind::ResetBefore,
        FaultKind::Client401,
        FaultKind::TooMany429 { retry_after: None },
        FaultKind::Locked423 { retry_after: None },
        FaultKind::Status400Dead(DeadText::RefreshToken),
        FaultKind::Unavailable { status: 503, html: true },
    ];
    let mut outcomes = BTreeSet::new();
    for kind in kinds.map(Some).into_iter().chain([None]) {
        let settings =
            Settings { access_lifetime: 25 * HOUR, people: Person::some(3), ..Settings::default() };
        let mut services = TestServices::new(settings);
        services.consent_all(3).await;
        sleep(DAY + MINUTE).await;
        let kind = kind.unwrap_or_else(|| echo(&services.model()));
        // Two good responses come first: a new token, and the same one again.
        capture_thread_logs();
        services.start(false).await;
        sleep(MINUTE).await;
        let refresher = services.refresher.clone().unwrap();
        outcomes
            .insert(refresher.refresh_now(&services.id(0), true).await.unwrap().grant.last.outcome.as_str());
        services.model().fault(fault(None, kind.clone()));
        let mut told = Vec::new();
        for _ in 0..3 {
            sleep(10 * HOUR).await;
            told.extend(words_of_all(&services, &mut outcomes).await);
        }
        let lines = captured_logs();
        assert!(lines.iter().any(|(_, line)| line.contains(" token_hash=")), "{kind:?}: {lines:?}");
        told.extend(lines.into_iter().map(|(_, line)| line));
        let mut secrets = services.model().secrets_issued();
        secrets.push(services.model().settings().client_secret.clone());
        assert!(secrets.len() > 6, "{}", secrets.len());
        for secret in secrets {
            let leak = told.iter().find(|text| text.contains(&secret));
            assert!(leak.is_none(), "{kind:?}: {secret} is in {leak:?}");
        }
        services.stop().await;
    }
    let all = ["busy", "client_refused", "consent_needed", "renewed", "transient", "unchanged"];
    assert!(all.iter().all(|word| outcomes.contains(word)), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_at_most_twenty_seconds_for_a_hanging_webex() {
    let mut services = TestServices::new(Settings::default());
    services.consent_all(2).await;
    sleep(30 * DAY).await;
    services.model().fault(fault(None, FaultKind::Hang));
    services.start(false).await;
    let (refresher, begun) = (services.refresher.clone().unwrap(), Instant::now());
    assert!(refresher.token(&services.id(0), MINUTE).await.is_err());
    assert!(begun.elapsed() <= Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dead_grant_serves_its_live_token_is_probed_a_few_times_and_revived_by_consent() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent_all(2).await;
    services.model().revoke_person(0);
    sleep(2 * DAY).await;
    let grant = services.grant(0).await;
    assert_eq!(grant.status, GrantStatus::ConsentNeeded);
    assert!(grant.life_left(services.now()) > DAY, "the access token is still valid and still stored");
    sleep(60 * DAY).await;
    let tries = services.starts(0).len();
    assert!((4..=7).contains(&tries), "{tries} tries in 60 days");
    assert_eq!(services.grant(1).await.status, GrantStatus::Active);
    services.consent(0).await;
    assert_eq!(services.grant(0).await.status, GrantStatus::Active);
    sleep(3 * DAY).await;
    assert!(services.starts(0).len() > tries);
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_client_secret_ends_no_consent() {
    let mut services = TestServices::new(Settings { people: Person::some(50), ..Settings::default() });
    services.start(false).await;
    services.consent_all(50).await;
    services.model().change_client_secret("another");
    sleep(3 * DAY).await;
    let during = services.model().counters().refreshes.attempts;
    assert!(during < 450, "{during} tries in two days for 50 persons: each once, then one in nine minutes");
    for person in 0..50 {
        assert_eq!(services.grant(person).await.status, GrantStatus::Active);
    }
    let secret = Settings::default().client_secret;
    services.model().change_client_secret(&secret);
    sleep(8 * HOUR).await;
    for person in 0..50 {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_401_for_one_person_only_ends_that_grant_only() {
    let mut services = TestServices::new(Settings { people: Person::some(10), ..Settings::default() });
    services.start(false).await;
    services.consent_all(10).await;
    services.model().fault(fault(Some(3), FaultKind::Client401));
    // Once a day, the others are accepted between two of its refusals.
    sleep(3 * DAY).await;
    assert_eq!(services.grant(3).await.status, GrantStatus::ConsentNeeded);
    for person in (0..10).filter(|p| *p != 3) {
        let grant = services.grant(person).await;
        assert_eq!(grant.last.outcome, Outcome::Renewed, "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_obeyed_for_all_persons() {
    let mut services = TestServices::new(Settings { people: Person::some(30), ..Settings::default() });
    services.consent_all(30).await;
    sleep(2 * DAY).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("1800".to_owned()) };
    services.model().fault(fault(None, kind));
    services.model().settings_mut().latency = Duration::from_millis(100);
    services.start(false).await;
    sleep(10 * MINUTE).await;
    let before = services.model().counters().refreshes.attempts;
    assert!(before <= 17, "only refreshes already in flight, and a probe: {before}");
    services.model().clear_faults();
    sleep(19 * MINUTE).await;
    assert_eq!(
        services.model().counters().refreshes.attempts,
        before,
        "nothing is sent while Webex asks to wait"
    );
    sleep(2 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 30);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_refresh_does_not_delay_others() {
    let policy = webex_tokend::domain::schedule::Policy {
        sleep: Duration::from_secs(10),
        max_age: Duration::from_secs(10),
        noop_window: Duration::ZERO,
        ..POLICY
    };
    let mut services = TestServices::with_policy(
        Settings { noop_window: Duration::ZERO, ..Settings::default() },
        policy,
        RATE_LIMITS,
    );
    services.start(false).await;
    services.consent_all(3).await;
    services.model().fault(fault(Some(0), FaultKind::Hang));
    sleep(20 * MINUTE).await;
    for person in 1..3 {
        let starts = services.starts(person);
        let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_secs(21), "person {person} waited {longest:?}");
    }
    assert_eq!(services.model().counters().most_in_flight_for_one_token, 1);
}

#[tokio::test(start_paused = true)]
async fn at_the_token_limit_no_refresh_is_tried_for_hours() {
    let mut services = TestServices::new(Settings::default());
    services.start(false).await;
    services.consent_all(2).await;
    services.model().fault(fault(Some(0), FaultKind::TokenLimit));
    sleep(3 * DAY).await;
    let tries = services.starts(0).len();
    assert!((6..=9).contains(&tries), "{tries} tries in two days");
    assert_eq!(services.grant(0).await.status, GrantStatus::Active);
    assert_eq!(services.grant(1).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn every_wording_of_a_dead_refresh_token_ends_the_grant() {
    for text in
        [DeadText::RefreshToken, DeadText::InvalidGrant, DeadText::InvalidRefreshToken, DeadText::Scope]
    {
        let mut services = TestServices::new(Settings::default());
        services.consent(0).await;
        sleep(2 * DAY).await;
        services.model().fault(fault(None, FaultKind::Status400Dead(text)));
        services.start(false).await;
        sleep(9 * MINUTE).await;
        let state = services.grant(0).await.state(services.now());
        assert_eq!(state, GrantState::Retrying, "{text:?}: the refusal is not confirmed yet");
        sleep(4 * MINUTE).await;
        assert_eq!(services.grant(0).await.status, GrantStatus::ConsentNeeded, "{text:?}");
        assert_eq!(services.starts(0).len(), 2, "{text:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rotated_refresh_token_is_stored_before_the_old_one_is_dropped() {
    let settings = Settings { refresh_token: RefreshToken::Rotating, ..Settings::default() };
    let mut services = TestServices::new(settings);
    services.start(false).await;
    services.consent_all(3).await;
    sleep(60 * DAY).await;
    for person in 0..3 {
        assert_eq!(services.grant(person).await.status, GrantStatus::Active);
        assert!(services.is_live(person).await);
    }
    assert_eq!(services.model().counters().refreshes.refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_is_retried_and_loses_no_token() {
    let mut services = TestServices::new(Settings::default());
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().fault(Fault { times: Some(3), ..fault(None, FaultKind::ProcessedButLost) });
    services.start(false).await;
    sleep(30 * MINUTE).await;
    let grant = services.grant(0).await;
    assert_eq!(grant.failures, 0);
    assert!(services.is_live(0).await);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_near_the_end_of_a_tokens_life_is_survived() {
    let settings = Settings { noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    // So many that all refreshes pause.
    let mut services = TestServices::new(Settings { people: Person::some(8), ..settings });
    services.start(false).await;
    services.consent_all(8).await;
    let mut paused = 0;
    for _ in 0..40 {
        services.model().fault(fault(None, FaultKind::Unavailable { status: 502, html: false }));
        sleep(HOUR).await;
        paused += u32::from(services.refresher.as_ref().unwrap().pause().is_some());
        services.model().clear_faults();
        sleep(12 * MINUTE).await;
        for person in 0..8 {
            assert!(services.is_live(person).await, "person {person} at {}", services.now());
        }
    }
    assert!(paused >= 3, "{paused}");
}
