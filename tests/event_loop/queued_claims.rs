//! Claims that wait for a free slot: a claim whose refresh should no longer be sent is released unchanged.

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
use webex_tokend::refresh::RateLimits;
use webex_tokend::refresh::RefreshOutcome;
use webex_tokend::refresh::RefreshService;
use webex_tokend::store::StoreError;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::TestServices;

/// How long Webex takes for the refresh that the others wait for.
const CALL: Duration = Duration::from_secs(30);

fn wait(seconds: &str) -> FaultKind {
    FaultKind::TooMany429 { retry_after: Some(seconds.to_owned()) }
}

/// One refresh at a time.
fn narrow() -> (TestServices, Arc<FaultyStore>) {
    let store = FaultyStore::new();
    let settings = Settings { people: Person::some(4), ..Settings::default() };
    let policy = Policy { sleep: 10 * SECOND, ..POLICY };
    let services = TestServices::with_store(
        store.clone(),
        settings,
        policy,
        RateLimits { concurrency: 1, per_second: 0.0 },
    );
    (services, store)
}

impl TestServices {
    /// Webex answers this person's next requests in this way.
    fn inject_fault(&self, person: usize, kind: FaultKind) {
        self.model().fault(Fault { on: Endpoint::AccessToken, person: Some(person), times: None, kind });
    }

    /// Returns when the first person's refresh is in flight and its response is decided; those of the others come at
    /// once and succeed.
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

/// The first person's refresh is in flight, with this response if it fails, and the second person's grant is claimed.
/// Returns the second person's grant as it was before.
async fn one_waits(answer: Option<FaultKind>) -> (TestServices, Arc<FaultyStore>, Grant) {
    let (mut services, store) = narrow();
    services.consent_all(2).await;
    sleep(2 * DAY).await;
    let before = services.grant(1).await;
    if let Some(kind) = answer {
        services.inject_fault(0, kind);
    }
    services.start(false).await;
    services.first_call().await;
    assert!(services.grant(1).await.next.due_at > services.now(), "the grant is claimed");
    (services, store, before)
}

/// The first person's refresh is in flight. Webex has since sent a `Retry-After` to two others, and the third person's
/// grant is claimed as the probe. Returns the third person's grant as it was before.
async fn a_probe_waits() -> (TestServices, Arc<FaultyStore>, Grant) {
    let (mut services, store) = narrow();
    services.consent(0).await;
    sleep(15 * SECOND).await;
    services.consent(2).await;
    sleep(12 * HOUR).await;
    services.consent(1).await;
    services.consent(3).await;
    sleep(12 * HOUR - MINUTE).await;
    let before = services.grant(2).await;
    services.start(false).await;
    services.first_call().await;
    for person in [1, 3] {
        services.inject_fault(person, wait("600"));
        let report =
            services.refresher.as_ref().unwrap().refresh_now(&services.id(person), true).await.unwrap();
        assert_eq!(report.outcome, RefreshOutcome::Failed);
    }
    services.model().clear_faults();
    while services.grant(2).await.next == before.next {
        sleep(SECOND).await;
    }
    assert_eq!((services.starts(2).len(), services.model().counters().in_flight), (0, 1));
    (services, store, before)
}

#[tokio::test(start_paused = true)]
async fn a_queued_claim_is_released_at_shutdown_and_not_sent() {
    let (mut services, _, before) = one_waits(None).await;
    services.stop().await;
    assert_eq!(services.grant(0).await.last.outcome, Outcome::Renewed, "the refresh in flight is finished");
    assert!(services.starts(1).is_empty());
    assert_eq!(services.grant(1).await, before);
}

#[tokio::test(start_paused = true)]
async fn readers_see_that_a_queued_claim_was_released() {
    let (mut services, store, before) = one_waits(None).await;
    store.script(
        |op, _| if op == StoreOp::GiveBack { StoreFault::DelayCall(5 * SECOND) } else { StoreFault::None },
    );
    let (cache, id) = (services.context.cache.clone(), services.id(1));
    let reading = async {
        loop {
            cache.get(&id).await.unwrap();
            sleep(SECOND).await;
        }
    };
    tokio::select! {
        () = reading => {}
        () = services.stop() => {}
    }
    assert_eq!(
        *cache.get(&id).await.unwrap().unwrap(),
        before,
        "readers must not see the state before the release"
    );
}

/// The log line about a queued claim that is released.
fn not_refreshed(why: &str, grant: &Grant) -> String {
    let person = &grant.person;
    format!("{person}: not refreshed: {why}; it is due again person={}", person.id)
}

#[tokio::test(start_paused = true)]
async fn when_refreshes_pause_a_queued_claim_is_released_and_sent_as_the_probe() {
    let (services, _, _) = one_waits(Some(wait("600"))).await;
    services.consent(2).await;
    services.inject_fault(2, wait("600"));
    let report = services.refresher.as_ref().unwrap().refresh_now(&services.id(2), true).await.unwrap();
    assert_eq!(report.outcome, RefreshOutcome::Failed);
    assert!(services.starts(1).is_empty(), "a failure of one person");
    capture_thread_logs();
    sleep(CALL + 5 * SECOND).await;
    let line = not_refreshed("refreshes pause", &services.grant(1).await);
    assert!(captured_logs().iter().any(|(_, text)| *text == line), "{line}");
    assert_eq!(services.starts(1).len(), 1, "and the probe follows within seconds");
    assert_eq!(services.grant(1).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn while_a_commit_is_pending_a_queued_claim_is_released() {
    let (services, store, before) = one_waits(None).await;
    store.fail(&[StoreOp::Commit], StoreError::Full);
    sleep(10 * MINUTE).await;
    assert!(services.starts(1).is_empty());
    assert_eq!(services.grant(1).await, before);
    store.recover();
    sleep(2 * MINUTE).await;
    assert_eq!((services.starts(0).len(), services.starts(1).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_queued_claim_is_released_and_claimed_again_before_its_lease_ends() {
    let (services, store, _) = one_waits(None).await;
    capture_thread_logs();
    let claims = store.asked(&[StoreOp::ClaimDue]);
    // The machine is suspended for most of a lease.
    services.clock.suspend(150 * SECOND);
    sleep(CALL + services.context.policy.sleep).await;
    let line = not_refreshed("its claim would end during the call", &services.grant(1).await);
    assert!(captured_logs().iter().any(|(_, text)| *text == line), "{line}");
    assert!(store.asked(&[StoreOp::ClaimDue]) > claims);
    assert_eq!(services.starts(1).len(), 1);
    assert_eq!(services.grant(1).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_released_claim_is_due_as_before_although_the_clock_was_set_back() {
    let (mut services, _, before) = one_waits(None).await;
    services.clock.step(-30 * 86_400_000);
    sleep(CALL / 2).await;
    services.stop().await;
    assert!(services.starts(1).is_empty());
    let after = services.grant(1).await;
    assert_eq!(after.next.due_at, before.next.due_at - 30 * DAY);
    assert_eq!(after.renewed_at, before.renewed_at - 30 * DAY);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_sent_as_soon_as_a_slot_is_free() {
    let (services, _, _) = a_probe_waits().await;
    sleep(CALL).await;
    assert_eq!(services.starts(2).len(), 1);
    assert_eq!(services.grant(2).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_released_probe_does_not_block_the_next() {
    let (services, store, before) = a_probe_waits().await;
    store.fail(&[StoreOp::Commit], StoreError::Full);
    sleep(CALL).await;
    assert!(services.starts(2).is_empty());
    assert_eq!(services.grant(2).await, before);
    store.recover();
    sleep(MINUTE).await;
    assert_eq!(services.starts(2).len(), 1);
    assert_eq!(services.grant(2).await.last.outcome, Outcome::Renewed);
}

#[tokio::test(start_paused = true)]
async fn a_requested_refresh_is_not_sent_if_its_person_consents_while_it_waits() {
    let (mut services, _store) = narrow();
    services.consent_all(2).await;
    sleep(12 * HOUR).await;
    services.start(false).await;
    let refresher = services.refresher.clone().unwrap();
    services.model().settings_mut().latency = CALL;
    let mut renewing = JoinSet::new();
    for person in 0..2 {
        let (refresher, id) = (refresher.clone(), services.id(person));
        renewing.spawn(async move { refresher.refresh_now(&id, true).await });
        sleep(SECOND).await;
    }
    services.model().settings_mut().latency = Duration::ZERO;
    services.consent(1).await;
    while let Some(report) = renewing.join_next().await {
        report.unwrap().unwrap();
    }
    assert_eq!(services.starts(0).len(), 1);
    assert_eq!(services.starts(1).len(), 0, "the new consent's token is seconds old");
}

#[tokio::test(start_paused = true)]
async fn a_requested_refresh_is_not_sent_if_its_person_consents_while_the_grant_is_read() {
    let (mut services, store) = narrow();
    services.consent_all(1).await;
    sleep(12 * HOUR).await;
    services.start(false).await;
    let (refresher, id) = (services.refresher.clone().unwrap(), services.id(0));
    let mut is_first = true;
    store.script(move |op, _| {
        let is_slow = op == StoreOp::Find && std::mem::take(&mut is_first);
        if is_slow { StoreFault::DelayReply(5 * SECOND) } else { StoreFault::None }
    });
    let mut renewing = JoinSet::new();
    renewing.spawn(async move { refresher.refresh_now(&id, true).await });
    sleep(SECOND).await;
    services.consent(0).await;
    renewing.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(services.starts(0).len(), 0, "the new consent's token is seconds old");
}

#[tokio::test(start_paused = true)]
async fn endless_requests_delay_no_due_refresh() {
    let settings = Settings { people: Person::some(41), ..Settings::default() };
    let policy = Policy { sleep: 10 * SECOND, noop_window: Duration::ZERO, ..POLICY };
    let mut services =
        TestServices::with_policy(settings, policy, RateLimits { concurrency: 16, per_second: 1.0 });
    services.consent_all(1).await;
    sleep(2 * DAY - MINUTE).await;
    for person in 1..41 {
        services.consent(person).await;
    }
    services.start(false).await;
    let refresher = services.refresher.clone().unwrap();
    let mut askers = JoinSet::new();
    for person in 1..41 {
        askers.spawn(ask_for_ever(refresher.clone(), services.id(person)));
    }
    sleep(3 * MINUTE).await;
    assert_eq!(services.starts(0).len(), 1, "{:?}", services.grant(0).await.next);
}

async fn ask_for_ever(refresher: Arc<RefreshService>, person: PersonId) {
    loop {
        let _ = refresher.refresh_now(&person, true).await;
        sleep(SECOND / 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_while_a_forced_refresh_reads_the_grant_does_not_end_it() {
    let (mut services, store) = narrow();
    services.consent_all(1).await;
    services.start(false).await;
    sleep(HOUR).await;
    let (refresher, id) = (services.refresher.clone().unwrap(), services.id(0));
    // The forced refresh must read the store.
    services.context.cache.invalidate(&id);
    let mut reads = 0;
    store.script(move |op, _| {
        reads += u32::from(op == StoreOp::Find);
        if op == StoreOp::Find && reads == 1 { StoreFault::DelayCall(2 * SECOND) } else { StoreFault::None }
    });
    let change = async {
        sleep(SECOND).await;
        // For instance the end of another refresh of this person, whose result is stored already.
        services.context.cache.invalidate(&id);
    };
    let (forced, ()) = tokio::join!(refresher.refresh_now(&id, true), change);
    assert_eq!(forced.unwrap().outcome, RefreshOutcome::Unchanged);
}
