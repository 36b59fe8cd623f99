//! The embedded store's outbox in virtual time. Virtual time does not advance while the store's threads work.

use std::future::Future;
use std::pin::Pin;

use tokio::sync::watch;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::StoreError;
use webex_tokend::store::outbox::DeliveryClaim;
use webex_tokend::store::outbox::DeliveryClaimRequest;
use webex_tokend::store::outbox::NoticePage;
use webex_tokend::store::outbox::NoticeRecord;
use webex_tokend::store::outbox::OutboxRules;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::store::outbox::PublishEvents;
use webex_tokend::store::outbox::SettledDelivery;
use webex_tokend::store::outbox::SinkCounts;
use webex_tokend::store::sqlite::SqliteStore;

use crate::simulation::faulty_store::block_in_poll;

/// Blocks within the first poll until the store answers. Otherwise virtual time would advance and every timer would fire before
/// the store's thread answers.
pub(super) struct BlockingOutbox(pub(super) SqliteStore);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

fn blocking<'a, T: Send + 'a>(answer: Answer<'a, T>) -> Answer<'a, T> {
    Box::pin(async move { block_in_poll(answer) })
}

impl OutboxStore for BlockingOutbox {
    fn use_outbox(&self, rules: OutboxRules) {
        self.0.use_outbox(rules)
    }

    fn publish_to(&self, publisher: PublishEvents) {
        self.0.publish_to(publisher)
    }

    fn outbox_error(&self) -> Option<String> {
        self.0.outbox_error()
    }

    fn write_postponed(&self) -> Answer<'_, usize> {
        blocking(self.0.write_postponed())
    }

    fn outbox_changes(&self) -> watch::Receiver<()> {
        self.0.outbox_changes()
    }

    fn add(&self, outbox_entries: OutboxEntries) -> Answer<'_, usize> {
        blocking(self.0.add(outbox_entries))
    }

    fn add_once(&self, topic: String, state: String, outbox_entries: OutboxEntries) -> Answer<'_, bool> {
        blocking(self.0.add_once(topic, state, outbox_entries))
    }

    fn topic(&self, topic: String) -> Answer<'_, Option<String>> {
        blocking(self.0.topic(topic))
    }

    fn set_outage_note(&self, text: String) -> Answer<'_, ()> {
        blocking(self.0.set_outage_note(text))
    }

    fn outage_note(&self) -> Answer<'_, Option<String>> {
        blocking(self.0.outage_note())
    }

    fn expiring_candidates(&self, now: UnixTime, limit: u32) -> Answer<'_, Vec<PersonId>> {
        blocking(self.0.expiring_candidates(now, limit))
    }

    fn add_expiring_notice(&self, person: PersonId, now: UnixTime) -> Answer<'_, bool> {
        blocking(self.0.add_expiring_notice(person, now))
    }

    fn at_risk_candidates(&self, now: UnixTime, limit: u32) -> Answer<'_, Vec<PersonId>> {
        blocking(self.0.at_risk_candidates(now, limit))
    }

    fn add_at_risk_notices(
        &self,
        persons: Vec<PersonId>,
        reason: String,
        now: UnixTime,
    ) -> Answer<'_, usize> {
        blocking(self.0.add_at_risk_notices(persons, reason, now))
    }

    fn release_held(&self, now: UnixTime) -> Answer<'_, bool> {
        blocking(self.0.release_held(now))
    }

    fn claim_deliveries(&self, ask: DeliveryClaimRequest) -> Answer<'_, Vec<DeliveryClaim>> {
        blocking(self.0.claim_deliveries(ask))
    }

    fn settle_deliveries(
        &self,
        sink: String,
        now: UnixTime,
        settled: Vec<SettledDelivery>,
    ) -> Answer<'_, ()> {
        blocking(self.0.settle_deliveries(sink, now, settled))
    }

    fn make_all_due(&self, sink: String, now: UnixTime) -> Answer<'_, bool> {
        blocking(self.0.make_all_due(sink, now))
    }

    fn next_delivery(&self, sink: String) -> Answer<'_, Option<UnixTime>> {
        blocking(self.0.next_delivery(sink))
    }

    fn last_sent(&self, sink: String, person: PersonId) -> Answer<'_, Option<UnixTime>> {
        blocking(self.0.last_sent(sink, person))
    }

    fn notices(&self, page: NoticePage) -> Answer<'_, Vec<NoticeRecord>> {
        blocking(self.0.notices(page))
    }

    fn resend(&self, id: String, now: UnixTime) -> Answer<'_, Option<usize>> {
        blocking(self.0.resend(id, now))
    }

    fn outbox_counts(&self) -> Answer<'_, Vec<SinkCounts>> {
        blocking(self.0.outbox_counts())
    }

    fn prune_outbox(&self, now: UnixTime) -> Answer<'_, bool> {
        blocking(self.0.prune_outbox(now))
    }
}
