//! The grants in the order in which they are due. The cost of a claim depends on the claimed grants only, not on how many are
//! due or stored.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Bound;

use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// When one grant is due. Of two grants that are due at the same time, the one that was stored first comes first.
#[derive(Clone, Debug)]
struct DueEntry {
    serial: i64,
    person: PersonId,
    due_at: UnixTime,
    expires_at: UnixTime,
}

/// Every grant is in exactly one of `due` and `later`, and in `wakes`.
#[derive(Debug, Default)]
pub(super) struct DueIndex {
    /// The time up to which `due` is complete.
    due_by: Option<UnixTime>,
    /// The grants that are due at that time, least life left first.
    due: BTreeMap<(UnixTime, i64), DueEntry>,
    /// The other grants, by due time.
    later: BTreeMap<(UnixTime, i64), DueEntry>,
    wakes: BTreeSet<(UnixTime, i64)>,
}

impl DueIndex {
    /// Adds a grant that is new or was changed.
    pub(super) fn insert(&mut self, serial: i64, grant: &Grant) {
        self.wakes.insert((grant.next.wake_at, serial));
        self.sort(DueEntry {
            serial,
            person: grant.person.id.clone(),
            due_at: grant.next.due_at,
            expires_at: grant.tokens.expires_at,
        });
    }

    /// Removes a grant that is removed or will be changed. It must be as it was added.
    pub(super) fn remove(&mut self, serial: i64, grant: &Grant) {
        self.wakes.remove(&(grant.next.wake_at, serial));
        self.due.remove(&(grant.tokens.expires_at, serial));
        self.later.remove(&(grant.next.due_at, serial));
    }

    /// The first wake later than `after`.
    pub(super) fn next_wake(&self, after: UnixTime) -> Option<UnixTime> {
        self.wakes.range((Bound::Excluded((after, i64::MAX)), Bound::Unbounded)).next().map(|(at, _)| *at)
    }

    /// The grants that are due: those whose tokens live at `now`, the least life left first, then the others.
    pub(super) fn due(&mut self, due_by: UnixTime, now: UnixTime) -> impl Iterator<Item = &PersonId> {
        // Grants that have become due since the last call are moved to `due`. If the time went back, all grants are moved.
        if self.due_by > Some(due_by) {
            self.later.extend(std::mem::take(&mut self.due).into_values().map(|t| ((t.due_at, t.serial), t)));
        }
        self.due_by = Some(due_by);
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= due_by) {
            let turn = first.remove();
            self.sort(turn);
        }
        let dies_now = (now, i64::MAX);
        let living = self.due.range((Bound::Excluded(dies_now), Bound::Unbounded));
        living.chain(self.due.range(..=dies_now)).map(|(_, turn)| &turn.person)
    }

    fn sort(&mut self, turn: DueEntry) {
        if Some(turn.due_at) <= self.due_by {
            self.due.insert((turn.expires_at, turn.serial), turn);
        } else {
            self.later.insert((turn.due_at, turn.serial), turn);
        }
    }
}
