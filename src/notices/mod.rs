//! Delivery of notices: the daemon sends every notice of the outbox to each sink, until the sink accepts it or three days are
//! over.

pub mod command;
mod links;
pub mod mail;
mod sender;
pub mod settings;
pub mod signature;
pub mod sink;
mod store_outage;
mod sweep;
pub mod text;
pub mod webex_sinks;
pub mod webhook;

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;
use crate::grant_cache::Events;
use crate::notices::links::Links;
use crate::notices::sender::Sender;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::Sink;
use crate::service_context::ServiceContext;
use crate::store::StoreError;
use crate::store::history::HistoryStore;
use crate::store::outbox::OutboxRules;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::SinkCounts;
use crate::tasks::Tasks;

pub use crate::store::history::HistoryPage;
pub use crate::store::outbox::Delivery;
pub use crate::store::outbox::NoticePage;
pub use crate::store::outbox::NoticeRecord;

/// Returns the end of the served certificate; `None` if the daemon serves none.
pub type CertificateEnd = Arc<dyn Fn() -> Option<UnixTime> + Send + Sync>;

/// The result of a test notice at one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkTest {
    /// The name of the sink.
    pub sink: String,
    /// Why the test failed, as text for people; `None` if the sink accepted the test.
    pub why: Option<String>,
}

/// The status of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStatus {
    /// Its counts.
    pub counts: SinkCounts,
    /// Whether the settings name the sink. If not, the store has deliveries to it from earlier settings.
    pub is_set: bool,
    /// Whether its receiver has turned it off.
    pub is_off: bool,
}

/// The notices and their sinks.
pub struct Notices {
    context: ServiceContext,
    /// Notices and their deliveries.
    outbox: Arc<dyn OutboxStore>,
    /// The history of events.
    history: Arc<dyn HistoryStore>,
    senders: Vec<Arc<Sender>>,
    certificate_end: Mutex<Option<CertificateEnd>>,
    /// Where subscribers get notices.
    events: Mutex<Option<Arc<Events>>>,
}

impl Notices {
    /// Creates the delivery of notices to these sinks. From now on the store writes to its outbox.
    #[must_use]
    pub fn new(
        context: ServiceContext,
        outbox: Arc<dyn OutboxStore>,
        history: Arc<dyn HistoryStore>,
        sinks: Vec<Arc<dyn Sink>>,
    ) -> Self {
        let clock = context.clock.clone();
        outbox.use_outbox(OutboxRules {
            sinks: sinks.iter().map(|sink| sink.name().to_owned()).collect(),
            now: Arc::new(move || clock.now()),
        });
        let sender = |sink: Arc<dyn Sink>| {
            let links = Links(context.webex.clone());
            let (outbox, clock) = (outbox.clone(), context.clock.clone());
            Arc::new(Sender { sink, outbox, clock, links, off: Mutex::default() })
        };
        let senders = sinks.into_iter().map(sender).collect();
        Self {
            context,
            outbox,
            history,
            senders,
            certificate_end: Mutex::new(None),
            events: Mutex::new(None),
        }
    }

    /// Sets the source of the served certificate's end. Notices about the certificate need it.
    pub fn watch_certificate_end(&self, end: CertificateEnd) {
        *self.certificate_end.lock() = Some(end);
    }

    /// Sets where subscribers of events get each notice, once, when it is no longer held.
    pub fn publish_to(&self, events: Arc<Events>) {
        // The store holds this for as long as it lives, so nothing of it may hold the store.
        let (links, clock, from_store) = (self.links(), self.context.clock.clone(), events.clone());
        self.outbox.publish_to(Arc::new(move |published| {
            for event in published {
                let outgoing = links.outgoing(&event.notice, clock.now());
                from_store.notice_created(outgoing.notice, event.is_in_digest);
            }
        }));
        *self.events.lock() = Some(events);
    }

    /// Publishes a notice that is not stored.
    fn publish(&self, notice: &Notice) {
        let events = self.events.lock().clone();
        if let Some(events) = events {
            events.notice_created(notice.clone(), false);
        }
    }

    fn links(&self) -> Links {
        Links(self.context.webex.clone())
    }

    fn certificate_end(&self) -> Option<UnixTime> {
        let end = self.certificate_end.lock().clone();
        end.and_then(|end| end())
    }

    /// Starts a task for each sink, and the task that periodically looks for events that no change to the store reports.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        for sender in &self.senders {
            tasks.spawn("notices of one sink", sender.clone().run(tasks.stopping()));
        }
        tasks.spawn("check of the store for notices", self.clone().watch_store(tasks.stopping()));
        tasks.spawn("periodic check for notices", self.clone().sweep(tasks.stopping()));
    }

    /// Sends a test to the sink with this name, or to all sinks for operators. The test bypasses the outbox, so that the result
    /// is known at once.
    pub async fn test(&self, name: Option<&str>) -> Vec<SinkTest> {
        let now = self.context.clock.now();
        let is_meant =
            |sink: &str| name.is_none_or(|name| sink == name || sink.split(':').next() == Some(name));
        let mut tests = Vec::new();
        for sender in self.senders.iter().filter(|sender| sender.sink.is_for_operators()) {
            let sink = sender.sink.name();
            if !is_meant(sink) {
                continue;
            }
            let notice = Notice::new(NoticeType::Test, None, &format!("{} {sink}", now.0), now);
            self.publish(&notice);
            let why = match sender.send(&notice).await {
                DeliveryResult::Taken => None,
                DeliveryResult::Failed { why, .. } | DeliveryResult::TurnedOff { why } => Some(why),
                DeliveryResult::Postponed { why, .. } => Some(why),
                DeliveryResult::Outdated => Some("the test was not sent".to_owned()),
            };
            if why.is_none()
                && sender.is_off().await
                && let Err(why) = sender.set_off(false).await
            {
                log::log!(why.log_level(), "notices: cannot store that {sink} is on again: {why}");
            }
            tests.push(SinkTest { sink: sink.to_owned(), why });
        }
        tests
    }

    /// Sends a notice that cannot be stored to every sink for operators that is not in `accepted_by`, and adds the sinks that accept
    /// it. Sends to all of them at the same time, so that a sink that does not answer delays no other.
    async fn send_unstored(&self, notice: &Notice, accepted_by: &mut Vec<String>) {
        let mut sending = JoinSet::new();
        let has_accepted = |sink: &str| accepted_by.iter().any(|other| other == sink);
        let senders = self.senders.iter().filter(|sender| sender.sink.is_for_operators());
        for sender in senders.filter(|sender| !has_accepted(sender.sink.name())) {
            let (sender, notice) = (sender.clone(), notice.clone());
            sending.spawn(async move { (sender.send(&notice).await, sender.sink.name().to_owned()) });
        }
        while let Some(sent) = sending.join_next().await {
            if let Ok((DeliveryResult::Taken, sink)) = sent {
                accepted_by.push(sink);
            }
        }
    }

    /// Whether any sink is set.
    #[must_use]
    pub fn has_sinks(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Why notices cannot be stored although tokens can; `None` while notices can be stored.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.outbox.outbox_error()
    }

    /// Notices, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, page: NoticePage) -> Result<Vec<NoticeRecord>, StoreError> {
        self.outbox.notices(page).await
    }

    /// Sends a notice again to every sink. Returns the number of sinks that get it; `None` if there is no such notice.
    ///
    /// # Errors
    /// The store's.
    pub async fn resend(&self, id: &str) -> Result<Option<usize>, StoreError> {
        self.outbox.resend(id.to_owned(), self.context.clock.now()).await
    }

    /// The status of every sink.
    ///
    /// # Errors
    /// The store's.
    pub async fn sinks(&self) -> Result<Vec<SinkStatus>, StoreError> {
        let mut counts = self.outbox.outbox_counts().await?;
        let mut statuses = Vec::new();
        for sender in &self.senders {
            let sink = sender.sink.name();
            let index = counts.iter().position(|count| count.sink == sink);
            let none = || SinkCounts { sink: sink.to_owned(), ..SinkCounts::default() };
            let counts = index.map_or_else(none, |index| counts.remove(index));
            statuses.push(SinkStatus { counts, is_set: true, is_off: sender.is_off().await });
        }
        let left = counts.into_iter().map(|counts| SinkStatus { counts, is_set: false, is_off: false });
        statuses.extend(left);
        Ok(statuses)
    }

    /// The store of the history.
    #[must_use]
    pub fn history(&self) -> &Arc<dyn HistoryStore> {
        &self.history
    }
}
