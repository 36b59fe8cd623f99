//! Notices of changes to grants, keys and the breaker, and the methods of [`OutboxStore`].

use crate::domain::grant::Grant;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::delivery::DeliveryState;
use crate::domain::notice::digest::HOLD;
use crate::domain::notice::facts;
use crate::domain::notice::facts::Origin;
use crate::domain::notice::facts::ReplacedGrant;
use crate::domain::person::PersonId;
use crate::domain::refresh_token_end::ConsentDates;
use crate::domain::time::UnixTime;
use crate::store::MetaKey;
use crate::store::Saved;
use crate::store::StoreFuture;
use crate::store::memory::MemoryState;
use crate::store::memory::MemoryStore;
use crate::store::memory::outbox::Outbox;
use crate::store::memory::outbox::OutboxRow;
use crate::store::outbox::DELIVERY_LEASE;
use crate::store::outbox::DELIVERY_STEP;
use crate::store::outbox::DeliveryClaim;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::NoticePage;
use crate::store::outbox::NoticeRecord;
use crate::store::outbox::OutboxRules;
use crate::store::outbox::OutboxStore;
use crate::store::outbox::PublishEvents;
use crate::store::outbox::SettledDelivery;
use crate::store::outbox::SinkCounts;
use tokio::sync::watch;

impl Outbox {
    /// Limits every date to the latest value that is possible at `now`. Deliveries that were planned for later become due now,
    /// as after a start.
    pub(in crate::store::memory) fn clamp_times(&mut self, now: UnixTime) {
        for stored in self.notices.values_mut() {
            stored.notice.at = stored.notice.at.min(now);
            stored.held_until = stored.held_until.map(|at| at.min(now + HOLD));
        }
        for row in self.deliveries.values_mut() {
            row.delivery.done_at = row.delivery.done_at.map(|at| at.min(now));
        }
        // `NEVER` marks deliveries of held notices.
        let planned = self.deliveries.values_mut().filter(|row| row.waits() && row.next_at < UnixTime::NEVER);
        for row in planned {
            let latest = if row.claimed { now + DELIVERY_LEASE } else { now };
            row.next_at = row.next_at.min(latest);
        }
        let planned =
            self.deliveries.values_mut().filter(|row| row.waits() && row.planned_at < UnixTime::NEVER);
        planned.for_each(|row| row.planned_at = row.planned_at.min(now));
    }
}

impl MemoryState {
    /// Writes the notices and history entries of a change. Returns the number of new notices.
    pub(in crate::store::memory) fn record(&mut self, outbox_entries: &OutboxEntries) -> usize {
        let added =
            outbox_entries.notices.iter().filter(|notice| self.outbox.add(notice, outbox_entries)).count();
        self.history.extend(&outbox_entries.history);
        if let (Some(outcome), Some(now), true) =
            (outbox_entries.outcome, self.outbox.context.now(), outbox_entries.history.is_empty())
        {
            self.history.count(outcome, now);
        }
        if added > 0 {
            self.outbox.context.changed();
        }
        added
    }

    /// Records the notices of a consent, if it was stored. `replaced` is what [`MemoryState::replaceable`] returned before.
    pub(in crate::store::memory) fn consent_stored(
        &mut self,
        saved: Saved,
        (grant, origin): (&Grant, Origin),
        replaced: Option<ReplacedGrant>,
    ) -> Saved {
        if matches!(saved, Saved::New | Saved::Replaced) {
            self.record(&facts::after_consent(grant, replaced, origin));
        }
        saved
    }

    pub(in crate::store::memory) fn replaceable(&self, person: &PersonId) -> Option<ReplacedGrant> {
        let grant = &self.rows.get(person)?.grant;
        Some(ReplacedGrant { at_risk: grant.notice_state.at_risk, expires_at: grant.tokens.expires_at })
    }

    pub(in crate::store::memory) fn breaker_kept(&mut self, note: MetaKey, text: &str) {
        let Some(now) = self.outbox.context.now().filter(|_| note == MetaKey::Breaker) else { return };
        let before = self.notes.get(note.name()).map(String::as_str);
        if let Some(notice) = facts::breaker_turned(before, text, now) {
            self.record(&OutboxEntries::of(notice));
        }
    }

    pub(in crate::store::memory) fn key_changed(&mut self, kind: NoticeType, id: &str, name: &str) {
        if let Some(now) = self.outbox.context.now() {
            self.record(&OutboxEntries::of(Notice::new(kind, None, id, now).with("name", name)));
        }
    }

    fn expiring(&self, now: UnixTime) -> impl Iterator<Item = &PersonId> {
        let is_due = move |grant: &Grant| {
            let ends_at = grant.consent_ends_at();
            ends_at.is_some_and(|ends_at| {
                let dates = ConsentDates { ends_at, answered_at: grant.answered_at };
                grant.notice_state.step_due(&dates, now).is_some()
            })
        };
        self.rows.iter().filter(move |(_, row)| !row.claimed && is_due(&row.grant)).map(|(person, _)| person)
    }

    fn add_expiring_notice(&mut self, person: &PersonId, now: UnixTime) -> bool {
        let Some(row) = self.rows.get_mut(person).filter(|row| !row.claimed) else { return false };
        let Some((state, outbox_entries)) = facts::expiring(&row.grant, now) else { return false };
        row.grant.notice_state = state;
        self.record(&outbox_entries);
        true
    }

    fn at_risk(&self, now: UnixTime) -> impl Iterator<Item = &PersonId> {
        let is_news = move |grant: &Grant| facts::at_risk_without_refresh(grant, "", now).is_some();
        self.rows.iter().filter(move |(_, row)| !row.claimed && is_news(&row.grant)).map(|(person, _)| person)
    }

    fn add_at_risk_notices(&mut self, persons: &[PersonId], reason: &str, now: UnixTime) -> usize {
        let mut added = 0;
        for person in persons {
            let row = self.rows.get_mut(person).filter(|row| !row.claimed);
            let Some(row) = row else { continue };
            let Some((state, outbox_entries)) = facts::at_risk_without_refresh(&row.grant, reason, now)
            else {
                continue;
            };
            row.grant.notice_state = state;
            self.record(&outbox_entries);
            added += 1;
        }
        added
    }
}

impl OutboxStore for MemoryStore {
    fn use_outbox(&self, rules: OutboxRules) {
        self.lock().outbox.context.set_rules(rules);
    }

    fn publish_to(&self, publisher: PublishEvents) {
        self.lock().outbox.context.set_publisher(publisher);
    }

    fn outbox_error(&self) -> Option<String> {
        None
    }

    fn write_postponed(&self) -> StoreFuture<'_, usize> {
        self.answer(|_| 0)
    }

    fn outbox_changes(&self) -> watch::Receiver<()> {
        self.lock().outbox.context.subscribe()
    }

    fn add(&self, outbox_entries: OutboxEntries) -> StoreFuture<'_, usize> {
        self.answer(|inner| inner.record(&outbox_entries))
    }

    fn add_once(&self, topic: String, state: String, outbox_entries: OutboxEntries) -> StoreFuture<'_, bool> {
        self.answer(|inner| {
            let is_known = inner.outbox.topics.get(&topic) == Some(&state);
            if !is_known {
                inner.outbox.topics.insert(topic, state);
                inner.record(&outbox_entries);
            }
            !is_known
        })
    }

    fn topic(&self, topic: String) -> StoreFuture<'_, Option<String>> {
        self.answer(|inner| inner.outbox.topics.get(&topic).cloned())
    }

    fn set_outage_note(&self, text: String) -> StoreFuture<'_, ()> {
        self.answer(|inner| inner.outbox.outage_note = Some(text).filter(|text| !text.is_empty()))
    }

    fn outage_note(&self) -> StoreFuture<'_, Option<String>> {
        self.answer(|inner| inner.outbox.outage_note.clone())
    }

    fn expiring_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.answer(|inner| inner.expiring(now).take(limit).cloned().collect())
    }

    fn add_expiring_notice(&self, person: PersonId, now: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| inner.add_expiring_notice(&person, now))
    }

    fn at_risk_candidates(&self, now: UnixTime, limit: u32) -> StoreFuture<'_, Vec<PersonId>> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.answer(|inner| inner.at_risk(now).take(limit).cloned().collect())
    }

    fn add_at_risk_notices(
        &self,
        persons: Vec<PersonId>,
        reason: String,
        now: UnixTime,
    ) -> StoreFuture<'_, usize> {
        self.answer(|inner| inner.add_at_risk_notices(&persons, &reason, now))
    }

    fn release_held(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| inner.outbox.release(now))
    }

    fn claim_deliveries(&self, ask: DeliveryClaimRequest) -> StoreFuture<'_, Vec<DeliveryClaim>> {
        self.answer(|inner| inner.outbox.claim(&ask))
    }

    fn settle_deliveries(
        &self,
        sink: String,
        now: UnixTime,
        settled: Vec<SettledDelivery>,
    ) -> StoreFuture<'_, ()> {
        self.answer(|inner| {
            let history = inner.outbox.settle(&sink, now, settled);
            inner.history.extend(&history);
        })
    }

    fn make_all_due(&self, sink: String, now: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| {
            let rows = inner.outbox.deliveries.iter_mut().filter(|((of, _), _)| *of == sink);
            let is_later = |row: &OutboxRow| {
                row.waits()
                    && !row.claimed
                    && !row.postponed
                    && row.next_at > now
                    && row.next_at < UnixTime::NEVER
            };
            let mut later: Vec<_> = rows.filter(|(_, row)| is_later(row)).collect();
            later.sort_by_key(|((_, number), row)| (row.next_at, *number));
            let is_whole_step = later.len() >= DELIVERY_STEP;
            later.into_iter().take(DELIVERY_STEP).for_each(|(_, row)| row.next_at = now);
            is_whole_step
        })
    }

    fn next_delivery(&self, sink: String) -> StoreFuture<'_, Option<UnixTime>> {
        self.answer(|inner| inner.outbox.next(&sink))
    }

    fn last_sent(&self, sink: String, person: PersonId) -> StoreFuture<'_, Option<UnixTime>> {
        self.answer(|inner| {
            let outbox = &inner.outbox;
            let is_sent = |row: &OutboxRow| row.delivery.state == DeliveryState::Sent;
            let theirs = outbox.deliveries.iter().filter(|((of, number), row)| {
                *of == sink && is_sent(row) && outbox.queue_of(*number).as_deref() == Some(person.as_str())
            });
            theirs.filter_map(|(_, row)| row.delivery.done_at).max()
        })
    }

    fn notices(&self, page: NoticePage) -> StoreFuture<'_, Vec<NoticeRecord>> {
        self.answer(|inner| inner.outbox.list(page))
    }

    fn resend(&self, id: String, now: UnixTime) -> StoreFuture<'_, Option<usize>> {
        self.answer(|inner| inner.outbox.resend(&id, now))
    }

    fn outbox_counts(&self) -> StoreFuture<'_, Vec<SinkCounts>> {
        self.answer(|inner| inner.outbox.counts())
    }

    fn prune_outbox(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| inner.outbox.prune(now))
    }
}
