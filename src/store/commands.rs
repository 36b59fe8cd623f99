//! What changes the stored grants.

use crate::domain::grant::Grant;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::store::answer::BatchPosition;
use crate::store::answer::Committed;
use crate::store::answer::GrantUpdate;
use crate::store::answer::Saved;
use crate::store::answer::StoreFuture;
use crate::store::claim::Claim;
use crate::store::claim::ClaimRequest;
use crate::store::claim::Claims;
use crate::store::claim::Fence;
use crate::store::claim::Lease;
use crate::store::imported_token::ImportedToken;
use crate::store::removal::Removal;

/// Changes the grants of one integration.
///
/// A method answers `Ok` only after its change is durable. `Err` means that nothing was changed. Methods may be called
/// concurrently from any number of tasks.
pub trait GrantCommands: Send + Sync {
    /// Stores the grant of a consent. It replaces the person's older grant, whose running claim becomes void. Of two consents
    /// the one that was obtained later stays, in whatever order they are stored. If the stored grant is dated later than the
    /// new grant's own time ([`Grant::last`]), the clock was wrong, and the new grant replaces it.
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved>;

    /// Stores an imported grant as [`GrantCommands::save_consent`] does, and marks the token as imported for as long as no consent
    /// and no other import replaces the person's grant ([`GrantQueries::find_import`](crate::store::GrantQueries::find_import)).
    /// If the stored grant covers the imported one ([`Grant::covers`]), the stored one stays, and the answer is [`Saved::Kept`].
    fn save_import(&self, grant: Grant, token: ImportedToken) -> StoreFuture<'_, Saved>;

    /// Claims up to `limit` due grants in the order of the request; no other caller gets them until the lease ends. The
    /// claim is durable when it is answered: its holder may call Webex.
    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims>;

    /// Claims one person's grant, due or not. `None` if there is none, or if it is claimed and its lease has not ended.
    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>>;

    /// Stores the result of a refresh of a claimed grant and ends the claim. If a consent, another claim or a removal came
    /// first, nothing is changed and the answer is [`Committed::Superseded`]. Only a consent and [`GrantCommands::update_person`]
    /// change the person.
    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed>;

    /// Releases a claim without a refresh: the grant stays as it was and is planned by `next`. As with [`GrantCommands::commit`],
    /// nothing is changed if a consent, another claim or a removal came first.
    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed>;

    /// Stores what Webex says of a person, and `next` as [`Grant::person_check_at`]. If that is no longer `planned`, a newer
    /// consent was stored: then nothing is changed, and the answer is `false`. A running claim stays valid.
    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool>;

    /// Removes a person's grant with its tokens. Answers whether there was one.
    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool>;

    /// Removes the grants of many persons as [`GrantCommands::forget`] does, in one transaction. Answers whose grants were removed.
    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>>;

    /// Applies `revision` to up to `limit` grants after the cursor and stores those that it changes. Answers where to
    /// continue, or `None` at the end. Persons are not changed, nor are claims and their leases. Claimed grants are revised
    /// as well: a later commit overwrites the change, but if the claim was abandoned, the grant must not keep its old
    /// dates. Callers revise a long list in many short steps, so that other writes run between them.
    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>>;

    /// Sets [`last_write_at`](crate::store::StoreMetadata::last_write_at) back to `now` if it is later, the ends of leases back to `lease_end`, and dates of the outbox
    /// and the history back to `now`: what was to be sent later is due now. Called when all dates that a fast clock wrote are
    /// corrected.
    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()>;
}
