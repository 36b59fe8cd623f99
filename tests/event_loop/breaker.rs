//! The brain above the grants: one alert, one probe, and what is left of it after a restart.

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
use webex_tokend::domain::grant::Standing;
use webex_tokend::domain::grant::State;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::Came;
use webex_tokend::store::Note;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::MoodyStore;
use crate::support::faulty_store::NOTES;
use crate::support::heard_here;
use crate::support::intercept_store::Verb;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::PACE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;
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

impl World {
    fn cause(&self) -> Option<Cause> {
        self.refresher.as_ref().unwrap().pause().map(|pause| pause.cause)
    }

    fn attempts(&self) -> u64 {
        self.model().counters().refreshes.attempts
    }
}

/// Persons who are all due, and a loop that has not begun.
async fn due(persons: usize) -> World {
    let world = World::new(settings(persons));
    world.consents(persons).await;
    sleep(2 * DAY).await;
    world
}

#[tokio::test(start_paused = true)]
async fn two_hundred_refused_persons_are_one_alert() {
    let mut world = due(200).await;
    world.model().settings_mut().latency = SECOND;
    listen_here();
    world.start(false).await;
    world.model().change_client_secret("another");
    sleep(30 * MINUTE).await;
    let heard = heard_here();
    let at = |level| heard.iter().filter(|(at, _)| *at == level).map(|(_, text)| text).collect::<Vec<_>>();
    assert!(at(Level::Error).len() == 1, "{:?}", at(Level::Error));
    assert!(at(Level::Error)[0].contains("MY_APP_SECRET_ID"));
    let (all, persons): (Vec<_>, Vec<_>) =
        at(Level::Warn).into_iter().partition(|text| text.contains("still pause"));
    assert!(persons.len() <= 2, "the first two, before it is known: {persons:?}");
    assert!(all.len() <= 3, "once in ten minutes: {all:?}");
    for person in 0..200 {
        assert_eq!(world.grant(person).await.standing, Standing::Alive);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_for_two_hundred_persons_is_one_alert_and_a_handful_of_warnings() {
    let mut world = due(200).await;
    world.model().fault(fault(None, down()));
    listen_here();
    world.start(false).await;
    sleep(10 * MINUTE).await;
    let heard = heard_here();
    let count = |level| heard.iter().filter(|(at, _)| *at == level).count();
    assert_eq!(count(Level::Error), 1, "{heard:?}");
    assert!(count(Level::Warn) <= 5, "the persons before it was known: {heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_webex_asked_for_survives_a_restart() {
    let mut world = due(30).await;
    world.model().fault(fault(None, wait("7200")));
    world.model().settings_mut().latency = SECOND;
    world.start(false).await;
    sleep(MINUTE).await;
    world.model().clear_faults();
    let before = world.attempts();
    for _ in 0..5 {
        world.kill().await;
        sleep(5 * MINUTE).await;
        world.start(false).await;
        assert_eq!(world.cause(), Some(Cause::Busy));
        sleep(15 * MINUTE).await;
    }
    assert_eq!(world.attempts(), before, "nothing is sent before Webex allows it");
    sleep(HOUR).await;
    assert_eq!(world.model().counters().refreshes.renewed, 30);
    assert_eq!(world.cause(), None);
    assert_eq!(world.store.recall(Note::Breaker).await, Ok(Some("closed".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn an_outage_keeps_its_step_over_restarts() {
    let mut world = due(30).await;
    world.model().fault(fault(None, down()));
    world.start(false).await;
    sleep(3 * HOUR).await;
    let before = world.attempts();
    for _ in 0..12 {
        world.stop().await;
        world.start(false).await;
        sleep(10 * MINUTE).await;
    }
    assert!(world.attempts() - before <= 16, "nine minutes between probes: {}", world.attempts() - before);
}

/// Persons who were all due, and a loop that ended after its secret was refused for so long.
async fn refused(persons: usize, span: Duration) -> World {
    let mut world = due(persons).await;
    world.start(false).await;
    world.model().change_client_secret("another");
    sleep(span).await;
    assert_eq!(world.cause(), Some(Cause::ClientRefused));
    world.stop().await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_new_client_secret_is_tried_at_once_after_the_restart() {
    let mut world = refused(30, 12 * HOUR).await;
    // Every start reads the secret anew, as Webex has it.
    world.start(false).await;
    assert_eq!(world.cause(), Some(Cause::ClientRefused), "shown until it is known to be over");
    sleep(MINUTE).await;
    assert_eq!(world.cause(), None);
    assert!(world.model().counters().refreshes.renewed >= 15, "all but those in their own back-off");
}

#[tokio::test(start_paused = true)]
async fn a_new_client_secret_is_tried_at_once_even_if_nobody_is_due_for_hours() {
    let mut world = refused(2, 2 * DAY).await;
    let until = |grant: Grant| grant.next.due_at.until(world.now());
    let soonest = until(world.grant(0).await).min(until(world.grant(1).await));
    assert!(soonest > 2 * MINUTE, "{soonest:?}");
    world.start(false).await;
    sleep(MINUTE).await;
    assert_eq!((world.cause(), world.model().counters().refreshes.renewed), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn the_only_person_may_be_tried_again_after_a_pause_without_a_loop() {
    let mut world = due(1).await;
    world.model().fault(Fault { times: Some(1), ..fault(None, wait("60")) });
    world.start(false).await;
    sleep(10 * SECOND).await;
    world.kill().await;
    let text = world.store.recall(Note::Breaker).await.unwrap().unwrap();
    assert!(text.starts_with("open busy "), "{text}");
    let refresher = world.refresher.clone().unwrap();
    let sent = world.attempts();
    for _ in 0..4 {
        sleep(10 * SECOND).await;
        refresher.renew(&world.id(0), true).await.unwrap();
    }
    assert_eq!(world.attempts(), sent, "not before its time, however much somebody insists");
    sleep(11 * SECOND).await;
    let report = refresher.renew(&world.id(0), true).await.unwrap();
    assert_eq!((report.came, world.cause()), (Came::Renewed, None), "{}", report.detail);
    assert_eq!(world.store.recall(Note::Breaker).await, Ok(Some("closed".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_only_person_ends_a_pause_that_is_over() {
    let mut world = due(1).await;
    sleep(11 * DAY + 23 * HOUR).await;
    world.model().fault(Fault { times: Some(1), ..fault(None, wait("60")) });
    world.start(false).await;
    sleep(10 * SECOND).await;
    world.kill().await;
    let (refresher, sent) = (world.refresher.clone().unwrap(), world.attempts());
    sleep(5 * MINUTE).await;
    let given = refresher.token(&world.id(0), DAY).await.unwrap();
    assert_eq!((given.short, world.cause(), world.attempts()), (false, None, sent + 1));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_or_is_of_a_wrong_clock_holds_nobody() {
    let future = world_time_text("busy", 400 * DAY);
    for text in ["", "nonsense", "open busy w x y z", &future] {
        let mut world = due(3).await;
        world.store.remember(Note::Breaker, text.to_owned()).await.unwrap();
        world.start(false).await;
        sleep(MINUTE).await;
        assert_eq!(world.model().counters().refreshes.renewed, 3, "{text:?}");
    }
}

fn world_time_text(cause: &str, ahead: Duration) -> String {
    let since = crate::support::virtual_time::DAWN + ahead;
    format!("open {cause} {since} {since} {} 3", (since + HOUR).0, since = since.0)
}

#[tokio::test(start_paused = true)]
async fn the_note_is_written_when_the_breaker_turns_and_not_otherwise() {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), settings(30), POLICY, PACE);
    world.consents(30).await;
    sleep(2 * DAY).await;
    world.start(false).await;
    sleep(3 * DAY).await;
    assert_eq!(store.asked(&[Verb::Remember]), 1, "the policy's only");
    world.model().fault(fault(None, down()));
    sleep(2 * DAY).await;
    world.model().clear_faults();
    sleep(2 * DAY).await;
    let opened = store.asked(&[Verb::Remember]) - 1;
    assert!((200..700).contains(&opened), "{opened}: one for each probe that failed, one for the end");
    sleep(5 * DAY).await;
    assert_eq!(store.asked(&[Verb::Remember]) - 1, opened);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_no_notes_does_not_stop_the_breaker() {
    let store = MoodyStore::new();
    let mut world = World::on(store.clone(), settings(30), POLICY, PACE);
    world.consents(30).await;
    sleep(2 * DAY).await;
    store.fails(&NOTES, StoreError::ReadOnly);
    world.model().fault(fault(None, wait("7200")));
    world.start(false).await;
    sleep(HOUR).await;
    assert_eq!(world.cause(), Some(Cause::Busy));
    assert!(world.attempts() <= 16, "{}", world.attempts());
    store.is_well();
    sleep(HOUR).await;
    let text = world.store.recall(Note::Breaker).await.unwrap().unwrap();
    assert!(text.starts_with("open busy"), "it is kept when the store is well again: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_kept_but_for_a_probe_in_each_quarter_of_the_least_life_left() {
    let short = Settings { noop_window: Duration::ZERO, ..lifetimes(12 * HOUR, 60 * DAY) };
    let mut world = World::new(Settings { people: Person::some(3), ..short });
    world.consents(3).await;
    sleep(11 * HOUR).await;
    world.model().fault(fault(None, wait("18000")));
    world.start(false).await;
    sleep(MINUTE).await;
    let before = world.attempts();
    assert!(before <= 4, "{before}");
    sleep(13 * MINUTE).await;
    assert_eq!(world.attempts(), before, "an hour is left: nothing before a quarter of it");
    sleep(40 * MINUTE).await;
    let probes = world.attempts() - before;
    assert!((3..=9).contains(&probes), "{probes} probes in forty minutes");
    world.model().clear_faults();
    sleep(6 * MINUTE).await;
    for person in 0..3 {
        assert_eq!(world.grant(person).await.last.outcome, Outcome::Renewed, "person {person}");
        assert!(world.is_live(person).await, "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_absurd_wish_is_cut_to_six_hours() {
    let mut world = due(2).await;
    world.model().fault(Fault { times: Some(1), ..fault(None, wait("31536000")) });
    world.start(false).await;
    sleep(6 * HOUR - MINUTE).await;
    assert!(world.attempts() <= 2, "{}", world.attempts());
    sleep(2 * HOUR).await;
    assert_eq!(world.model().counters().refreshes.renewed, 2);
}

#[tokio::test(start_paused = true)]
async fn live_tokens_are_served_and_consents_are_kept_while_it_is_open() {
    let mut world = due(10).await;
    world.model().fault(fault(None, wait("7200")));
    world.start(false).await;
    sleep(10 * MINUTE).await;
    assert_eq!(world.cause(), Some(Cause::Busy));
    let refresher = world.refresher.clone().unwrap();
    for person in 0..10 {
        let given = refresher.token(&world.id(person), MINUTE).await.unwrap();
        assert!(!given.short, "person {person}");
    }
    world.model().clear_faults();
    let before = world.grant(0).await;
    world.consent(0).await;
    assert_ne!(world.grant(0).await.tokens, before.tokens);
    assert_eq!(world.grant(0).await.state(world.now()), State::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_401_of_one_person_is_not_told_as_a_need_of_consent_before_it_is_theirs_and_then_once() {
    let mut world = World::new(settings(10));
    world.start(false).await;
    world.consents(10).await;
    world.model().fault(fault(Some(3), FaultKind::Client401));
    listen_here();
    let mut seen = Vec::new();
    for _ in 0..10 * 24 * 60 {
        sleep(MINUTE).await;
        let grant = world.grant(3).await;
        let now = (grant.state(world.now()), grant.last.outcome, grant.standing);
        if grant.last.outcome != Outcome::Renewed && seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    let states: Vec<State> = seen.iter().map(|(state, ..)| *state).collect();
    assert_eq!(states[0], State::Retrying, "{seen:?}");
    assert!(states[1..].iter().all(|state| *state == State::ConsentNeeded), "{seen:?}");
    let told = |seen: &(State, Outcome, Standing)| {
        seen.1 == if seen.0 == State::Retrying { Outcome::ClientRefused } else { Outcome::ConsentNeeded }
    };
    assert!(seen.iter().all(told), "{seen:?}");
    let alerts = heard_here().into_iter().filter(|(_, text)| text.contains("refreshes pause until"));
    assert_eq!(alerts.count(), 0, "one person's trouble is no alert");
    for person in (0..10).filter(|person| *person != 3) {
        let grant = world.grant(person).await;
        assert_eq!((grant.failures, grant.last.outcome), (0, Outcome::Renewed), "person {person}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_polls_a_bad_grant_does_not_keep_it_open() {
    let mut world = due(40).await;
    world.model().fault(fault(None, down()));
    world.start(false).await;
    sleep(5 * MINUTE).await;
    assert_eq!(world.cause(), Some(Cause::ManyFailing));
    world.model().clear_faults();
    world.model().fault(fault(Some(0), down()));
    let (refresher, bad) = (world.refresher.clone().unwrap(), world.id(0));
    refresher.renew(&bad, true).await.unwrap();
    for _ in 0..2 * 60 * 12 {
        sleep(5 * SECOND).await;
        let _ = refresher.renew(&bad, true).await;
    }
    for person in 1..40 {
        let grant = world.grant(person).await;
        assert_eq!(grant.last.outcome, Outcome::Renewed, "person {person}");
    }
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Transient);
}

#[tokio::test(start_paused = true)]
async fn a_healthy_person_who_is_asked_for_may_be_the_probe() {
    let mut world = World::new(settings(3));
    world.consent(0).await;
    sleep(2 * DAY).await;
    world.model().fault(Fault { times: Some(1), ..fault(None, wait("600")) });
    world.start(false).await;
    sleep(MINUTE).await;
    world.consent(1).await;
    world.model().fault(Fault { times: Some(1), ..fault(None, wait("600")) });
    let refresher = world.refresher.clone().unwrap();
    refresher.renew(&world.id(1), true).await.unwrap();
    assert_eq!((world.starts(1).len(), world.cause()), (1, Some(Cause::Busy)));
    world.consent(2).await;
    refresher.renew(&world.id(2), true).await.unwrap();
    assert_eq!((world.starts(2).len(), world.cause()), (0, Some(Cause::Busy)), "one in half a minute");
    sleep(31 * SECOND).await;
    refresher.renew(&world.id(2), true).await.unwrap();
    assert_eq!((world.starts(2).len(), world.cause()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn probes_go_round_so_that_one_bad_grant_holds_up_nobody() {
    // The bad one has the least life left, and everybody has failed.
    let mut world = World::new(Settings { noop_window: Duration::ZERO, ..lifetimes(DAY, 60 * DAY) });
    world.start(false).await;
    world.consents(6).await;
    world.model().settings_mut().access_lifetime = 12 * HOUR;
    world.consent(0).await;
    sleep(6 * HOUR).await;
    world.model().fault(fault(None, down()));
    sleep(20 * HOUR).await;
    world.model().clear_faults();
    world.model().fault(fault(Some(0), down()));
    // Tokens that have ended are tried every half hour, and up to a fifth later.
    sleep(37 * MINUTE).await;
    for person in 1..6 {
        assert_eq!(world.grant(person).await.failures, 0, "person {person}");
        assert!(world.is_live(person).await, "person {person}");
    }
}
