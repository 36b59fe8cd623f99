//! What happened, kept for reading.

use crate::domain::history::DailyCount;
use crate::domain::history::HistoryEntry;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreFuture;

/// Which entries to list, newest first.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// Only this person's.
    pub person: Option<PersonId>,
    /// Only those with a smaller number.
    pub before: Option<i64>,
    /// So many at most.
    pub limit: u32,
}

/// The history of a store. It is written with the changes that it tells of, and bounded in time and number
/// ([`crate::domain::history`]).
pub trait HistoryStore: Send + Sync {
    /// Entries with their numbers, newest first.
    fn history(&self, page: HistoryPage) -> StoreFuture<'_, Vec<(i64, HistoryEntry)>>;

    /// Refreshes that changed nothing worth an entry, by day and outcome, newest first; so many days at most.
    fn daily_counts(&self, days: u32) -> StoreFuture<'_, Vec<DailyCount>>;

    /// Removes what is too old or too much, in short steps. Answers whether there may be more.
    fn prune_history(&self, now: UnixTime) -> StoreFuture<'_, bool>;
}
