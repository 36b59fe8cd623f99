//! A harness for notices in virtual time: a store, and sinks that answer as the test sets and record the notices they accept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::notices::Notices;
use webex_tokend::notices::sink::DeliveryFuture;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::OutgoingNotice;
use webex_tokend::notices::sink::Sink;
use webex_tokend::service_context::ServiceContext;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::tasks::Tasks;
use webex_tokend::webex::Integration;
use webex_tokend::webex::Webex;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::ResponseError;
use webex_tokend::webex::transport::Transport;
use webex_tokend::webex::transport::WebexRequest;

use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::START;
use crate::support::virtual_time::WallClock;

/// The key of webhooks.
pub(super) const WEBHOOK_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A transport that fails every request, because no test here calls Webex.
struct FailingTransport;

impl Transport for FailingTransport {
    fn send(
        &self,
        _: WebexRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>> {
        Box::pin(async { Err(ResponseError("no way".to_owned())) })
    }
}

pub(super) fn webex(clock: &Arc<WallClock>) -> Arc<Webex> {
    let integration = Integration {
        client_id: "C0ffee".to_owned(),
        client_secret: Secret::new("secret".to_owned()),
        redirect_uri: "https://tokens.example.com/oauth".to_owned(),
        scopes: vec!["spark:all".to_owned()],
        base: "https://webex.test/v1".to_owned(),
    };
    Arc::new(Webex::new(integration, Arc::new(FailingTransport), clock.clone()))
}

/// A sink whose answers the test sets.
pub(super) struct TestSink {
    name: String,
    answer: Mutex<DeliveryResult>,
    /// How long a delivery takes.
    pub(super) delay: Mutex<Duration>,
    taken: Mutex<Vec<Notice>>,
    tries: Mutex<BTreeMap<String, u32>>,
    /// Whether the sink refused single notices. Such a notice does not delay later ones, so their order may change.
    refused_single: Mutex<bool>,
}

impl TestSink {
    pub(super) fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            answer: Mutex::new(DeliveryResult::Taken),
            delay: Mutex::new(Duration::ZERO),
            taken: Mutex::default(),
            tries: Mutex::default(),
            refused_single: Mutex::default(),
        })
    }

    pub(super) fn answers(&self, answer: DeliveryResult) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn is_down(&self) {
        self.answers(DeliveryResult::Failed {
            why: "HTTP 503".to_owned(),
            retry_after: None,
            sink_failed: true,
        });
    }

    pub(super) fn taken(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.taken.lock().unwrap()
    }

    pub(super) fn words(&self) -> Vec<&'static str> {
        self.taken().iter().map(|notice| notice.kind.as_str()).collect()
    }

    pub(super) fn has_refused_single_notices(&self) -> bool {
        *self.refused_single.lock().unwrap()
    }

    pub(super) fn tries(&self) -> u32 {
        self.tries.lock().unwrap().values().sum()
    }

    /// The versions of the accepted notices about this person, in the order of arrival.
    pub(super) fn versions(&self, person: &str) -> Vec<u64> {
        let taken = self.taken();
        let theirs = taken.iter().filter(|notice| notice.queue() == person);
        theirs.filter_map(|notice| notice.data.get("n")?.as_u64()).collect()
    }
}

impl Sink for TestSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(async move {
            *self.tries.lock().unwrap().entry(outgoing.notice.id.clone()).or_default() += 1;
            let delay = *self.delay.lock().unwrap();
            sleep(delay).await;
            let answer = self.answer.lock().unwrap().clone();
            if matches!(answer, DeliveryResult::Failed { sink_failed: false, .. }) {
                *self.refused_single.lock().unwrap() = true;
            }
            if answer == DeliveryResult::Taken {
                self.taken().push(outgoing.notice.clone());
            }
            answer
        })
    }

    fn target(&self) -> String {
        self.name.clone()
    }
}

/// The part of a daemon that sends notices.
pub(super) struct NoticeHarness {
    pub(super) store: Arc<dyn OutboxStore>,
    memory: Arc<MemoryStore>,
    pub(super) clock: Arc<WallClock>,
    pub(super) notices: Arc<Notices>,
    tasks: Tasks,
    sinks: Vec<Arc<TestSink>>,
}

impl NoticeHarness {
    pub(super) fn to(sinks: &[&Arc<TestSink>]) -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(WallClock::new(START)));
        Self::on(store, clock, sinks)
    }

    pub(super) fn on(memory: Arc<MemoryStore>, clock: Arc<WallClock>, sinks: &[&Arc<TestSink>]) -> Self {
        Self::with_outbox(memory.clone(), memory, clock, sinks)
    }

    /// Uses this store for the grants.
    pub(super) fn with_grants(
        grants: Arc<dyn Store>,
        memory: Arc<MemoryStore>,
        sinks: &[&Arc<TestSink>],
    ) -> Self {
        Self::of(memory.clone(), grants, memory, Arc::new(WallClock::new(START)), sinks)
    }

    /// Uses the outbox of another store.
    pub(super) fn with_outbox(
        store: Arc<dyn OutboxStore>,
        memory: Arc<MemoryStore>,
        clock: Arc<WallClock>,
        sinks: &[&Arc<TestSink>],
    ) -> Self {
        Self::of(store, memory.clone(), memory, clock, sinks)
    }

    fn of(
        store: Arc<dyn OutboxStore>,
        grants: Arc<dyn Store>,
        memory: Arc<MemoryStore>,
        clock: Arc<WallClock>,
        sinks: &[&Arc<TestSink>],
    ) -> Self {
        let of_trait = sinks.iter().map(|sink| -> Arc<dyn Sink> { (*sink).clone() }).collect();
        let context = ServiceContext::new(grants, webex(&clock), clock.clone(), POLICY);
        let notices = Arc::new(Notices::new(context, store.clone(), memory.clone(), of_trait));
        let tasks = Tasks::new();
        notices.start(&tasks);
        let sinks = sinks.iter().map(|sink| (*sink).clone()).collect();
        Self { store, memory, clock, notices, tasks, sinks }
    }

    /// Stops it as a signal does, and starts it again on the same store.
    pub(super) async fn restart(self) -> Self {
        self.tasks.stop();
        self.tasks.drained().await;
        self.memory.reopen(self.clock.now());
        let sinks = self.sinks.iter().collect::<Vec<_>>();
        Self::on(self.memory.clone(), self.clock.clone(), &sinks)
    }

    /// Like [`NoticeHarness::restart`], with this store for the grants.
    pub(super) async fn restart_with_grants(self, grants: Arc<dyn Store>) -> Self {
        self.tasks.stop();
        self.tasks.drained().await;
        let sinks = self.sinks.iter().collect::<Vec<_>>();
        Self::of(self.memory.clone(), grants, self.memory.clone(), self.clock.clone(), &sinks)
    }

    /// Corrects stored dates, as the event loop does after the clock was set back.
    pub(super) async fn correct_stored_dates(&self) {
        let now = self.clock.now();
        self.memory.clamp_times(now, now).await.unwrap();
    }

    /// Adds a notice about no person, which is not held.
    pub(super) async fn add_unheld(&self, n: u64) {
        let notice = Notice::new(NoticeType::KeyCreated, None, &n.to_string(), self.clock.now());
        self.store.add(OutboxEntries::of(notice)).await.unwrap();
    }

    /// Adds a notice about a person.
    pub(super) async fn add(&self, person: &str, n: u64) {
        let person = Person::known_by(PersonId::parse(person).unwrap());
        let notice = Notice::new(NoticeType::TokenAtRisk, Some(&person), &n.to_string(), self.clock.now());
        self.store.add(OutboxEntries::of(notice.with("n", n))).await.unwrap();
    }
}
