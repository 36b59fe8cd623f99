//! What must be told and to which sinks, until each of them has taken it.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use tokio::sync::watch;

use crate::domain::notice::News;
use crate::domain::notice::Notice;
use crate::domain::notice::delivery::DeliveryState;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreFuture;
use crate::store::postponed::Postponed;

/// The sink that tells each person of their own consent.
pub const PEOPLE_SINK: &str = "people";

/// Notices that are done are kept for reading so long.
pub const KEEP_DONE_DAYS: u32 = 30;

/// So many notices that are done are kept for reading.
pub const MOST_DONE: u64 = 20_000;

/// Others keep away from claimed deliveries for so long: every notice of a chain in its whole time.
pub const DELIVERY_LEASE: Duration = Duration::from_secs(900);

/// Deliveries of one chain that are claimed together.
pub(super) const MOST_IN_CHAIN: usize = 20;

/// Where the present time comes from for changes that carry none.
pub type Now = Arc<dyn Fn() -> UnixTime + Send + Sync>;

/// What is written to the outbox.
#[derive(Clone)]
pub struct OutboxRules {
    /// Each notice is to be told to each of them; [`PEOPLE_SINK`] is told what persons are told.
    pub sinks: Vec<String>,
    /// The present time.
    pub now: Now,
}

/// The rules in force, the news of new rows, and what a damaged outbox did not take: shared by a store's tasks and
/// threads.
pub(super) struct OutboxContext {
    rules: RwLock<Option<OutboxRules>>,
    news: watch::Sender<()>,
    pub(super) postponed: Postponed,
}

impl Default for OutboxContext {
    fn default() -> Self {
        Self { rules: RwLock::default(), news: watch::Sender::new(()), postponed: Postponed::default() }
    }
}

impl std::fmt::Debug for OutboxContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutboxContext").finish_non_exhaustive()
    }
}

impl OutboxContext {
    pub(super) fn set_rules(&self, rules: OutboxRules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Some(rules);
    }

    /// The sinks that are told this; none where nothing is told at all.
    pub(super) fn sinks_for(&self, notice: &Notice) -> Vec<String> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        let sinks = rules.as_ref().map(|rules| rules.sinks.as_slice()).unwrap_or_default();
        let is_told = |sink: &&String| sink.as_str() != PEOPLE_SINK || notice.kind.is_for_persons();
        sinks.iter().filter(is_told).cloned().collect()
    }

    /// The present time, where rules are set.
    pub(super) fn now(&self) -> Option<UnixTime> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.as_ref().map(|rules| (rules.now)())
    }

    /// Wakes the senders: there may be something to send.
    pub(super) fn changed(&self) {
        self.news.send_replace(());
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }
}

/// What a sender asks for.
#[derive(Clone, Debug)]
pub struct DeliveryAsk {
    /// Whose.
    pub sink: String,
    /// The present time.
    pub now: UnixTime,
    /// What is due by then; later than the present for a probe of a sink that fails.
    pub due_by: UnixTime,
    /// So many chains at most.
    pub chains: usize,
    /// When others may claim the same again.
    pub lease_end: UnixTime,
}

/// One notice that one sink is to be told now.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryClaim {
    /// The notice's number: those of one chain are sent in its order.
    pub number: i64,
    /// What the outcome is checked against.
    pub attempt: i64,
    /// How often it was tried in its turn.
    pub tries: u32,
    /// It was its turn; else it is tried out of turn, to keep the order or to probe the sink, and no try is counted.
    pub in_turn: bool,
    /// What is to be told.
    pub notice: Notice,
}

/// What became of a claimed delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The sink has taken it.
    Sent,
    /// It is to be tried again.
    Again {
        /// When.
        at: UnixTime,
        /// The tries made in its turn.
        tries: u32,
        /// What the sink answered, or why nothing was sent; holds no secret.
        why: String,
    },
    /// It is not tried again.
    GivenUp {
        /// Why; holds no secret.
        why: String,
    },
    /// It is no longer true.
    Outdated,
}

/// A claimed delivery with its outcome.
#[derive(Clone, Debug)]
pub struct SettledDelivery {
    /// See [`DeliveryClaim::number`].
    pub number: i64,
    /// See [`DeliveryClaim::attempt`].
    pub attempt: i64,
    /// What became of it.
    pub outcome: DeliveryOutcome,
}

/// How one sink stands with one notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Whose.
    pub sink: String,
    /// How it stands.
    pub state: DeliveryState,
    /// Tries made in its turn.
    pub tries: u32,
    /// When it is sent or sent again, if it waits; `None` while it waits for others of its type.
    pub next_at: Option<UnixTime>,
    /// When it was done with.
    pub done_at: Option<UnixTime>,
    /// Why it has not been taken.
    pub why: Option<String>,
}

/// A notice and how each sink stands with it.
#[derive(Clone, Debug, PartialEq)]
pub struct NoticeRecord {
    /// Grows with each notice; where a list goes on.
    pub number: i64,
    /// What is told.
    pub notice: Notice,
    /// One for each sink.
    pub deliveries: Vec<Delivery>,
}

/// Which notices to list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct NoticePage {
    /// Only those with a smaller number.
    pub before: Option<i64>,
    /// So many at most.
    pub limit: u32,
    /// Only those that a sink has not taken yet or never took.
    pub failed_only: bool,
}

/// How many notices one sink has in which state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCounts {
    /// Whose.
    pub sink: String,
    /// To be sent, or sent again.
    pub waiting: u64,
    /// Of them, those that failed at least once.
    pub failing: u64,
    /// Given up, as far as they are still kept.
    pub given_up: u64,
    /// When the oldest one that waits became true.
    pub oldest_waiting: Option<UnixTime>,
}

/// The outbox of a store. Rows about grants, keys and the breaker come into it with the changes that make them true;
/// every verb has made its change durable before it answers.
pub trait OutboxStore: Send + Sync {
    /// From now on changes are written to the outbox by these rules. Without rules nothing is.
    fn use_outbox(&self, rules: OutboxRules);

    /// Why the outbox cannot be written, though the rest of the store can; `None` while it can. News wait in memory then.
    fn outbox_trouble(&self) -> Option<String>;

    /// Writes news that have waited in memory. Answers how many.
    fn write_postponed(&self) -> StoreFuture<'_, usize>;

    /// Becomes changed when there may be something new to send.
    fn outbox_news(&self) -> watch::Receiver<()>;

    /// Writes what no change of a grant or key makes true, such as a test. Answers how many notices were new.
    fn tell(&self, news: News) -> StoreFuture<'_, usize>;

    /// The same only if the stored state of `topic` is not `state` yet, which it is from then on. Answers whether it was
    /// another: what is told so is told once.
    fn tell_once(&self, topic: String, state: String, news: News) -> StoreFuture<'_, bool>;

    /// The stored state of a topic.
    fn topic(&self, topic: String) -> StoreFuture<'_, Option<String>>;

    /// Up to `limit` persons whose consent's end may have reached a step that is not told yet.
    fn expiring_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>>;

    /// Tells the end of this person's consent, if a step is due. Answers whether it was. A grant that is claimed waits.
    fn tell_expiring(&self, person: PersonId, now: UnixTime) -> StoreFuture<'_, bool>;

    /// Up to `limit` persons whose tokens may be at risk without having been told.
    fn at_risk_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>>;

    /// Tells of those of these persons whose tokens are at risk though no refresh is tried, for this reason. Answers how many
    /// grants were changed. Grants that are claimed wait.
    fn tell_at_risk(&self, persons: Vec<PersonId>, reason: String, now: UnixTime) -> StoreFuture<'_, usize>;

    /// One short step: notices that have waited for others of their type may be sent, or become one digest. Answers
    /// whether another step may have something to do now.
    fn release_held(&self, now: UnixTime) -> StoreFuture<'_, bool>;

    /// Takes deliveries that are due, those of one chain together and in order, and keeps others away from them.
    fn claim_deliveries(&self, ask: DeliveryAsk) -> StoreFuture<'_, Vec<DeliveryClaim>>;

    /// Keeps what became of claimed deliveries, unless their claims are void.
    fn settle_deliveries(
        &self,
        sink: String,
        now: UnixTime,
        settled: Vec<SettledDelivery>,
    ) -> StoreFuture<'_, ()>;

    /// All that waits for this sink, held notices apart, is due now: the sink answers again.
    fn pull_forward(&self, sink: String, now: UnixTime) -> StoreFuture<'_, ()>;

    /// When something is due for this sink, or to be released for all; `None` where nothing waits.
    fn next_delivery(&self, sink: String) -> StoreFuture<'_, Option<UnixTime>>;

    /// When this sink last took a notice about this person.
    fn last_sent(&self, sink: String, person: PersonId) -> StoreFuture<'_, Option<UnixTime>>;

    /// Notices, newest first.
    fn notices(&self, page: NoticePage) -> StoreFuture<'_, Vec<NoticeRecord>>;

    /// Sends a notice again to every sink of now, or to those that gave it up where `only_failed`. `None`: there is no such
    /// notice; else how many sinks are told.
    fn resend(&self, id: String, only_failed: bool, now: UnixTime) -> StoreFuture<'_, Option<usize>>;

    /// What waits and what was given up, for each sink that has rows.
    fn outbox_counts(&self) -> StoreFuture<'_, Vec<SinkCounts>>;

    /// Removes notices that are done and old, or too many; in short steps. Answers whether there may be more.
    fn prune_outbox(&self, now: UnixTime) -> StoreFuture<'_, bool>;
}
