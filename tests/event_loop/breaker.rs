//! The circuit breaker: one alert, one probe, and its state after a restart.

use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::breaker::Cause;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::RefreshOutcome;
use webex_tokend::store::MetaKey;
use webex_tokend::store::StoreError;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::META_OPS;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::lifetimes;

fn fault(person: Option<usize>, kind: FaultKind) -> Fault {
    Fault { on: Endpoint::AccessToken, person, times: None, kind }
}

fn settings(persons: usize) -> Settings {
    Settings { people: Person::some(persons), ..Settings::default() }
}

fn wait(seconds: &str) -> FaultKind {
    FaultKind::TooMany429 { retry_after: Some(seconds.to_owned()) }
}

fn down() -> FaultKind {
    FaultKind::Unavailable { status: 503, html: true }
}

impl TestServices {
    fn cause(&self) -> Option<Cause> {
        self.refresher.as_ref().unwrap().pause().map(|pause| pause.cause)
    }

    fn attempts(&self) -> u64 {
        self.model().counters().refreshes.attempts
    }
}

/// Persons whose grants are all due, before the loop starts.
async fn due(persons: usize) -> TestServices {
    let services = TestServices::new(settings(persons));
    services.consent_all(persons).await;
    sleep(2 * DAY).await;
    services
}

#[tokio::test(start_paused = true)]
async fn two_hundred_refused_persons_cause_one_alert() {
    let mut services = due(200).await;
    services.model().settings_mut().latency = SECOND;
    capture_thread_logs();
    services.start(false).await;
    services.model().change_client_secret("another");
    sleep(30 * MINUTE).await;
    let heard = captured_logs();
    let at = |level| heard.iter().filter(|(at, _)| *at == level).map(|(_, text)| text).collect::<Vec<_>>();
    assert!(at(Level::Error).len() == 1, "{:?}", at(Level::Error));
    assert!(at(Level::Error)[0].contains("MY_APP_SECRET_ID"));
    let (all, persons): (Vec<_>, Vec<_>) =
        at(Level::Warn).into_iter().partition(|text| text.contains("still pause"));
    assert!(persons.len() <= 2, "the first two persons, before the breaker opens: {persons:?}");
    assert!(all.len() <= 3, "one probe in ten minutes: {all:?}");
    for person in 0..200 {
        assert_eq!(services.grant(person).await.status, GrantStatus::Active);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_for_two_hundred_persons_causes_one_alert_and_few_warnings() {
    let mut services = due(200).await;
    services.model().fault(fault(None, down()));
    capture_thread_logs();
    services.start(false).await;
    sleep(10 * MINUTE).await;
    let heard = captured_logs();
    let count = |level| heard.iter().filter(|(at, _)| *at == level).count();
    assert_eq!(count(Level::Error), 1, "{heard:?}");
    assert!(count(Level::Warn) <= 5, "only persons before the breaker opened: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_survives_a_restart() {
    let mut services = due(30).await;
    services.model().fault(fault(None, wait("7200")));
    services.model().settings_mut().latency = SECOND;
    services.start(false).await;
    sleep(MINUTE).await;
    services.model().clear_faults();
    let before = services.attempts();
    for _ in 0..5 {
        services.kill().await;
        sleep(5 * MINUTE).await;
        services.start(false).await;
        assert_eq!(services.cause(), Some(Cause::Busy));
        sleep(15 * MINUTE).await;
    }
    assert_eq!(services.attempts(), before, "nothing is sent before Webex allows it");
    sleep(HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 30);
    assert_eq!(services.cause(), None);
    assert_eq!(services.context.store.get_meta(MetaKey::Breaker).await, Ok(Some("closed".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_its_backoff_step_over_restarts() {
    let mut services = due(30).await;
    services.model().fault(fault(None, down()));
    services.start(false).await;
    sleep(3 * HOUR).await;
    let before = services.attempts();
    for _ in 0..12 {
        services.stop().await;
        services.start(false).await;
        sleep(10 * MINUTE).await;
    }
    assert!(
        services.attempts() - before <= 16,
        "at least nine minutes between probes: {}",
        services.attempts() - before
    );
}

/// Persons whose grants were all due, and a loop that ended after its client secret was refused for `span`.
async fn refused(persons: usize, span: Duration) -> TestServices {
    let mut services = due(persons).await;
    services.start(false).await;
    services.model().change_client_secret("another");
    sleep(span).await;
    assert_eq!(services.cause(), Some(Cause::ClientRefused));
    services.stop().await;
    services
}

#[tokio::test(start_paused = true)]
async fn a_new_client_secret_is_tried_at_once_after_a_restart() {
    let mut services = refused(30, 12 * HOUR).await;
    // Every start reads the secret again; Webex knows the same one.
    services.start(false).await;
    assert_eq!(services.cause(), Some(Cause::ClientRefused), "shown until a probe succeeds");
    sleep(MINUTE).await;
    assert_eq!(services.cause(), None);
    assert!(services.model().counters().refreshes.renewed >= 15, "all except those in their own back-off");
}

#[tokio::test(start_paused = true)]
async fn a_new_client_secret_is_tried_at_once_even_if_no_grant_is_due_for_hours() {
    let mut services = refused(2, 2 * DAY).await;
    let until = |grant: Grant| grant.next.due_at.until(services.now());
    let soonest = until(services.grant(0).await).min(until(services.grant(1).await));
    assert!(soonest > 2 * MINUTE, "{soonest:?}");
    services.start(false).await;
    sleep(MINUTE).await;
    assert_eq!((services.cause(), services.model().counters().refreshes.renewed), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_consent_shows_that_the_new_client_secret_is_accepted_and_is_not_probed() {
    let mut services = due(1).await;
    let secret = services.model().settings().client_secret.clone();
    services.start(false).await;
    services.model().change_client_secret("another");
    sleep(MINUTE).await;
    assert_eq!(services.cause(), Some(Cause::ClientRefused));
    services.stop().await;
    services.context.store.forget(services.id(0)).await.unwrap();
    services.model().change_client_secret(&secret);
    services.start(false).await;
    let sent = services.attempts();
    services.consent(0).await;
    sleep(MINUTE).await;
    assert_eq!((services.cause(), services.attempts()), (None, sent), "closed without a refresh");
    assert_eq!(services.context.store.get_meta(MetaKey::Breaker).await, Ok(Some("closed".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn the_only_person_can_be_refreshed_after_a_pause_without_the_loop() {
    let mut services = due(1).await;
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("60")) });
    services.start(false).await;
    sleep(10 * SECOND).await;
    services.kill().await;
    let text = services.context.store.get_meta(MetaKey::Breaker).await.unwrap().unwrap();
    assert!(text.starts_with("open busy "), "{text}");
    let refresher = services.refresher.clone().unwrap();
    let sent = services.attempts();
    for _ in 0..4 {
        sleep(10 * SECOND).await;
        refresher.refresh_now(&services.id(0), true).await.unwrap();
    }
    assert_eq!(services.attempts(), sent, "not early, however often a caller asks");
    sleep(11 * SECOND).await;
    let report = refresher.refresh_now(&services.id(0), true).await.unwrap();
    assert_eq!((report.outcome, services.cause()), (RefreshOutcome::Renewed, None), "{}", report.detail);
    assert_eq!(services.context.store.get_meta(MetaKey::Breaker).await, Ok(Some("closed".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn persons_are_counted_only_after_a_401_or_429() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), settings(30), POLICY, RATE_LIMITS);
    services.consent_all(30).await;
    services.start(false).await;
    sleep(3 * DAY).await;
    let refresher = services.refresher.clone().unwrap();
    refresher.refresh_now(&services.id(0), true).await.unwrap();
    services.model().fault(Fault { times: Some(3), ..fault(Some(0), down()) });
    sleep(2 * DAY).await;
    assert!(services.model().counters().refreshes.renewed > 100);
    assert_eq!(store.asked(&[StoreOp::Totals]), 0);
    services.model().fault(Fault { times: Some(1), ..fault(Some(0), wait("60")) });
    sleep(2 * DAY).await;
    assert_eq!((store.asked(&[StoreOp::Totals]), services.cause()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_count_of_persons_that_hangs_delays_a_result_by_seconds() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), settings(1), POLICY, RATE_LIMITS);
    services.consent_all(1).await;
    sleep(2 * DAY).await;
    store.script(|op, _| match op {
        StoreOp::Totals => StoreFault::DelayReply(HOUR),
        _ => StoreFault::None,
    });
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("60")) });
    services.start(false).await;
    sleep(10 * SECOND).await;
    assert_eq!((services.grant(0).await.last.outcome, services.cause()), (Outcome::Busy, None));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_only_person_ends_an_expired_pause() {
    let mut services = due(1).await;
    sleep(11 * DAY + 23 * HOUR).await;
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("60")) });
    services.start(false).await;
    sleep(10 * SECOND).await;
    services.kill().await;
    let (refresher, sent) = (services.refresher.clone().unwrap(), services.attempts());
    sleep(5 * MINUTE).await;
    let given = refresher.token(&services.id(0), DAY).await.unwrap();
    assert_eq!((given.short, services.cause(), services.attempts()), (false, None, sent + 1));
}

#[tokio::test(start_paused = true)]
async fn unreadable_or_future_breaker_state_delays_no_refresh() {
    let future = breaker_text("busy", 400 * DAY);
    for text in ["", "nonsense", "open busy w x y z", &future] {
        let mut services = due(3).await;
        services.context.store.set_meta(MetaKey::Breaker, text.to_owned()).await.unwrap();
        services.start(false).await;
        sleep(MINUTE).await;
        assert_eq!(services.model().counters().refreshes.renewed, 3, "{text:?}");
    }
}

fn breaker_text(cause: &str, ahead: Duration) -> String {
    let since = START + ahead;
    format!("open {cause} {since} {since} {} 3", (since + HOUR).0, since = since.0)
}

#[tokio::test(start_paused = true)]
async fn breaker_state_is_written_only_when_it_changes() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), settings(30), POLICY, RATE_LIMITS);
    services.consent_all(30).await;
    sleep(2 * DAY).await;
    services.start(false).await;
    sleep(3 * DAY).await;
    assert_eq!(store.asked(&[StoreOp::Remember]), 1, "only the policy is written");
    services.model().fault(fault(None, down()));
    sleep(2 * DAY).await;
    services.model().clear_faults();
    sleep(2 * DAY).await;
    let opened = store.asked(&[StoreOp::Remember]) - 1;
    assert!((200..700).contains(&opened), "{opened}: one write for each failed probe and one for the end");
    sleep(5 * DAY).await;
    assert_eq!(store.asked(&[StoreOp::Remember]) - 1, opened);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_works_when_its_state_cannot_be_stored() {
    let store = FaultyStore::new();
    let mut services = TestServices::with_store(store.clone(), settings(30), POLICY, RATE_LIMITS);
    services.consent_all(30).await;
    sleep(2 * DAY).await;
    store.fail(&META_OPS, StoreError::ReadOnly);
    services.model().fault(fault(None, wait("7200")));
    services.start(false).await;
    sleep(HOUR).await;
    assert_eq!(services.cause(), Some(Cause::Busy));
    assert!(services.attempts() <= 16, "{}", services.attempts());
    store.recover();
    sleep(HOUR).await;
    let text = services.context.store.get_meta(MetaKey::Breaker).await.unwrap().unwrap();
    assert!(text.starts_with("open busy"), "the state is stored when the store works again: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_obeyed_except_for_one_probe_per_quarter_of_the_least_life_left() {
    let short = Settings { noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    let mut services = TestServices::new(Settings { people: Person::some(3), ..short });
    services.consent_all(3).await;
    sleep(11 * HOUR).await;
    services.model().fault(fault(None, wait("18000")));
    services.start(false).await;
    sleep(MINUTE).await;
    let before = services.attempts();
    assert!(before <= 4, "{before}");
    sleep(13 * MINUTE).await;
    assert_eq!(services.attempts(), before, "an hour is left: no probe in its first quarter");
    sleep(40 * MINUTE).await;
    let probes = services.attempts() - before;
    assert!((3..=9).contains(&probes), "{probes} probes in forty minutes");
    services.model().clear_faults();
    sleep(6 * MINUTE).await;
    for person in 0..3 {
        assert_eq!(services.grant(person).await.last.outcome, Outcome::Renewed, "person {person}");
        assert!(services.is_live(person).await, "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn imports_wait_while_webex_asks_the_whole_app_to_wait() {
    let mut services = due(3).await;
    services.start(false).await;
    let refresher = services.refresher.clone().unwrap();
    assert!(refresher.bulk_turn().await.is_ok());
    sleep(DAY).await;
    services.model().fault(fault(None, wait("3600")));
    while services.cause() != Some(Cause::Busy) {
        assert!(services.now() < START + 5 * DAY);
        sleep(MINUTE).await;
    }
    let left = refresher.bulk_turn().await.unwrap_err();
    assert!(left > Duration::ZERO && left <= HOUR, "{left:?}");
    services.model().clear_faults();
    sleep(left + HOUR).await;
    assert!(refresher.bulk_turn().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_absurd_retry_after_is_capped_at_six_hours() {
    let mut services = due(2).await;
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("31536000")) });
    services.start(false).await;
    sleep(6 * HOUR - MINUTE).await;
    assert!(services.attempts() <= 2, "{}", services.attempts());
    sleep(2 * HOUR).await;
    assert_eq!(services.model().counters().refreshes.renewed, 2);
}

#[tokio::test(start_paused = true)]
async fn live_tokens_are_served_and_consents_are_stored_while_the_breaker_is_open() {
    let mut services = due(10).await;
    services.model().fault(fault(None, wait("7200")));
    services.start(false).await;
    sleep(10 * MINUTE).await;
    assert_eq!(services.cause(), Some(Cause::Busy));
    let refresher = services.refresher.clone().unwrap();
    for person in 0..10 {
        let given = refresher.token(&services.id(person), MINUTE).await.unwrap();
        assert!(!given.short, "person {person}");
    }
    services.model().clear_faults();
    let before = services.grant(0).await;
    services.consent(0).await;
    assert_ne!(services.grant(0).await.tokens, before.tokens);
    assert_eq!(services.grant(0).await.state(services.now()), GrantState::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_401_is_reported_as_consent_needed_once_and_only_when_it_is_the_persons_own() {
    let mut services = TestServices::new(settings(10));
    services.start(false).await;
    services.consent_all(10).await;
    services.model().fault(fault(Some(3), FaultKind::Client401));
    capture_thread_logs();
    let mut seen = Vec::new();
    for _ in 0..10 * 24 * 60 {
        sleep(MINUTE).await;
        let grant = services.grant(3).await;
        let now = (grant.state(services.now()), grant.last.outcome, grant.status);
        if grant.last.outcome != Outcome::Renewed && seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    let states: Vec<GrantState> = seen.iter().map(|(state, ..)| *state).collect();
    assert_eq!(states[0], GrantState::Retrying, "{seen:?}");
    assert!(states[1..].iter().all(|state| *state == GrantState::ConsentNeeded), "{seen:?}");
    let told = |seen: &(GrantState, Outcome, GrantStatus)| {
        seen.1 == if seen.0 == GrantState::Retrying { Outcome::ClientRefused } else { Outcome::ConsentNeeded }
    };
    assert!(seen.iter().all(told), "{seen:?}");
    let alerts =
        captured_logs().into_iter().filter(|(_, text)| text.contains("refreshes pause, the next try"));
    assert_eq!(alerts.count(), 0, "a failure of one person is no alert");
    for person in (0..10).filter(|person| *person != 3) {
        let grant = services.grant(person).await;
        assert_eq!((grant.failures, grant.last.outcome), (0, Outcome::Renewed), "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_polls_a_bad_grant_does_not_keep_the_breaker_open() {
    let mut services = due(40).await;
    services.model().fault(fault(None, down()));
    services.start(false).await;
    sleep(5 * MINUTE).await;
    assert_eq!(services.cause(), Some(Cause::ManyFailing));
    services.model().clear_faults();
    services.model().fault(fault(Some(0), down()));
    let (refresher, bad) = (services.refresher.clone().unwrap(), services.id(0));
    refresher.refresh_now(&bad, true).await.unwrap();
    for _ in 0..2 * 60 * 12 {
        sleep(5 * SECOND).await;
        let _ = refresher.refresh_now(&bad, true).await;
    }
    for person in 1..40 {
        let grant = services.grant(person).await;
        assert_eq!(grant.last.outcome, Outcome::Renewed, "person {person}");
    }
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_requested_refresh_of_a_healthy_grant_may_be_the_probe() {
    let mut services = TestServices::new(settings(3));
    services.consent(0).await;
    sleep(2 * DAY).await;
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("600")) });
    services.start(false).await;
    sleep(MINUTE).await;
    services.consent(1).await;
    services.model().fault(Fault { times: Some(1), ..fault(None, wait("600")) });
    let refresher = services.refresher.clone().unwrap();
    refresher.refresh_now(&services.id(1), true).await.unwrap();
    assert_eq!((services.starts(1).len(), services.cause()), (1, Some(Cause::Busy)));
    services.consent(2).await;
    refresher.refresh_now(&services.id(2), true).await.unwrap();
    assert_eq!(
        (services.starts(2).len(), services.cause()),
        (0, Some(Cause::Busy)),
        "one probe in half a minute"
    );
    sleep(31 * SECOND).await;
    refresher.refresh_now(&services.id(2), true).await.unwrap();
    assert_eq!((services.starts(2).len(), services.cause()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn probes_rotate_so_that_one_bad_grant_delays_no_other() {
    // The bad grant has the least life left, and all have failed.
    let mut services =
        TestServices::new(Settings { noop_window: Duration::ZERO, ..lifetimes(DAY, 60 * DAY) });
    services.start(false).await;
    services.consent_all(6).await;
    services.model().settings_mut().access_lifetime = 12 * HOUR;
    services.consent(0).await;
    sleep(6 * HOUR).await;
    services.model().fault(fault(None, down()));
    sleep(20 * HOUR).await;
    services.model().clear_faults();
    services.model().fault(fault(Some(0), down()));
    // Expired tokens are tried every half hour, and up to a fifth later.
    sleep(37 * MINUTE).await;
    for person in 1..6 {
        assert_eq!(services.grant(person).await.failures, 0, "person {person}");
        assert!(services.is_live(person).await, "person {person}");
    }
}
