//! A store with an interceptor in front of it. Only this module forwards every operation.

use std::any::Any;
use std::sync::Arc;

use webex_tokend::domain::breaker::Waiting;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Namesake;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::schedule::Next;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Answer;
use webex_tokend::store::Ask;
use webex_tokend::store::Bookmark;
use webex_tokend::store::Census;
use webex_tokend::store::Claim;
use webex_tokend::store::Claims;
use webex_tokend::store::Committed;
use webex_tokend::store::Counts;
use webex_tokend::store::Cursor;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Note;
use webex_tokend::store::Page;
use webex_tokend::store::Revision;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;

/// The operations of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StoreOp {
    SaveConsent,
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
    Census,
    Counts,
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
        work: impl FnOnce() -> Answer<'a, T> + Send + 'a,
    ) -> Answer<'a, T>;
}

/// A store behind an interceptor.
pub(crate) struct InterceptedStore<B> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) intercept: B,
}

impl<B: Intercept> Store for InterceptedStore<B> {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.intercept.intercept(StoreOp::SaveConsent, Some(&grant.person.id.clone()), move || {
            self.store.save_consent(grant)
        })
    }

    fn save_import(&self, grant: Grant) -> Answer<'_, Saved> {
        self.intercept.intercept(StoreOp::SaveConsent, Some(&grant.person.id.clone()), move || {
            self.store.save_import(grant)
        })
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.intercept.intercept(StoreOp::ClaimDue, None, move || self.store.claim_due(ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        self.intercept
            .intercept(StoreOp::ClaimOne, Some(&person.clone()), move || self.store.claim_one(person, lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        self.intercept.intercept(StoreOp::Commit, Some(&grant.person.id.clone()), move || {
            self.store.commit(fence, grant)
        })
    }

    fn give_back(&self, person: PersonId, fence: Fence, next: Next) -> Answer<'_, Committed> {
        self.intercept.intercept(StoreOp::GiveBack, Some(&person.clone()), move || {
            self.store.give_back(person, fence, next)
        })
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.intercept.intercept(StoreOp::Find, Some(&person.clone()), move || self.store.find(person))
    }

    fn resolve(&self, email: Email) -> Answer<'_, Vec<Namesake>> {
        self.intercept.intercept(StoreOp::Resolve, None, move || self.store.resolve(email))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> Answer<'_, bool> {
        let id = person.id.clone();
        self.intercept.intercept(StoreOp::UpdatePerson, Some(&id), move || {
            self.store.update_person(person, planned, next)
        })
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        self.intercept.intercept(StoreOp::List, None, move || self.store.list(page))
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        self.intercept.intercept(StoreOp::Forget, Some(&person.clone()), move || self.store.forget(person))
    }

    fn next_wake(&self, after: UnixTime) -> Answer<'_, Option<UnixTime>> {
        self.intercept.intercept(StoreOp::NextWake, None, move || self.store.next_wake(after))
    }

    fn waiting(&self, now: UnixTime) -> Answer<'_, Waiting> {
        self.intercept.intercept(StoreOp::Waiting, None, move || self.store.waiting(now))
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        self.intercept.intercept(StoreOp::Revise, None, move || self.store.revise(after, limit, revision))
    }

    fn census(&self) -> Answer<'_, Census> {
        self.intercept.intercept(StoreOp::Census, None, move || self.store.census())
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        self.intercept.intercept(StoreOp::Counts, None, move || self.store.counts(now))
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.intercept.intercept(StoreOp::Latest, None, move || self.store.latest())
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        self.intercept.intercept(StoreOp::Settle, None, move || self.store.settle(now, lease_end))
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        self.intercept.intercept(StoreOp::Recall, None, move || self.store.recall(note))
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        self.intercept.intercept(StoreOp::Remember, None, move || self.store.remember(note, text))
    }

    fn check(&self) -> Answer<'_, ()> {
        self.intercept.intercept(StoreOp::Check, None, move || self.store.check())
    }

    fn prove(&self) -> Answer<'_, ()> {
        self.intercept.intercept(StoreOp::Prove, None, move || self.store.prove())
    }
}
