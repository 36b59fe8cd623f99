//! Held notices: they become due one by one, or join a digest.

use std::collections::BTreeSet;

use crate::domain::notice::NoticeType;
use crate::domain::notice::digest;
use crate::domain::time::UnixTime;
use crate::store::memory::outbox::Outbox;
use crate::store::memory::outbox::StoredNotice;
use crate::store::outbox::PEOPLE_SINK;

impl Outbox {
    fn held(&self, kind: NoticeType, until: UnixTime) -> Vec<i64> {
        let is_held = |stored: &StoredNotice| {
            stored.notice.kind == kind && stored.held_until.is_some_and(|at| at <= until)
        };
        let held = self.notices.iter().filter(|(_, stored)| is_held(stored)).map(|(number, _)| *number);
        held.take(digest::MERGE_BATCH).collect()
    }

    /// Makes a held notice due. `is_in_digest`: operators get a digest in its place.
    fn make_due(&mut self, number: i64, is_in_digest: bool, now: UnixTime) {
        self.end_hold(number, is_in_digest);
        let waiting = self.rows_of(number).filter(|row| row.waits());
        waiting.for_each(|row| (row.next_at, row.planned_at) = (now, now));
    }

    /// Marks a notice as no longer held, and publishes it. A digest no longer needs its list of persons.
    pub(super) fn end_hold(&mut self, number: i64, is_in_digest: bool) {
        let Some(stored) = self.notices.get_mut(&number) else { return };
        stored.persons.clear();
        if stored.held_until.take().is_some() {
            self.context.add_event(|| Some(stored.notice.clone()), is_in_digest);
        }
    }

    pub(super) fn release(&mut self, now: UnixTime) -> bool {
        let due = self.notices.values().filter(|stored| stored.held_until.is_some_and(|at| at <= now));
        // Digests come last, because the notices that are due now may still join one.
        let due = due.map(|stored| stored.notice.kind).min_by_key(|kind| *kind == NoticeType::Digest);
        let Some(kind) = due else { return false };
        let is_open = |stored: &StoredNotice| {
            stored.notice.kind == NoticeType::Digest
                && stored.held_until.is_some()
                && stored.notice.data.get("type").and_then(|text| text.as_str()) == Some(kind.as_str())
        };
        let open = self.notices.iter().find(|(_, stored)| is_open(stored)).map(|(number, _)| *number);
        let all = self.held(kind, UnixTime::NEVER);
        let persons: BTreeSet<_> = all
            .iter()
            .filter_map(|number| self.notices.get(number)?.notice.person.as_ref().map(|p| &p.id))
            .collect();
        let many = kind != NoticeType::Digest && persons.len() > digest::MAX_SEPARATE_PERSONS;
        if many || open.is_some() {
            self.merge_into_digest(kind, open, &all, now);
        } else {
            self.held(kind, now).into_iter().for_each(|number| self.make_due(number, false, now));
        }
        self.context.changed();
        true
    }

    fn merge_into_digest(&mut self, kind: NoticeType, open: Option<i64>, joining: &[i64], now: UnixTime) {
        let first = joining.first().and_then(|number| Some((number, self.notices.get(number)?)));
        let Some((number, first)) = first else { return };
        let begun = digest::begin(kind, (*number, &first.notice.id), now);
        let sinks = self.context.sinks_for(&begun);
        let open = open.unwrap_or_else(|| self.insert(begun, Some(now), (&sinks, UnixTime::NEVER)));
        let mut persons = Vec::new();
        for number in joining {
            persons.extend(
                self.notices.get(number).and_then(|stored| Some(stored.notice.person.as_ref()?.id.clone())),
            );
            self.deliveries.retain(|(sink, of), _| of != number || sink == PEOPLE_SINK);
            self.make_due(*number, true, now);
            if self.rows_of(*number).next().is_none()
                && let Some(stored) = self.notices.remove(number)
            {
                self.ids.remove(&stored.notice.id);
            }
        }
        if let Some(stored) = self.notices.get_mut(&open) {
            let before = stored.persons.len();
            stored.persons.extend(persons);
            stored.notice = digest::joined(stored.notice.clone(), stored.persons.len() - before);
            stored.held_until = Some(digest::held_until(stored.notice.at, now));
        }
    }
}
