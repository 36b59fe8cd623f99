//! Claims that wait for their place: what should not go any more is given back, as it was.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::refresh::Came;
use webex_tokend::refresh::Pace;
use webex_tokend::refresh::Refresher;
use webex_tokend::store::StoreError;

use crate::support::faulty_store::Mood;
use crate::support::faulty_store::MoodyStore;
use crate::support::heard_here;
use crate::support::intercept_store::Verb;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::World;

/// How long Webex takes for the call that the others wait for.
const CALL: Duration = Duration::from_secs(30);

fn wait(seconds: &str) -> FaultKind {
    FaultKind::TooMany429 { retry_after: Some(seconds.to_owned()) }
}

/// One call at a time.
fn narrow() -> (World, Arc<MoodyStore>) {
    let store = MoodyStore::new();
    let settings = Settings { people: Person::some(4), ..Settings::default() };
    let policy = Policy { sleep: 10 * SECOND, ..POLICY };
    let world = World::on(store.clone(), settings, policy, Pace { at_once: 1, per_second: 0.0 });
    (world, store)
}

impl World {
    /// This person's next answers are of this kind.
    fn spoil(&self, person: usize, kind: FaultKind) {
        self.model().fault(Fault { on: Endpoint::AccessToken, person: Some(person), times: None, kind });
    }

    /// Returns when the first person's call is under way, whose answer is settled then; the others' come at once, and
    /// are good.
    async fn first_call(&self) {
        self.model().settings_mut().latency = CALL;
        while self.model().counters().in_flight == 0 {
            sleep(SECOND).await;
        }
        assert_eq!(self.starts(0).len(), 1);
        self.model().settings_mut().latency = Duration::ZERO;
        self.model().clear_faults();
    }
}

/// The first person's call is under way, with such an answer if it is no good one; the second one is claimed. And the
/// second one's grant as it was before.
async fn one_waits(answer: Option<FaultKind>) -> (World, Arc<MoodyStore>, Grant) {
    let (mut world, store) = narrow();
    world.consents(2).await;
    sleep(2 * DAY).await;
    let before = world.grant(1).await;
    if let Some(kind) = answer {
        world.spoil(0, kind);
    }
    world.start(false).await;
    world.first_call().await;
    assert!(world.grant(1).await.next.due_at > world.now(), "it is claimed");
    (world, store, before)
}

/// The first person's call is under way. Webex asked two others to wait since, and the third one is claimed as the
/// probe. And the third one's grant as it was before.
async fn a_probe_waits() -> (World, Arc<MoodyStore>, Grant) {
    let (mut world, store) = narrow();
    world.consent(0).await;
    sleep(15 * SECOND).await;
    world.consent(2).await;
    sleep(12 * HOUR).await;
    world.consent(1).await;
    world.consent(3).await;
    sleep(12 * HOUR - MINUTE).await;
    let before = world.grant(2).await;
    world.start(false).await;
    world.first_call().await;
    for person in [1, 3] {
        world.spoil(person, wait("600"));
        let report = world.refresher.as_ref().unwrap().renew(&world.id(person), true).await.unwrap();
        assert_eq!(report.came, Came::Failed);
    }
    world.model().clear_faults();
    while world.grant(2).await.next == before.next {
        sleep(SECOND).await;
    }
    assert_eq!((world.starts(2).len(), world.model().counters().in_flight), (0, 1));
    (world, store, before)
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_daemon_it_is_given_back_and_not_sent() {
    let (mut world, _, before) = one_waits(None).await;
    world.stop().await;
    assert_eq!(world.grant(0).await.last.outcome, Outcome::Renewed, "what is under way is finished");
    assert!(world.starts(1).is_empty());
    assert_eq!(world.grant(1).await, before);
}

#[tokio::test(start_paused = true)]
async fn readers_see_that_it_is_given_back() {
    let (mut world, store, before) = one_waits(None).await;
    store.plans(|verb, _| if verb == Verb::GiveBack { Mood::Slow(5 * SECOND) } else { Mood::Well });
    let (view, id) = (world.view.clone(), world.id(1));
    let reading = async {
        loop {
            view.look(&id).await.unwrap();
            sleep(SECOND).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = world.stop() => {}
    }
    assert_eq!(*view.look(&id).await.unwrap().unwrap(), before, "not what they saw before it was");
}

#[tokio::test(start_paused = true)]
async fn when_refreshes_pause_it_is_given_back_and_sent_as_the_probe() {
    let (world, _, _) = one_waits(Some(wait("600"))).await;
    world.consent(2).await;
    world.spoil(2, wait("600"));
    let report = world.refresher.as_ref().unwrap().renew(&world.id(2), true).await.unwrap();
    assert_eq!(report.came, Came::Failed);
    assert!(world.starts(1).is_empty(), "one person's trouble");
    listen_here();
    sleep(CALL + 5 * SECOND).await;
    let line =
        format!("{}: not refreshed, refreshes pause since; it is due again", world.grant(1).await.person);
    assert!(heard_here().iter().any(|(_, text)| *text == line), "{line}");
    assert_eq!(world.starts(1).len(), 1, "and the probe follows after seconds");
    assert_eq!(world.grant(1).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn while_an_outcome_waits_for_the_store_it_is_given_back() {
    let (world, store, before) = one_waits(None).await;
    store.fails(&[Verb::Commit], StoreError::Full);
    sleep(10 * MINUTE).await;
    assert!(world.starts(1).is_empty());
    assert_eq!(world.grant(1).await, before);
    store.is_well();
    sleep(2 * MINUTE).await;
    assert_eq!((world.starts(0).len(), world.starts(1).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn when_its_lease_is_about_to_end_it_is_given_back_and_claimed_anew() {
    let (world, store, _) = one_waits(None).await;
    listen_here();
    let claims = store.asked(&[Verb::ClaimDue]);
    // The machine sleeps for most of a lease.
    world.clock.suspend(150 * SECOND);
    sleep(CALL + world.policy.sleep).await;
    let line =
        format!("{}: not refreshed, its turn came too late; it is due again", world.grant(1).await.person);
    assert!(heard_here().iter().any(|(_, text)| *text == line), "{line}");
    assert!(store.asked(&[Verb::ClaimDue]) > claims);
    assert_eq!(world.starts(1).len(), 1);
    assert_eq!(world.grant(1).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn though_the_clock_was_set_back_meanwhile_it_is_due_as_it_was() {
    let (mut world, _, before) = one_waits(None).await;
    world.clock.set_by(-30 * 86_400_000);
    sleep(CALL / 2).await;
    world.stop().await;
    assert!(world.starts(1).is_empty());
    let after = world.grant(1).await;
    assert_eq!(after.next.due_at, before.next.due_at - 30 * DAY);
    assert_eq!(after.renewed_at, before.renewed_at - 30 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_sent_as_soon_as_there_is_a_place() {
    let (world, _, _) = a_probe_waits().await;
    sleep(CALL).await;
    assert_eq!(world.starts(2).len(), 1);
    assert_eq!(world.grant(2).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_back_holds_up_no_other_one() {
    let (world, store, before) = a_probe_waits().await;
    store.fails(&[Verb::Commit], StoreError::Full);
    sleep(CALL).await;
    assert!(world.starts(2).is_empty());
    assert_eq!(world.grant(2).await, before);
    store.is_well();
    sleep(MINUTE).await;
    assert_eq!(world.starts(2).len(), 1);
    assert_eq!(world.grant(2).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_asked_for_is_not_sent_when_its_person_consents_while_it_waits() {
    let (mut world, _store) = narrow();
    world.consents(2).await;
    sleep(12 * HOUR).await;
    world.start(false).await;
    let refresher = world.refresher.clone().unwrap();
    world.model().settings_mut().latency = CALL;
    let mut renewing = JoinSet::new();
    for person in 0..2 {
        let (refresher, id) = (refresher.clone(), world.id(person));
        renewing.spawn(async move { refresher.renew(&id, true).await });
        sleep(SECOND).await;
    }
    world.model().settings_mut().latency = Duration::ZERO;
    world.consent(1).await;
    while let Some(report) = renewing.join_next().await {
        report.unwrap().unwrap();
    }
    assert_eq!(world.starts(0).len(), 1);
    assert_eq!(world.starts(1).len(), 0, "the new consent's token is seconds old");
}

#[tokio::test(start_paused = true)]
async fn requests_without_end_hold_up_no_due_refresh() {
    let settings = Settings { people: Person::some(41), ..Settings::default() };
    let policy = Policy { sleep: 10 * SECOND, noop_window: Duration::ZERO, ..POLICY };
    let mut world = World::with(settings, policy, Pace { at_once: 16, per_second: 1.0 });
    world.consents(1).await;
    sleep(2 * DAY - MINUTE).await;
    for person in 1..41 {
        world.consent(person).await;
    }
    world.start(false).await;
    let refresher = world.refresher.clone().unwrap();
    let mut askers = JoinSet::new();
    for person in 1..41 {
        askers.spawn(ask_for_ever(refresher.clone(), world.id(person)));
    }
    sleep(3 * MINUTE).await;
    assert_eq!(world.starts(0).len(), 1, "{:?}", world.grant(0).await.next);
}

async fn ask_for_ever(refresher: Arc<Refresher>, person: PersonId) {
    loop {
        let _ = refresher.renew(&person, true).await;
        sleep(SECOND / 10).await;
    }
}
