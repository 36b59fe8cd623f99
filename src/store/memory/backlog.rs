//! Counts in memory what waits for a refresh.

use std::convert::Infallible;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::time::UnixTime;
use crate::store::BacklogCounts;
use crate::store::BacklogRequest;
use crate::store::memory::MemoryState;

impl MemoryState {
    pub(super) fn backlog(&self, ask: &BacklogRequest) -> BacklogCounts {
        let most = usize::try_from(ask.limit.saturating_add(1)).unwrap_or(usize::MAX);
        let count = |matches: &dyn Fn(&Grant) -> bool| {
            let grants = self.rows.values().map(|row| &row.grant);
            let found =
                grants.filter(|grant| grant.status == GrantStatus::Active && matches(grant)).take(most);
            u64::try_from(found.count()).unwrap_or(u64::MAX)
        };
        let due = count(&|grant| grant.next.due_at <= ask.now);
        let expiring = |from: UnixTime, before: UnixTime| -> Result<u64, Infallible> {
            Ok(count(&|grant| (from..before).contains(&grant.tokens.expires_at)))
        };
        let Ok(counts) = BacklogCounts::of(ask, due, expiring);
        counts
    }
}
