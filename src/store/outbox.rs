//! The outbox: notices, and their deliveries to each sink. A delivery stays until the sink has accepted the notice, or until
//! the daemon has given up.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::domain::notice::Notice;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::delivery::DeliveryState;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreFuture;
use crate::store::postponed::Postponed;

/// The name of the sink that sends each person messages about their own consent.
pub const PEOPLE_SINK: &str = "people";

/// How long notices without waiting deliveries are stored, in days, so that operators can read them.
pub const KEEP_DONE_DAYS: u32 = 30;

/// Minimum time between two messages to one person. A notice that a person got is stored for so long in any case.
pub const PERSON_MESSAGE_INTERVAL: Duration = Duration::from_secs(86_400);

/// Maximum number of notices that are stored, apart from those with waiting deliveries.
pub const MAX_FINISHED: u64 = 20_000;

/// How long a claim on deliveries is valid: long enough for every notice of a queue to take its maximum time.
pub const DELIVERY_LEASE: Duration = Duration::from_secs(900);

/// Maximum number of deliveries that one transaction makes due or ends.
pub(super) const DELIVERY_STEP: usize = 500;

/// Maximum number of deliveries of one queue that are claimed together.
pub(super) const MAX_CLAIMED_PER_QUEUE: usize = 20;

/// Returns the present time, for changes that have no time of their own.
pub type Now = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// The settings of the outbox.
#[derive(Clone)]
pub struct OutboxRules {
    /// The sinks that get each notice. [`PEOPLE_SINK`] gets only the notices for persons.
    pub sinks: Vec<String>,
    /// The present time.
    pub now: Now,
}

/// Receives the events that have become durable, in order. It is called on a thread of the store, so it must be quick.
pub type PublishEvents = Arc<dyn Fn(&[PublishedEvent]) + Send + Sync>;

/// A notice that is no longer held, so that sinks and subscribers get it now.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedEvent {
    /// The notice.
    pub notice: Notice,
    /// Whether operators get a digest in place of this notice.
    pub is_in_digest: bool,
}

/// The name that [`OutboxEntries::delivered`] has for subscribers of events.
pub const SUBSCRIBERS: &str = "events";

/// What the tasks and threads of a store share: the settings of the outbox, the notification of senders, and the notices that
/// wait in memory because the outbox is damaged.
pub(super) struct OutboxContext {
    publisher: RwLock<Option<PublishEvents>>,
    /// Events of the running transaction. They are published when it is durable.
    events: Mutex<Vec<PublishedEvent>>,
    rules: RwLock<Option<OutboxRules>>,
    changes: watch::Sender<()>,
    pub(super) postponed: Postponed,
}

impl Default for OutboxContext {
    fn default() -> Self {
        Self {
            publisher: RwLock::default(),
            events: Mutex::default(),
            rules: RwLock::default(),
            changes: watch::Sender::new(()),
            postponed: Postponed::default(),
        }
    }
}

impl std::fmt::Debug for OutboxContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxContext").finish_non_exhaustive()
    }
}

impl OutboxContext {
    pub(super) fn set_rules(&self, rules: OutboxRules) {
        *self.rules.write() = Some(rules);
    }

    pub(super) fn set_publisher(&self, publisher: PublishEvents) {
        *self.publisher.write() = Some(publisher);
    }

    /// Adds an event of the running transaction.
    pub(super) fn add_event(&self, notice: impl FnOnce() -> Option<Notice>, is_in_digest: bool) {
        if self.publisher.read().is_some()
            && let Some(notice) = notice()
        {
            self.events.lock().push(PublishedEvent { notice, is_in_digest });
        }
    }

    /// Forgets the events of a transaction that was rolled back.
    pub(super) fn discard_events(&self) {
        self.take_events();
    }

    pub(super) fn take_events(&self) -> Vec<PublishedEvent> {
        std::mem::take(&mut *self.events.lock())
    }

    /// Publishes the events of a transaction that is durable.
    pub(super) fn publish(&self, events: &[PublishedEvent]) {
        let publisher = self.publisher.read().clone();
        if let Some(publisher) = publisher.filter(|_| !events.is_empty()) {
            publisher(events);
        }
    }

    /// The names of all sinks that are set.
    pub(super) fn sinks(&self) -> Vec<String> {
        let rules = self.rules.read();
        rules.as_ref().map(|rules| rules.sinks.clone()).unwrap_or_default()
    }

    /// The sinks that get this notice. Empty if no sink is set.
    pub(super) fn sinks_for(&self, notice: &Notice) -> Vec<String> {
        let rules = self.rules.read();
        let sinks = rules.as_ref().map(|rules| rules.sinks.as_slice()).unwrap_or_default();
        let gets_notice = |sink: &&String| sink.as_str() != PEOPLE_SINK || notice.kind.is_for_persons();
        sinks.iter().filter(gets_notice).cloned().collect()
    }

    /// The present time; `None` if the outbox is not used.
    pub(super) fn now(&self) -> Option<UnixTime> {
        let rules = self.rules.read();
        rules.as_ref().map(|rules| (rules.now)())
    }

    /// Wakes the senders, because there may be something to send.
    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// Which deliveries a sender claims.
#[derive(Clone, Debug)]
pub struct DeliveryClaimRequest {
    /// The sink.
    pub sink: String,
    /// The present time.
    pub now: UnixTime,
    /// Only deliveries that are due by this time. A probe of a failing sink passes [`UnixTime::NEVER`].
    pub due_by: UnixTime,
    /// Maximum number of queues.
    pub queues: usize,
    /// When the claim ends.
    pub lease_end: UnixTime,
}

/// A claimed delivery: one notice that a sender must send to one sink now.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryClaim {
    /// The notice's number. The notices of one queue are sent in the order of their numbers.
    pub number: i64,
    /// The number of the claim. An outcome with another number is ignored.
    pub attempt: i64,
    /// The number of tries so far, without those before the delivery was due.
    pub tries: u32,
    /// When the delivery is due according to the steps of its tries.
    pub planned_at: UnixTime,
    /// Whether the delivery is due. If not, it is tried early, to keep the order or to probe the sink, and the try does not
    /// count.
    pub in_turn: bool,
    /// The notice to send.
    pub notice: Notice,
}

/// The outcome of a claimed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The sink accepted the notice.
    Sent,
    /// The delivery must be tried again.
    Again {
        /// When to try again.
        at: UnixTime,
        /// The number of tries so far, without those before the delivery was due.
        tries: u32,
        /// What the sink answered, or why nothing was sent. Contains no secret.
        why: String,
    },
    /// The delivery must not be tried before a time, whatever the state of the sink. The try does not count.
    Postponed {
        /// When it may be tried.
        until: UnixTime,
        /// Why it must wait.
        why: String,
    },
    /// The delivery is not tried again.
    GivenUp {
        /// The reason. Contains no secret.
        why: String,
    },
    /// The delivery was not tried, so it is due now.
    Released,
    /// The notice no longer applies.
    Outdated,
}

/// A claimed delivery with its outcome.
#[derive(Clone, Debug)]
pub struct SettledDelivery {
    /// See [`DeliveryClaim::number`].
    pub number: i64,
    /// See [`DeliveryClaim::attempt`].
    pub attempt: i64,
    /// The outcome.
    pub outcome: DeliveryOutcome,
}

/// The delivery of one notice to one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The sink.
    pub sink: String,
    /// The state.
    pub state: DeliveryState,
    /// The number of tries so far, without those before the delivery was due.
    pub tries: u32,
    /// When the next try is due, if the delivery waits. `None` while the notice is held for a digest.
    pub next_at: Option<UnixTime>,
    /// When the delivery reached a final state.
    pub done_at: Option<UnixTime>,
    /// Why the sink has not accepted the notice.
    pub why: Option<String>,
}

/// A notice and its delivery to each sink.
#[derive(Clone, Debug, PartialEq)]
pub struct NoticeRecord {
    /// The notice's number. It grows with each notice, and serves as the cursor of lists.
    pub number: i64,
    /// The notice.
    pub notice: Notice,
    /// One delivery for each sink.
    pub deliveries: Vec<Delivery>,
}

/// Which notices to list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct NoticePage {
    /// Only notices with a smaller number.
    pub before: Option<i64>,
    /// Maximum number of notices.
    pub limit: u32,
    /// Only notices with a delivery that failed or was given up.
    pub failed_only: bool,
}

/// The number of deliveries to one sink by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// The sink.
    pub sink: String,
    /// Deliveries that wait for their first or next try.
    pub waiting: u64,
    /// Waiting deliveries that failed at least once.
    pub failing: u64,
    /// Deliveries that were given up and whose notice is still stored.
    pub given_up: u64,
    /// The time of the event of the oldest waiting delivery.
    pub oldest_waiting: Option<UnixTime>,
}

/// The outbox of a store. The store adds notices about grants, keys and the breaker in the transaction of the change that they
/// report. Every method returns after its change is durable.
pub trait OutboxStore: Send + Sync {
    /// Turns the outbox on. Before this call, the store writes no notices.
    fn use_outbox(&self, rules: OutboxRules);

    /// Sets the receiver of events. It gets each notice once, when it is no longer held. Without any sink nothing is
    /// held, and there are no digests.
    fn publish_to(&self, publisher: PublishEvents);

    /// Why the outbox cannot be written although the rest of the store can; `None` while it can. Until then notices wait in
    /// memory.
    fn outbox_error(&self) -> Option<String>;

    /// Writes notices that have waited in memory, and proves by a write to each table that the outbox can be written again.
    /// Does nothing while there is no trouble. Returns the number of changes whose notices were written.
    fn write_postponed(&self) -> StoreFuture<'_, usize>;

    /// A receiver that is notified when there may be something new to send.
    fn outbox_changes(&self) -> watch::Receiver<()>;

    /// Adds notices that belong to no change of a grant or key, such as those of a failing store. Returns the number of new
    /// notices.
    fn add(&self, outbox_entries: OutboxEntries) -> StoreFuture<'_, usize>;

    /// Sets the stored state of `topic` to `state`, and adds the notices in the same transaction. Does nothing if the topic has
    /// this state already, so that the notices of a state are added once. Returns whether the state changed.
    fn add_once(&self, topic: String, state: String, outbox_entries: OutboxEntries) -> StoreFuture<'_, bool>;

    /// The stored state of a topic.
    fn topic(&self, topic: String) -> StoreFuture<'_, Option<String>>;

    /// Stores a short text beside the database, where it can be written while the database cannot. An empty text removes it.
    fn set_outage_note(&self, text: String) -> StoreFuture<'_, ()>;

    /// The text of [`OutboxStore::set_outage_note`], if there is one.
    fn outage_note(&self) -> StoreFuture<'_, Option<String>>;

    /// Up to `limit` persons whose consent may need a new `consent.expiring`.
    fn expiring_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>>;

    /// Adds a `consent.expiring` for this person, if a step is due. Returns whether one was added. Skips a claimed grant.
    fn add_expiring_notice(&self, person: PersonId, now: UnixTime) -> StoreFuture<'_, bool>;

    /// Up to `limit` persons whose token may need a `token.at_risk`.
    fn at_risk_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>>;

    /// Adds a `token.at_risk` for each of these persons whose token is at risk. `reason` says why no refresh is tried. Returns
    /// the number of changed grants. Skips claimed grants.
    fn add_at_risk_notices(
        &self,
        persons: Vec<PersonId>,
        reason: String,
        now: UnixTime,
    ) -> StoreFuture<'_, usize>;

    /// Releases held notices of one type whose time is over: they become due, or join a digest. One call is one short
    /// transaction. Returns whether another call may have something to do now.
    fn release_held(&self, now: UnixTime) -> StoreFuture<'_, bool>;

    /// Claims deliveries that are due, those of one queue together and in order.
    fn claim_deliveries(&self, ask: DeliveryClaimRequest) -> StoreFuture<'_, Vec<DeliveryClaim>>;

    /// Stores the outcomes of claimed deliveries. Ignores an outcome whose claim has been replaced.
    fn settle_deliveries(
        &self,
        sink: String,
        now: UnixTime,
        settled: Vec<SettledDelivery>,
    ) -> StoreFuture<'_, ()>;

    /// Makes waiting deliveries to this sink due now, because the sink works again. Leaves out held notices and postponed
    /// deliveries. A try before the planned time does not count. One call is one short step. Returns whether another call may
    /// have something to do.
    fn make_all_due(&self, sink: String, now: UnixTime) -> StoreFuture<'_, bool>;

    /// When the next delivery to this sink is due or the next held notice is released, whichever is earlier. `None` if
    /// neither exists.
    fn next_delivery(&self, sink: String) -> StoreFuture<'_, Option<UnixTime>>;

    /// When this sink last accepted a notice about this person.
    fn last_sent(&self, sink: String, person: PersonId) -> StoreFuture<'_, Option<UnixTime>>;

    /// Notices, newest first.
    fn notices(&self, page: NoticePage) -> StoreFuture<'_, Vec<NoticeRecord>>;

    /// Makes a notice due again for every sink that is set. Returns the number of sinks that get it; `None` if there is no such
    /// notice.
    fn resend(&self, id: String, now: UnixTime) -> StoreFuture<'_, Option<usize>>;

    /// The counts of each sink that has deliveries.
    fn outbox_counts(&self) -> StoreFuture<'_, Vec<SinkCounts>>;

    /// Removes notices without waiting deliveries that are too old or too many, in one short step. Returns whether more may
    /// have to be removed.
    fn prune_outbox(&self, now: UnixTime) -> StoreFuture<'_, bool>;
}
