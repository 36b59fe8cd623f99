//! A store that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::PersonId;
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
use webex_tokend::store::Day;
use webex_tokend::store::Fence;
use webex_tokend::store::Lease;
use webex_tokend::store::Note;
use webex_tokend::store::Page;
use webex_tokend::store::Past;
use webex_tokend::store::Revision;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::memory::MemoryStore;

/// In memory, and well unless told otherwise.
#[derive(Default)]
pub(super) struct MoodyStore {
    inner: MemoryStore,
    /// Nothing is written while this is set.
    pub(super) read_only: AtomicBool,
    /// No note is read or written while this is set.
    pub(super) no_notes: AtomicBool,
    /// Claims that were asked for.
    pub(super) claims: AtomicUsize,
    /// Revisions that were asked for.
    pub(super) revisions: AtomicUsize,
    /// Notes that were kept.
    pub(super) notes: AtomicUsize,
}

impl MoodyStore {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(super) fn set(mood: &AtomicBool, on: bool) {
        mood.store(on, Ordering::SeqCst);
    }

    fn unless<'a, T: Send + 'a>(mood: &AtomicBool, answer: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
        if mood.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(StoreError::ReadOnly)));
        }
        answer()
    }

    fn write<'a, T: Send + 'a>(&self, answer: impl FnOnce() -> Answer<'a, T>) -> Answer<'a, T> {
        Self::unless(&self.read_only, answer)
    }
}

impl Store for MoodyStore {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.write(|| self.inner.save_consent(grant))
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.claims.fetch_add(1, Ordering::SeqCst);
        self.write(|| self.inner.claim_due(ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        self.write(|| self.inner.claim_one(person, lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        self.write(|| self.inner.commit(fence, grant))
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.inner.find(person)
    }

    fn resolve(&self, email: Email) -> Answer<'_, Option<PersonId>> {
        self.inner.resolve(email)
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        self.inner.list(page)
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        self.write(|| self.inner.forget(person))
    }

    fn next_wake(&self) -> Answer<'_, Option<UnixTime>> {
        self.inner.next_wake()
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        self.revisions.fetch_add(1, Ordering::SeqCst);
        self.write(|| self.inner.revise(after, limit, revision))
    }

    fn census(&self) -> Answer<'_, Census> {
        self.inner.census()
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        self.inner.counts(now)
    }

    fn history(&self, since: UnixTime) -> Answer<'_, Vec<Past>> {
        self.inner.history(since)
    }

    fn calendar(&self, now: UnixTime, days: u32) -> Answer<'_, Vec<Day>> {
        self.inner.calendar(now, days)
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.inner.latest()
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        self.write(|| self.inner.settle(now, lease_end))
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        Self::unless(&self.no_notes, || self.inner.recall(note))
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        self.notes.fetch_add(1, Ordering::SeqCst);
        Self::unless(&self.no_notes, || self.write(|| self.inner.remember(note, text)))
    }

    fn check(&self) -> Answer<'_, ()> {
        self.inner.check()
    }

    fn prove(&self) -> Answer<'_, ()> {
        self.inner.prove()
    }
}
