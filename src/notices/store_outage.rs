//! A task that checks whether the store can be written. It is apart from other checks, which may wait for the store.
//!
//! While the store cannot be written, the notice of that cannot be stored either, so it is sent to each sink from memory until
//! the sink accepts it. When the store can be written again, the notices of the outage and of its end are stored, for the
//! history and for the sinks that have not accepted them yet. A file beside the store keeps the outage over a restart.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::time::UnixTime;
use crate::notices::Notices;
use crate::store::StoreError;
use crate::store::outbox::SUBSCRIBERS;

/// How often the task checks the store.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Maximum length of the stored reason, in characters.
const MAX_REASON: usize = 500;

impl Notices {
    /// Runs until the daemon stops.
    pub(super) async fn watch_store(self: Arc<Self>, stopping: CancellationToken) {
        let mut outage = self.stored_outage().await;
        while !stopping.is_cancelled() {
            // A sink that does not answer must not delay the stop of the daemon.
            tokio::select! {
                () = stopping.cancelled() => {}
                () = self.check_store(&mut outage) => {}
            }
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sleep(CHECK_INTERVAL) => {}
            }
        }
    }

    /// The outage that the previous process did not see the end of.
    async fn stored_outage(&self) -> Option<StoreOutage> {
        let stored = self.outbox.outage_note().await;
        let unknown = "an outage before this start is not reported as ended";
        let stored = stored.inspect_err(|why| log::warn!("notices: {why}; {unknown}")).ok()??;
        match serde_json::from_str(&stored) {
            Ok(outage) => Some(outage),
            Err(why) => {
                log::warn!(
                    "notices: the file beside the store with the suffix .outage contains no record of an outage ({why}), \
                     and is cleared; {unknown}"
                );
                self.keep_outage(None).await;
                None
            }
        }
    }

    async fn check_store(&self, outage: &mut Option<StoreOutage>) {
        let now = self.context.clock.now();
        match (self.context.store.check_writable().await, outage.as_mut()) {
            (Ok(()), None) => {}
            (Ok(()), Some(ending)) => {
                let (topic, state) = ("store outage".to_owned(), format!("ended {}", ending.since));
                match self.outbox.add_once(topic, state, ending.ended(now)).await {
                    Ok(_) => {
                        *outage = None;
                        self.keep_outage(None).await;
                    }
                    Err(why) => log::log!(
                        why.log_level(),
                        "notices: the store works again, but the notices of its outage cannot be stored yet: {why}; \
                         trying again in {CHECK_INTERVAL:?}"
                    ),
                }
            }
            (Err(why), running) => {
                let is_new = running.is_none();
                let running = outage.get_or_insert_with(|| StoreOutage::begun(&why, now));
                if is_new {
                    self.publish(&running.notice());
                    self.keep_outage(Some(running)).await;
                }
                let before = running.accepted_by.len();
                self.send_unstored(&running.notice(), &mut running.accepted_by).await;
                if running.accepted_by.len() > before {
                    self.keep_outage(Some(running)).await;
                }
            }
        }
    }

    /// Writes the outage to the file beside the store.
    async fn keep_outage(&self, outage: Option<&StoreOutage>) {
        let text = outage.and_then(|outage| serde_json::to_string(outage).ok()).unwrap_or_default();
        if let Err(why) = self.outbox.set_outage_note(text).await {
            let effect = if outage.is_some() {
                "; if the daemon restarts before the store works again, the end of the outage is not reported"
            } else {
                ""
            };
            log::warn!("notices: {why}{effect}");
        }
    }
}

/// A period in which the store cannot be written.
#[derive(Serialize, Deserialize)]
struct StoreOutage {
    /// When it was noticed, in milliseconds since 1970.
    since: i64,
    reason: String,
    /// The names of the sinks that have accepted the notice of its begin.
    accepted_by: Vec<String>,
}

impl StoreOutage {
    fn begun(why: &StoreError, now: UnixTime) -> Self {
        Self {
            since: now.0,
            reason: why.to_string().chars().take(MAX_REASON).collect(),
            accepted_by: Vec::new(),
        }
    }

    fn notice(&self) -> Notice {
        let notice =
            Notice::new(NoticeType::StoreFailing, None, &self.since.to_string(), UnixTime(self.since));
        notice.with("reason", self.reason.clone())
    }

    /// The notices to store when the store can be written again at `now`.
    fn ended(&self, now: UnixTime) -> OutboxEntries {
        let begun = self.notice();
        let recovered = Notice::new(NoticeType::StoreRecovered, None, &self.since.to_string(), now);
        let recovered = recovered.with("failing_since", begun.at.to_string());
        let takers = self.accepted_by.iter().cloned().chain([SUBSCRIBERS.to_owned()]);
        let delivered = takers.map(|taker| (begun.id.clone(), taker)).collect();
        let mut outbox_entries =
            OutboxEntries { notices: vec![begun, recovered], delivered, ..OutboxEntries::default() };
        outbox_entries.add_history_of_notices();
        outbox_entries
    }
}
