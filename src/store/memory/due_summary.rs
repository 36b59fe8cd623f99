//! Finds in memory what waits for a refresh.

use crate::domain::breaker::DueSummary;
use crate::domain::grant::GrantStatus;
use crate::domain::time::UnixTime;
use crate::store::memory::MemoryState;

impl MemoryState {
    pub(super) fn due_summary(&self, now: UnixTime) -> DueSummary {
        let due = || {
            let grants = self.rows.values().map(|row| (row.fence.serial, &row.grant));
            grants.filter(|(_, grant)| grant.status == GrantStatus::Active && grant.next.due_at <= now)
        };
        let living = due().filter(|(_, grant)| grant.tokens.expires_at > now);
        let next_to_die = living.min_by_key(|(serial, grant)| (grant.tokens.expires_at, *serial));
        DueSummary {
            due: due().next().is_some(),
            healthy: due().any(|(_, grant)| grant.failures == 0),
            next_to_die: next_to_die.map(|(_, grant)| (grant.person.id.clone(), grant.dates())),
        }
    }
}
