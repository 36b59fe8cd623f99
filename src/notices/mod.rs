//! Told in time: every notice of the outbox is sent to each sink, until the sink has it or three days are over.

pub mod command;
mod links;
pub mod mail;
mod sender;
pub mod settings;
pub mod signature;
pub mod sink;
mod sweep;
pub mod text;
pub mod webex_sinks;
pub mod webhook;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;
use crate::notices::links::Links;
use crate::notices::sender::Sender;
use crate::notices::sink::Sink;
use crate::notices::sink::SinkAnswer;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::history::HistoryStore;
use crate::store::outbox::OutboxRules;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::SinkCounts;
use crate::tasks::Tasks;
use crate::webex::Webex;

pub use crate::store::history::HistoryPage;
pub use crate::store::outbox::Delivery;
pub use crate::store::outbox::NoticePage;
pub use crate::store::outbox::NoticeRecord;

/// The parts that notices are made of.
#[derive(Clone)]
pub struct Parts {
    /// What is to be sent.
    pub outbox: Arc<dyn OutboxStore>,
    /// What happened.
    pub history: Arc<dyn HistoryStore>,
    /// Grants: whether the store can be written.
    pub grants: Arc<dyn Store>,
    /// Makes the links.
    pub webex: Arc<Webex>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// When the served certificate ends, if one is served.
pub type CertificateEnd = Arc<dyn Fn() -> Option<UnixTime> + Send + Sync>;

/// What a sink said of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkTest {
    /// Which.
    pub sink: String,
    /// `None`: it has the test; else why it has not, fit for people.
    pub why: Option<String>,
}

/// How one sink stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStatus {
    /// Its counts.
    pub counts: SinkCounts,
    /// It is set now; else rows of it are left from before.
    pub is_set: bool,
    /// Its receiver has turned it off.
    pub is_off: bool,
}

/// The notices and their sinks.
pub struct Notices {
    parts: Parts,
    senders: Vec<Arc<Sender>>,
    certificate_end: Mutex<Option<CertificateEnd>>,
}

impl Notices {
    /// Notices to these sinks. From now on the store writes to its outbox.
    #[must_use]
    pub fn new(parts: Parts, sinks: Vec<Arc<dyn Sink>>) -> Self {
        let clock = parts.clock.clone();
        parts.outbox.use_outbox(OutboxRules {
            sinks: sinks.iter().map(|sink| sink.name().to_owned()).collect(),
            now: Arc::new(move || clock.now()),
        });
        let sender = |sink: Arc<dyn Sink>| {
            let links = Links(parts.webex.clone());
            Arc::new(Sender { sink, outbox: parts.outbox.clone(), clock: parts.clock.clone(), links })
        };
        let senders = sinks.into_iter().map(sender).collect();
        Self { parts, senders, certificate_end: Mutex::new(None) }
    }

    /// Watches the certificate that is served.
    pub fn watch_certificate_end(&self, end: CertificateEnd) {
        *self.certificate_end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    fn certificate_end(&self) -> Option<UnixTime> {
        let end = self.certificate_end.lock().unwrap_or_else(PoisonError::into_inner).clone();
        end.and_then(|end| end())
    }

    /// Starts a task for each sink, and the one that finds what becomes true by time.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        for sender in &self.senders {
            tasks.spawn("notices of one sink", sender.clone().run(tasks.stopping()));
        }
        tasks.spawn("notices that time makes true", self.clone().sweep(tasks.stopping()));
    }

    /// Sends a test to the sink of this name, or to all operators' sinks; past the outbox, so that the answer is known now.
    pub async fn test(&self, name: Option<&str>) -> Vec<SinkTest> {
        let now = self.parts.clock.now();
        let is_meant =
            |sink: &str| name.is_none_or(|name| sink == name || sink.split(':').next() == Some(name));
        let mut tests = Vec::new();
        for sender in self.senders.iter().filter(|sender| sender.sink.is_for_operators()) {
            let sink = sender.sink.name();
            if !is_meant(sink) {
                continue;
            }
            let notice = Notice::new(NoticeType::Test, None, &format!("{} {sink}", now.0), now);
            let why = match sender.send(&notice).await {
                SinkAnswer::Taken => None,
                SinkAnswer::Failed { why, .. } | SinkAnswer::TurnedOff { why } => Some(why),
                SinkAnswer::Postponed { why, .. } => Some(why),
                SinkAnswer::Outdated => Some("it was not sent".to_owned()),
            };
            if why.is_none()
                && sender.is_off().await
                && let Err(why) = sender.turn(false).await
            {
                log::log!(why.log_level(), "that {sink} is on again cannot be kept: {why}");
            }
            tests.push(SinkTest { sink: sink.to_owned(), why });
        }
        tests
    }

    /// Sends a notice that the store cannot keep to every sink that is not among the `told`; to all of them at the same time,
    /// so that a sink that does not answer delays no other.
    async fn tell_from_memory(&self, notice: &Notice, told: &mut Vec<String>) {
        let mut sending = JoinSet::new();
        let is_told = |sink: &str| told.iter().any(|other| other == sink);
        let senders = self.senders.iter().filter(|sender| sender.sink.is_for_operators());
        for sender in senders.filter(|sender| !is_told(sender.sink.name())) {
            let (sender, notice) = (sender.clone(), notice.clone());
            sending.spawn(async move { (sender.send(&notice).await, sender.sink.name().to_owned()) });
        }
        while let Some(sent) = sending.join_next().await {
            if let Ok((SinkAnswer::Taken, sink)) = sent {
                told.push(sink);
            }
        }
    }

    /// Whether any sink is set.
    #[must_use]
    pub fn has_sinks(&self) -> bool {
        !self.senders.is_empty()
    }

    /// Why notices cannot be stored, though tokens can; `None` while all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.parts.outbox.outbox_trouble()
    }

    /// Notices, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, page: NoticePage) -> Result<Vec<NoticeRecord>, StoreError> {
        self.parts.outbox.notices(page).await
    }

    /// Sends a notice again to every sink. `None`: there is no such notice; else how many sinks are told.
    ///
    /// # Errors
    /// The store's.
    pub async fn resend(&self, id: &str) -> Result<Option<usize>, StoreError> {
        self.parts.outbox.resend(id.to_owned(), false, self.parts.clock.now()).await
    }

    /// How every sink stands.
    ///
    /// # Errors
    /// The store's.
    pub async fn sinks(&self) -> Result<Vec<SinkStatus>, StoreError> {
        let mut counts = self.parts.outbox.outbox_counts().await?;
        let mut statuses = Vec::new();
        for sender in &self.senders {
            let sink = sender.sink.name();
            let place = counts.iter().position(|count| count.sink == sink);
            let none = || SinkCounts { sink: sink.to_owned(), ..SinkCounts::default() };
            let counts = place.map_or_else(none, |place| counts.remove(place));
            statuses.push(SinkStatus { counts, is_set: true, is_off: sender.is_off().await });
        }
        let left = counts.into_iter().map(|counts| SinkStatus { counts, is_set: false, is_off: false });
        statuses.extend(left);
        Ok(statuses)
    }

    /// The history's store.
    #[must_use]
    pub fn history(&self) -> &Arc<dyn HistoryStore> {
        &self.parts.history
    }
}
