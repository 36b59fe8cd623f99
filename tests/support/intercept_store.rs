//! A store with an interceptor in front of it. Only this module forwards every operation.

use std::any::Any;
use std::sync::Arc;

use webex_tokend::domain::breaker::DueSummary;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::list::ListPosition;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::domain::overview::StateCounts;
use webex_tokend::domain::person::AddressMatch;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::BacklogCounts;
use webex_tokend::store::BacklogRequest;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::Claim;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Claims;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::GrantUpdate;
use webex_tokend::store::ImportedToken;
use webex_tokend::store::Lease;
use webex_tokend::store::MetaKey;
use webex_tokend::store::Removal;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::StoreFuture;
use webex_tokend::store::StoreMetadata;

/// The operations of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoreOp {
    SaveConsent,
    FindImport,
    ClaimDue,
    ClaimOne,
    Commit,
    GiveBack,
    Find,
    Resolve,
    UpdatePerson,
    List,
    Forget,
    NextWake,
    Waiting,
    Revise,
    Totals,
    Counts,
    Backlog,
    Latest,
    Settle,
    Recall,
    Remember,
    Check,
    Prove,
}

/// Intercepts the calls of a store.
pub(crate) trait Intercept: Send + Sync {
    /// One operation, about this person if it is about one; `work` calls the store itself. `T` is the type of the
    /// reply; an interceptor that wants to see or change the reply uses it as [`Any`].
    fn intercept<'a, T: Any + Send>(
        &'a self,
        op: StoreOp,
        person: Option<&PersonId>,
        work: impl FnOnce() -> StoreFuture<'a, T> + Send + 'a,
    ) -> StoreFuture<'a, T>;
}

/// A store behind an interceptor.
pub(crate) struct InterceptedStore<B> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) intercept: B,
}

impl<B: Intercept> GrantCommands for InterceptedStore<B> {
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved> {
        self.intercept.intercept(StoreOp::SaveConsent, Some(&grant.person.id.clone()), move || {
            self.store.save_consent(grant)
        })
    }

    fn save_import(&self, grant: Grant, token: ImportedToken) -> StoreFuture<'_, Saved> {
        self.intercept.intercept(StoreOp::SaveConsent, Some(&grant.person.id.clone()), move || {
            self.store.save_import(grant, token)
        })
    }

    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims> {
        self.intercept.intercept(StoreOp::ClaimDue, None, move || self.store.claim_due(ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>> {
        self.intercept
            .intercept(StoreOp::ClaimOne, Some(&person.clone()), move || self.store.claim_one(person, lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed> {
        self.intercept.intercept(StoreOp::Commit, Some(&grant.person.id.clone()), move || {
            self.store.commit(fence, grant)
        })
    }

    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed> {
        self.intercept.intercept(StoreOp::GiveBack, Some(&person.clone()), move || {
            self.store.release(person, fence, next)
        })
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool> {
        let id = person.id.clone();
        self.intercept.intercept(StoreOp::UpdatePerson, Some(&id), move || {
            self.store.update_person(person, planned, next)
        })
    }

    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool> {
        self.intercept.intercept(StoreOp::Forget, Some(&person.clone()), move || self.store.forget(person))
    }

    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>> {
        self.intercept.intercept(StoreOp::Forget, None, move || self.store.forget_all(removal))
    }

    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>> {
        self.intercept
            .intercept(StoreOp::Revise, None, move || self.store.update_batch(after, limit, revision))
    }

    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()> {
        self.intercept.intercept(StoreOp::Settle, None, move || self.store.clamp_times(now, lease_end))
    }
}

impl<B: Intercept> GrantQueries for InterceptedStore<B> {
    fn find_import(&self, token_hash: [u8; 32]) -> StoreFuture<'_, Option<PersonId>> {
        self.intercept.intercept(StoreOp::FindImport, None, move || self.store.find_import(token_hash))
    }

    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>> {
        self.intercept.intercept(StoreOp::Find, Some(&person.clone()), move || self.store.find(person))
    }

    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>> {
        self.intercept.intercept(StoreOp::Resolve, None, move || self.store.resolve(email))
    }

    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>> {
        self.intercept.intercept(StoreOp::List, None, move || self.store.list(page))
    }

    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>> {
        self.intercept.intercept(StoreOp::NextWake, None, move || self.store.next_wake(after))
    }

    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary> {
        self.intercept.intercept(StoreOp::Waiting, None, move || self.store.due_summary(now))
    }

    fn totals(&self) -> StoreFuture<'_, GrantTotals> {
        self.intercept.intercept(StoreOp::Totals, None, move || self.store.totals())
    }

    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts> {
        self.intercept.intercept(StoreOp::Counts, None, move || self.store.counts(now))
    }

    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts> {
        self.intercept.intercept(StoreOp::Backlog, None, move || self.store.backlog(ask))
    }
}

impl<B: Intercept> StoreMetadata for InterceptedStore<B> {
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>> {
        self.intercept.intercept(StoreOp::Latest, None, move || self.store.last_write_at())
    }

    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>> {
        self.intercept.intercept(StoreOp::Recall, None, move || self.store.get_meta(note))
    }

    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()> {
        self.intercept.intercept(StoreOp::Remember, None, move || self.store.set_meta(note, text))
    }

    fn check_readable(&self) -> StoreFuture<'_, ()> {
        self.intercept.intercept(StoreOp::Check, None, move || self.store.check_readable())
    }

    fn check_writable(&self) -> StoreFuture<'_, ()> {
        self.intercept.intercept(StoreOp::Prove, None, move || self.store.check_writable())
    }
}
