//! The history in memory.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use crate::domain::history::DailyCount;
use crate::domain::history::HistoryEntry;
use crate::domain::history::KEEP_HISTORY;
use crate::domain::history::MAX_ENTRIES_PER_PERSON;
use crate::domain::history::day_of;
use crate::domain::time::UnixTime;
use crate::store::history::HistoryPage;

/// Entries kept in memory, which is dearer than a disk.
const MAX_ENTRIES: usize = 50_000;

#[derive(Debug, Default)]
pub(super) struct History {
    numbers: i64,
    entries: VecDeque<(i64, HistoryEntry)>,
    counts: BTreeMap<(i64, &'static str), u64>,
}

impl History {
    pub(super) fn extend(&mut self, entries: &[HistoryEntry]) {
        for entry in entries {
            self.numbers += 1;
            self.entries.push_back((self.numbers, entry.clone()));
            let theirs = |(_, one): &&(i64, HistoryEntry)| one.person.is_some() && one.person == entry.person;
            // Looked at only where there are so many entries at all.
            if self.entries.len() > MAX_ENTRIES_PER_PERSON
                && self.entries.iter().filter(theirs).count() > MAX_ENTRIES_PER_PERSON
                && let Some(oldest) = self.entries.iter().position(|one| theirs(&one))
            {
                self.entries.remove(oldest);
            }
            if self.entries.len() > MAX_ENTRIES {
                self.entries.pop_front();
            }
        }
    }

    pub(super) fn count(&mut self, outcome: &'static str, now: UnixTime) {
        *self.counts.entry((day_of(now), outcome)).or_default() += 1;
    }

    /// The entries of a page, newest first.
    pub(super) fn page(&self, page: &HistoryPage) -> Vec<(i64, HistoryEntry)> {
        let before = page.before.unwrap_or(i64::MAX);
        let fits = |(number, entry): &&(i64, HistoryEntry)| {
            *number < before && (page.person.is_none() || entry.person == page.person)
        };
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        self.entries.iter().rev().filter(fits).take(limit).cloned().collect()
    }

    /// The counts of the last `days` days, newest first.
    pub(super) fn daily_counts(&self, days: u32) -> Vec<DailyCount> {
        let last = self.counts.keys().map(|(day, _)| *day).max().unwrap_or_default();
        let shown = |((day, outcome), refreshes): (&(i64, &'static str), &u64)| DailyCount {
            day: *day,
            outcome: (*outcome).to_owned(),
            refreshes: *refreshes,
        };
        let recent = self.counts.iter().filter(|((day, _), _)| *day > last - i64::from(days));
        let mut shown: Vec<DailyCount> = recent.map(shown).collect();
        shown.sort_by(|a, b| b.day.cmp(&a.day).then_with(|| a.outcome.cmp(&b.outcome)));
        shown
    }

    /// No date stays later than `now`.
    pub(super) fn clamp_times(&mut self, now: UnixTime) {
        for (_, entry) in &mut self.entries {
            entry.at = entry.at.min(now);
        }
        let mut counts = BTreeMap::new();
        for ((day, outcome), refreshes) in std::mem::take(&mut self.counts) {
            *counts.entry((day.min(day_of(now)), outcome)).or_default() += refreshes;
        }
        self.counts = counts;
    }

    /// Removes what is too old at `now`.
    pub(super) fn prune(&mut self, now: UnixTime) {
        let old = now - KEEP_HISTORY;
        self.entries.retain(|(_, entry)| entry.at >= old);
        self.counts.retain(|(day, _), _| *day >= day_of(old));
    }
}
