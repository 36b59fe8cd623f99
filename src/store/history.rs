//! The history: past events, which operators can read.

use crate::domain::history::DailyCount;
use crate::domain::history::HistoryEntry;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreFuture;

/// Which entries to list, newest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Only entries about this person.
    pub person: Option<PersonId>,
    /// Only entries with a smaller number.
    pub before: Option<i64>,
    /// Maximum number of entries.
    pub limit: u32,
}

/// The history of a store. An entry is written in the transaction of the change that it describes. The age and the number of
/// entries are bounded ([`crate::domain::history`]).
pub trait HistoryStore: Send + Sync {
    /// Entries with their numbers, newest first.
    fn history(&self, page: HistoryPage) -> StoreFuture<'_, Vec<(i64, HistoryEntry)>>;

    /// The numbers of refreshes without a history entry, by day and outcome, newest first, of at most this many days.
    fn daily_counts(&self, days: u32) -> StoreFuture<'_, Vec<DailyCount>>;

    /// Removes entries that are too old or too many, in one short step. Returns whether more may have to be removed.
    fn prune_history(&self, now: UnixTime) -> StoreFuture<'_, bool>;
}
