//! The outbox in SQLite.

pub(super) mod by_time;
pub(super) mod changes;
mod dates;
pub(super) mod deliveries;
mod held;
mod listing;
mod outage_file;
pub(super) mod record;
pub(super) mod with_change;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::domain::notice::OutboxEntries;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::outbox::DeliveryClaim;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::NoticePage;
use crate::store::outbox::NoticeRecord;
use crate::store::outbox::OutboxRules;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::PublishEvents;
use crate::store::outbox::SettledDelivery;
use crate::store::outbox::SinkCounts;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::sqlite_store::SqliteStore;

/// Maximum number of changes whose postponed notices are written in one transaction.
const POSTPONED_STEP: usize = 100;

impl SqliteStore {
    fn write_outbox<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.write(move |db, context| with_change::apart(context, work(db, context)))
    }

    /// Corrects dates in the outbox and the history that were written while the clock was fast. Damage in these tables is only
    /// logged, so that the dates of grants are corrected in any case.
    pub(super) async fn clamp_outbox_times(&self, now: UnixTime) -> Result<(), StoreError> {
        match self.write_outbox(move |db, _| dates::clamp(db, now)).await {
            Err(why @ (StoreError::Outbox(_) | StoreError::Disk(_) | StoreError::Failed(_))) => {
                log::log!(
                    why.log_level(),
                    "future dates of notices and of the history cannot be corrected: {why}"
                );
                Ok(())
            }
            done => done,
        }
    }

    fn read_outbox<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.read(move |db, context| with_change::apart(context, work(db, context)))
    }

    /// A read that may take long.
    pub(super) fn survey_outbox<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &QueryContext) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.survey(move |db, context| with_change::apart(context, work(db, context)))
    }
}

impl OutboxStore for SqliteStore {
    fn use_outbox(&self, rules: OutboxRules) {
        self.context.outbox.set_rules(rules);
    }

    fn publish_to(&self, publisher: PublishEvents) {
        self.context.outbox.set_publisher(publisher);
    }

    fn outbox_error(&self) -> Option<String> {
        self.context.outbox.postponed.trouble()
    }

    fn write_postponed(&self) -> StoreFuture<'_, usize> {
        if self.context.outbox.postponed.trouble().is_none() {
            return Box::pin(async { Ok(0) });
        }
        let waiting = self.context.outbox.postponed.first(POSTPONED_STEP);
        let (written, context) = (waiting.clone(), self.context.clone());
        let writing =
            self.write_outbox(move |db, context| with_change::write_postponed(db, context, &waiting));
        Box::pin(async move {
            let number = writing.await?;
            context.outbox.postponed.written(&written);
            Ok(number)
        })
    }

    fn outbox_changes(&self) -> watch::Receiver<()> {
        self.context.outbox.subscribe()
    }

    fn add(&self, outbox_entries: OutboxEntries) -> StoreFuture<'_, usize> {
        self.write_outbox(move |db, context| record::record(db, context, &outbox_entries))
    }

    fn add_once(&self, topic: String, state: String, outbox_entries: OutboxEntries) -> StoreFuture<'_, bool> {
        self.write_outbox(move |db, context| record::add_once(db, context, &topic, &state, &outbox_entries))
    }

    fn topic(&self, topic: String) -> StoreFuture<'_, Option<String>> {
        self.read_outbox(move |db, _| record::topic(db, &topic))
    }

    fn set_outage_note(&self, text: String) -> StoreFuture<'_, ()> {
        let path = outage_file::path(self.path());
        // On a reader's thread, because the writer may wait for the database.
        self.survey(move |_, _| outage_file::write(&path, &text))
    }

    fn outage_note(&self) -> StoreFuture<'_, Option<String>> {
        let path = outage_file::path(self.path());
        self.survey(move |_, _| outage_file::read(&path))
    }

    fn expiring_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>> {
        self.survey_outbox(move |db, context| by_time::expiring_candidates(db, context, now, limit))
    }

    fn add_expiring_notice(&self, person: PersonId, now: UnixTime) -> StoreFuture<'_, bool> {
        self.write_outbox(move |db, context| by_time::add_expiring_notice(db, context, &person, now))
    }

    fn at_risk_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>> {
        self.survey_outbox(move |db, context| by_time::at_risk_candidates(db, context, now, limit))
    }

    fn add_at_risk_notices(
        &self,
        persons: Vec<PersonId>,
        reason: String,
        now: UnixTime,
    ) -> StoreFuture<'_, usize> {
        self.write_outbox(move |db, context| {
            by_time::add_at_risk_notices(db, context, (&persons, &reason), now)
        })
    }

    fn release_held(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.write_outbox(move |db, context| held::release(db, context, now))
    }

    fn claim_deliveries(&self, ask: DeliveryClaimRequest) -> StoreFuture<'_, Vec<DeliveryClaim>> {
        self.write_outbox(move |db, _| deliveries::claim(db, &ask))
    }

    fn settle_deliveries(
        &self,
        sink: String,
        now: UnixTime,
        settled: Vec<SettledDelivery>,
    ) -> StoreFuture<'_, ()> {
        self.write_outbox(move |db, _| deliveries::settle(db, &sink, now, &settled))
    }

    fn make_all_due(&self, sink: String, now: UnixTime) -> StoreFuture<'_, bool> {
        self.write_outbox(move |db, _| deliveries::make_all_due(db, &sink, now))
    }

    fn next_delivery(&self, sink: String) -> StoreFuture<'_, Option<UnixTime>> {
        self.read_outbox(move |db, _| deliveries::next(db, &sink))
    }

    fn last_sent(&self, sink: String, person: PersonId) -> StoreFuture<'_, Option<UnixTime>> {
        self.read_outbox(move |db, _| deliveries::last_sent(db, &sink, &person))
    }

    fn notices(&self, page: NoticePage) -> StoreFuture<'_, Vec<NoticeRecord>> {
        self.survey_outbox(move |db, _| listing::notices(db, page))
    }

    fn resend(&self, id: String, now: UnixTime) -> StoreFuture<'_, Option<usize>> {
        self.write_outbox(move |db, context| deliveries::resend(db, context, &id, now))
    }

    fn outbox_counts(&self) -> StoreFuture<'_, Vec<SinkCounts>> {
        self.survey_outbox(|db, _| listing::counts(db))
    }

    fn prune_outbox(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.write_outbox(move |db, context| listing::prune(db, context, now))
    }
}
