//! The outbox in memory. It follows the same rules as the one in SQLite.

mod held;
mod outbox_store;

use crate::domain::history::HistoryEntry;
use crate::domain::notice::Notice;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::delivery::DeliveryState;
use crate::domain::notice::digest;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::outbox::DELIVERY_STEP;
use crate::store::outbox::Delivery;
use crate::store::outbox::DeliveryClaim;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::DeliveryOutcome;
use crate::store::outbox::KEEP_DONE_DAYS;
use crate::store::outbox::MAX_CLAIMED_PER_QUEUE;
use crate::store::outbox::MAX_FINISHED;
use crate::store::outbox::NoticePage;
use crate::store::outbox::NoticeRecord;
use crate::store::outbox::OutboxContext;
use crate::store::outbox::PEOPLE_SINK;
use crate::store::outbox::PERSON_MESSAGE_INTERVAL;
use crate::store::outbox::SUBSCRIBERS;
use crate::store::outbox::SettledDelivery;
use crate::store::outbox::SinkCounts;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Notices and their deliveries to each sink.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) context: OutboxContext,
    numbers: i64,
    notices: BTreeMap<i64, StoredNotice>,
    ids: BTreeMap<String, i64>,
    deliveries: BTreeMap<(String, i64), OutboxRow>,
    topics: BTreeMap<String, String>,
    outage_note: Option<String>,
}

#[derive(Debug)]
struct StoredNotice {
    notice: Notice,
    held_until: Option<UnixTime>,
    /// The persons that a held digest is about, so that each is counted once.
    persons: BTreeSet<PersonId>,
}

#[derive(Debug)]
struct OutboxRow {
    attempt: i64,
    claimed: bool,
    /// When the delivery is due. `NEVER` while the notice is held; the end of the lease while the delivery is claimed.
    next_at: UnixTime,
    /// From when on a try counts. `next_at` may be earlier.
    planned_at: UnixTime,
    /// Whether the delivery must not be tried before `planned_at`.
    postponed: bool,
    delivery: Delivery,
}

impl OutboxRow {
    fn waiting(sink: &str, next_at: UnixTime) -> Self {
        let delivery = Delivery {
            sink: sink.to_owned(),
            state: DeliveryState::Waiting,
            tries: 0,
            next_at: None,
            done_at: None,
            why: None,
        };
        Self { attempt: 0, claimed: false, next_at, planned_at: next_at, postponed: false, delivery }
    }

    fn waits(&self) -> bool {
        self.delivery.state == DeliveryState::Waiting
    }

    fn plan(&mut self, at: UnixTime, postponed: bool) {
        (self.claimed, self.next_at, self.planned_at, self.postponed) = (false, at, at, postponed);
    }

    fn done(&mut self, state: DeliveryState, why: Option<String>, now: UnixTime) {
        self.claimed = false;
        self.delivery.state = state;
        self.delivery.done_at = Some(now);
        self.delivery.why = why;
    }
}

impl Outbox {
    /// Makes deliveries that an ended process had claimed due again.
    pub(super) fn free_claims(&mut self, now: UnixTime) {
        for row in self.deliveries.values_mut().filter(|row| row.claimed) {
            (row.claimed, row.next_at) = (false, now);
        }
    }

    fn add(&mut self, notice: &Notice, outbox_entries: &OutboxEntries) -> bool {
        let sinks = self.context.sinks_for(notice);
        let is_unpublished = || (!outbox_entries.is_delivered(notice, SUBSCRIBERS)).then(|| notice.clone());
        if sinks.is_empty() {
            self.context.add_event(is_unpublished, false);
            return false;
        }
        if self.ids.contains_key(&notice.id) {
            return false;
        }
        let held_until = digest::is_held(notice).then(|| notice.at + digest::HOLD);
        let next_at = if held_until.is_some() { UnixTime::NEVER } else { notice.at };
        let number = self.insert(notice.clone(), held_until, (&sinks, next_at));
        for row in self.rows_of(number).filter(|row| outbox_entries.is_delivered(notice, &row.delivery.sink))
        {
            row.done(DeliveryState::Sent, None, notice.at);
        }
        if held_until.is_none() {
            self.context.add_event(is_unpublished, false);
        }
        true
    }

    fn insert(
        &mut self,
        notice: Notice,
        held_until: Option<UnixTime>,
        (sinks, next_at): (&[String], UnixTime),
    ) -> i64 {
        self.numbers += 1;
        let number = self.numbers;
        self.ids.insert(notice.id.clone(), number);
        self.notices.insert(number, StoredNotice { notice, held_until, persons: BTreeSet::new() });
        for sink in sinks {
            self.deliveries.insert((sink.clone(), number), OutboxRow::waiting(sink, next_at));
        }
        number
    }

    fn rows_of(&mut self, number: i64) -> impl Iterator<Item = &mut OutboxRow> {
        self.deliveries.iter_mut().filter(move |((_, of), _)| *of == number).map(|(_, row)| row)
    }

    fn queue_of(&self, number: i64) -> Option<String> {
        self.notices.get(&number).map(|stored| stored.notice.queue())
    }

    /// The waiting deliveries to a sink, in the order of their numbers.
    fn waiting_for(&self, sink: &str) -> impl Iterator<Item = (i64, &OutboxRow)> {
        let from = (sink.to_owned(), i64::MIN)..=(sink.to_owned(), i64::MAX);
        self.deliveries.range(from).filter(|(_, row)| row.waits()).map(|((_, number), row)| (*number, row))
    }

    fn claim(&mut self, ask: &DeliveryClaimRequest) -> Vec<DeliveryClaim> {
        let is_due = |row: &OutboxRow| {
            let may_be_tried = !row.postponed || row.next_at <= ask.now;
            row.next_at <= ask.due_by && row.next_at < UnixTime::NEVER && may_be_tried
        };
        // A probe takes the notice with the fewest attempts, so that one that the sink never accepts is not the only probe.
        let is_probe = ask.due_by == UnixTime::NEVER;
        let mut due: Vec<(i64, i64)> = self
            .waiting_for(&ask.sink)
            .filter(|(_, row)| is_due(row))
            .map(|(number, row)| (if is_probe { row.attempt } else { row.next_at.0 }, number))
            .collect();
        due.sort_unstable();
        let (mut queues, mut claims) = (BTreeSet::new(), Vec::new());
        for (_, number) in &due {
            let number = *number;
            let Some(queue) = self.queue_of(number).filter(|queue| !queues.contains(queue)) else { continue };
            if queues.len() >= ask.queues {
                break;
            }
            let is_of_queue = |other: &i64| self.queue_of(*other).as_ref() == Some(&queue);
            let last = due.iter().map(|(_, other)| *other).filter(is_of_queue).max().unwrap_or(number);
            let rows: Vec<i64> = self
                .waiting_for(&ask.sink)
                .map(|(other, _)| other)
                .filter(|other| *other <= last && is_of_queue(other))
                .take(MAX_CLAIMED_PER_QUEUE)
                .collect();
            let is_free = |number: &i64| self.is_free(ask, *number);
            if !rows.iter().all(is_free) {
                continue;
            }
            let next_at =
                |number: &i64| self.deliveries.get(&(ask.sink.clone(), *number)).map(|row| row.next_at);
            let first = rows.iter().filter_map(next_at).min();
            if let Some(first) = first.filter(|first| *first > ask.due_by) {
                self.wait_behind(ask, &queue, first);
            } else {
                queues.insert(queue);
                claims.extend(rows.into_iter().filter_map(|number| self.claim_one(ask, number)));
            }
        }
        claims
    }

    /// Postpones the due deliveries of a long queue to `first`. The deliveries before them fill a whole claim, and none of
    /// those is due before `first`.
    fn wait_behind(&mut self, ask: &DeliveryClaimRequest, queue: &str, first: UnixTime) {
        let notices = &self.notices;
        for ((sink, number), row) in &mut self.deliveries {
            let is_of_queue = notices.get(number).is_some_and(|stored| stored.notice.queue() == queue);
            if *sink == ask.sink && is_of_queue && row.waits() && !row.claimed && row.next_at <= ask.due_by {
                row.next_at = first;
            }
        }
    }

    fn is_free(&self, ask: &DeliveryClaimRequest, number: i64) -> bool {
        let row = self.deliveries.get(&(ask.sink.clone(), number));
        row.is_some_and(|row| row.next_at < UnixTime::NEVER && (!row.claimed || row.next_at <= ask.now))
    }

    fn claim_one(&mut self, ask: &DeliveryClaimRequest, number: i64) -> Option<DeliveryClaim> {
        let notice = self.notices.get(&number)?.notice.clone();
        let row = self.deliveries.get_mut(&(ask.sink.clone(), number))?;
        let (planned_at, tries) = (row.planned_at, row.delivery.tries);
        row.attempt += 1;
        (row.claimed, row.next_at) = (true, ask.lease_end);
        let (attempt, in_turn) = (row.attempt, planned_at <= ask.now);
        Some(DeliveryClaim { number, attempt, tries, planned_at, in_turn, notice })
    }

    /// Stores the outcomes. Returns the history entries to write.
    fn settle(&mut self, sink: &str, now: UnixTime, settled: Vec<SettledDelivery>) -> Vec<HistoryEntry> {
        let mut history = Vec::new();
        for SettledDelivery { number, attempt, outcome } in settled {
            let row = self.deliveries.get_mut(&(sink.to_owned(), number));
            let Some(row) = row.filter(|row| row.claimed && row.attempt == attempt && row.waits()) else {
                continue;
            };
            match outcome {
                DeliveryOutcome::Sent => row.done(DeliveryState::Sent, None, now),
                DeliveryOutcome::Outdated => row.done(DeliveryState::Outdated, None, now),
                DeliveryOutcome::GivenUp { why } => {
                    row.done(DeliveryState::GivenUp, Some(why.clone()), now);
                    history.extend(
                        self.notices.get(&number).map(|stored| given_up(&stored.notice, (sink, &why), now)),
                    );
                }
                DeliveryOutcome::Released => (row.claimed, row.next_at) = (false, now),
                DeliveryOutcome::Postponed { until, why } => {
                    row.plan(until, true);
                    row.delivery.why = Some(why);
                }
                DeliveryOutcome::Again { at, tries, why } => {
                    row.plan(at, false);
                    (row.delivery.tries, row.delivery.why) = (tries, Some(why));
                }
            }
        }
        history
    }

    fn next(&self, sink: &str) -> Option<UnixTime> {
        let waiting = self.waiting_for(sink).map(|(_, row)| row.next_at).filter(|at| *at < UnixTime::NEVER);
        waiting.chain(self.notices.values().filter_map(|stored| stored.held_until)).min()
    }

    fn list(&self, page: NoticePage) -> Vec<NoticeRecord> {
        let before = page.before.unwrap_or(i64::MAX);
        let record = |(number, stored): (&i64, &StoredNotice)| {
            let rows = self.deliveries.iter().filter(|((_, of), _)| of == number);
            let observed = |row: &OutboxRow| {
                let next_at = Some(row.next_at).filter(|at| row.waits() && *at != UnixTime::NEVER);
                Delivery { next_at, ..row.delivery.clone() }
            };
            let deliveries = rows.map(|(_, row)| observed(row)).collect();
            NoticeRecord { number: *number, notice: stored.notice.clone(), deliveries }
        };
        let has_failed = |delivery: &Delivery| match delivery.state {
            DeliveryState::GivenUp => true,
            DeliveryState::Waiting => delivery.why.is_some(),
            DeliveryState::Sent | DeliveryState::Outdated => false,
        };
        let newest_first = self.notices.range(..before).rev().map(record);
        let listed =
            newest_first.filter(|record| !page.failed_only || record.deliveries.iter().any(has_failed));
        listed.take(usize::try_from(page.limit).unwrap_or(usize::MAX)).collect()
    }

    fn resend(&mut self, id: &str, now: UnixTime) -> Option<usize> {
        let number = *self.ids.get(id)?;
        let sinks = self.context.sinks_for(&self.notices.get(&number)?.notice);
        for sink in &sinks {
            let row = self.deliveries.entry((sink.clone(), number));
            let row = row.or_insert_with(|| OutboxRow::waiting(sink, now));
            if !row.waits() {
                *row = OutboxRow { attempt: row.attempt, ..OutboxRow::waiting(sink, now) };
            } else if !row.claimed && row.next_at > now {
                row.plan(now, false);
            }
        }
        self.end_hold(number, false);
        self.context.changed();
        // Every sink that is set has a waiting delivery now.
        Some(sinks.len())
    }

    fn counts(&self) -> Vec<SinkCounts> {
        let mut counts: BTreeMap<&str, SinkCounts> = BTreeMap::new();
        for ((sink, number), row) in &self.deliveries {
            let empty =
                SinkCounts { sink: sink.clone(), waiting: 0, failing: 0, given_up: 0, oldest_waiting: None };
            let count = counts.entry(sink).or_insert(empty);
            match row.delivery.state {
                DeliveryState::Waiting => {
                    count.waiting += 1;
                    count.failing += u64::from(row.delivery.why.is_some());
                    let at = self.notices.get(number).map(|stored| stored.notice.at);
                    count.oldest_waiting = count.oldest_waiting.or(at);
                }
                DeliveryState::GivenUp => count.given_up += 1,
                DeliveryState::Sent | DeliveryState::Outdated => {}
            }
        }
        counts.into_values().collect()
    }

    fn prune(&mut self, now: UnixTime) -> bool {
        let sinks = self.context.sinks();
        let is_unset = |row: &OutboxRow| !sinks.contains(&row.delivery.sink);
        let ending = |row: &&mut OutboxRow| row.waits() && !row.claimed && is_unset(row);
        let mut ended = 0;
        for row in self.deliveries.values_mut().filter(ending).take(DELIVERY_STEP) {
            ended += 1;
            row.done(DeliveryState::Outdated, Some("this sink is no longer set".to_owned()), now);
        }
        let old = now - std::time::Duration::from_secs(86_400) * KEEP_DONE_DAYS;
        let (last, most) = (self.numbers, i64::try_from(MAX_FINISHED).unwrap_or(i64::MAX));
        let recently = now - PERSON_MESSAGE_INTERVAL;
        let is_recent = |row: &OutboxRow| {
            let sent = row.delivery.sink == PEOPLE_SINK && row.delivery.state == DeliveryState::Sent;
            sent && row.delivery.done_at.is_some_and(|at| at > recently)
        };
        let needed = self.deliveries.iter().filter(|(_, row)| row.waits() || is_recent(row));
        let needed: BTreeSet<i64> = needed.map(|((_, number), _)| *number).collect();
        self.notices.retain(|number, stored| {
            let expendable = stored.notice.at < old || *number <= last - most;
            !expendable || stored.held_until.is_some() || needed.contains(number)
        });
        let stored = &self.notices;
        self.ids.retain(|_, number| stored.contains_key(number));
        self.deliveries.retain(|(_, number), _| stored.contains_key(number));
        ended == DELIVERY_STEP
    }
}

/// The history entry of a notice that was given up.
fn given_up(notice: &Notice, (sink, why): (&str, &str), now: UnixTime) -> HistoryEntry {
    let person = notice.person.as_ref().map(|person| &person.id);
    HistoryEntry::new(now, person, "notice.given_up", &format!("{} for {sink}: {why}", notice.kind.as_str()))
}
