//! What reads the stored grants.

use crate::domain::breaker::DueSummary;
use crate::domain::grant::Grant;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::overview::GrantTotals;
use crate::domain::overview::StateCounts;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::answer::StoreFuture;
use crate::store::backlog::BacklogCounts;
use crate::store::backlog::BacklogRequest;

/// Reads the grants of one integration. Methods may be called concurrently from any number of tasks.
pub trait GrantQueries: Send + Sync {
    /// One person's grant.
    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>>;

    /// The persons with this address, at most [`MAX_SAME_ADDRESS`](crate::domain::person::MAX_SAME_ADDRESS). Those whose grants
    /// are alive come first, and then those who were stored first.
    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>>;

    /// The person for whose grant [`GrantCommands::save_import`](crate::store::GrantCommands::save_import) has marked the token with
    /// this SHA-256 as imported.
    fn find_import(&self, token_hash: [u8; 32]) -> StoreFuture<'_, Option<PersonId>>;

    /// A page of the list of grants, with the position of each. The cost depends on the size of the page only.
    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>>;

    /// The earliest `wake_at` of all grants that is later than `after`.
    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>>;

    /// What waits for a refresh at `now`. Grants that have ended do not count.
    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary>;

    /// How many grants there are.
    fn totals(&self) -> StoreFuture<'_, GrantTotals>;

    /// How many grants are in which state at `now`.
    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts>;

    /// How many living grants wait for a refresh. The cost grows with these numbers, but not beyond the limit of the request.
    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts>;
}
