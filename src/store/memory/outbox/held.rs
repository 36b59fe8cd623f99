//! Held notices: they become due one by one, or join a digest.

use std::collections::BTreeSet;

use crate::domain::notice::NoticeType;
use crate::domain::notice::digest;
use crate::domain::time::UnixTime;
use crate::store::memory::outbox::Kept;
use crate::store::memory::outbox::Outbox;
use crate::store::outbox::PEOPLE_SINK;

impl Outbox {
    fn held(&self, kind: NoticeType, until: UnixTime) -> Vec<i64> {
        let is_held = |kept: &Kept| kept.notice.kind == kind && kept.held_until.is_some_and(|at| at <= until);
        let held = self.notices.iter().filter(|(_, kept)| is_held(kept)).map(|(number, _)| *number);
        held.take(digest::FOLD_STEP).collect()
    }

    /// Makes a held notice due. `is_in_digest`: operators get a digest in its place.
    fn free(&mut self, number: i64, is_in_digest: bool, now: UnixTime) {
        self.end_hold(number, is_in_digest);
        let waiting = self.rows_of(number).filter(|row| row.waits());
        waiting.for_each(|row| (row.next_at, row.planned_at) = (now, now));
    }

    /// Marks a notice as no longer held, and publishes it. A digest needs its list of persons no more.
    pub(super) fn end_hold(&mut self, number: i64, is_in_digest: bool) {
        let Some(kept) = self.notices.get_mut(&number) else { return };
        kept.persons.clear();
        if kept.held_until.take().is_some() {
            self.context.add_event(|| Some(kept.notice.clone()), is_in_digest);
        }
    }

    pub(super) fn release(&mut self, now: UnixTime) -> bool {
        let due = self.notices.values().filter(|kept| kept.held_until.is_some_and(|at| at <= now));
        // Digests come last, because the notices that are due now may still join one.
        let due = due.map(|kept| kept.notice.kind).min_by_key(|kind| *kind == NoticeType::Digest);
        let Some(kind) = due else { return false };
        let is_open = |kept: &Kept| {
            kept.notice.kind == NoticeType::Digest
                && kept.held_until.is_some()
                && kept.notice.data.get("type").and_then(|text| text.as_str()) == Some(kind.word())
        };
        let open = self.notices.iter().find(|(_, kept)| is_open(kept)).map(|(number, _)| *number);
        let all = self.held(kind, UnixTime::NEVER);
        let persons: BTreeSet<_> = all
            .iter()
            .filter_map(|number| self.notices.get(number)?.notice.person.as_ref().map(|p| &p.id))
            .collect();
        let many = kind != NoticeType::Digest && persons.len() > digest::MOST_SINGLE;
        if many || open.is_some() {
            self.fold(kind, open, &all, now);
        } else {
            self.held(kind, now).into_iter().for_each(|number| self.free(number, false, now));
        }
        self.context.changed();
        true
    }

    fn fold(&mut self, kind: NoticeType, open: Option<i64>, joining: &[i64], now: UnixTime) {
        let first = joining.first().and_then(|number| Some((number, self.notices.get(number)?)));
        let Some((number, first)) = first else { return };
        let begun = digest::begin(kind, (*number, &first.notice.id), now);
        let sinks = self.context.sinks_for(&begun);
        let open = open.unwrap_or_else(|| self.insert(begun, Some(now), (&sinks, UnixTime::NEVER)));
        let mut persons = Vec::new();
        for number in joining {
            persons.extend(
                self.notices.get(number).and_then(|kept| Some(kept.notice.person.as_ref()?.id.clone())),
            );
            self.deliveries.retain(|(sink, of), _| of != number || sink == PEOPLE_SINK);
            self.free(*number, true, now);
            if self.rows_of(*number).next().is_none()
                && let Some(kept) = self.notices.remove(number)
            {
                self.ids.remove(&kept.notice.id);
            }
        }
        if let Some(kept) = self.notices.get_mut(&open) {
            let before = kept.persons.len();
            kept.persons.extend(persons);
            kept.notice = digest::joined(kept.notice.clone(), kept.persons.len() - before);
            kept.held_until = Some(digest::held_until(kept.notice.at, now));
        }
    }
}
