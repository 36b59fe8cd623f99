//! The history of the memory store, as other parts ask for it.

use crate::domain::history::DailyCount;
use crate::domain::history::HistoryEntry;
use crate::domain::time::UnixTime;
use crate::store::StoreFuture;
use crate::store::history::HistoryPage;
use crate::store::history::HistoryStore;
use crate::store::memory::MemoryStore;

impl HistoryStore for MemoryStore {
    fn history(&self, page: HistoryPage) -> StoreFuture<'_, Vec<(i64, HistoryEntry)>> {
        self.answer(|inner| inner.history.page(&page))
    }

    fn daily_counts(&self, days: u32) -> StoreFuture<'_, Vec<DailyCount>> {
        self.answer(|inner| inner.history.daily_counts(days))
    }

    fn prune_history(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| {
            inner.history.prune(now);
            false
        })
    }
}
