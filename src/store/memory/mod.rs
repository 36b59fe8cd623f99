//! A store in memory, which is lost at the end of the process: for `TOKEND_STORE_URL=memory:` and for tests in virtual time.

mod api_keys;
mod backlog;
mod claim_order;
mod due_index;
mod due_summary;
mod history;
mod history_store;
mod outbox;
mod persons;
mod stored_grant;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::breaker::DueSummary;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::GrantStatus;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::notice::facts::Origin;
use crate::domain::overview::BoundedCount;
use crate::domain::overview::GrantTotals;
use crate::domain::overview::StateCounts;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::store::BacklogCounts;
use crate::store::BacklogRequest;
use crate::store::BatchPosition;
use crate::store::Claim;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::Claims;
use crate::store::Committed;
use crate::store::Fence;
use crate::store::GrantCommands;
use crate::store::GrantQueries;
use crate::store::GrantUpdate;
use crate::store::ImportedToken;
use crate::store::Lease;
use crate::store::MetaKey;
use crate::store::Removal;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::StoreMetadata;
use crate::store::memory::due_index::DueIndex;
use crate::store::memory::history::History;
use crate::store::memory::outbox::Outbox;
use crate::store::memory::stored_grant::StoredGrant;

/// Grants in a map behind a lock that is never held across an await.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<MemoryState>);

#[derive(Debug, Default)]
struct MemoryState {
    rows: BTreeMap<PersonId, StoredGrant>,
    due_index: DueIndex,
    serials: i64,
    latest: Option<UnixTime>,
    notes: BTreeMap<&'static str, String>,
    keys: Vec<ApiKeyRecord>,
    outbox: Outbox,
    history: History,
    /// Who was imported, by the hash of the refresh token.
    imports: BTreeMap<[u8; 32], PersonId>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes grants with open claims due at `now`, as opening an embedded store does. For simulations, in which the store
    /// outlives a simulated process.
    pub fn reopen(&self, now: UnixTime) {
        let mut inner = self.lock();
        inner.outbox.free_claims(now);
        inner.change_claimed(|row| {
            row.claimed = false;
            row.grant.next = Schedule::at(now);
        });
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.0.lock()
    }

    fn answer<T: Send + 'static>(&self, work: impl FnOnce(&mut MemoryState) -> T) -> StoreFuture<'_, T> {
        let mut inner = self.lock();
        let done: Result<T, StoreError> = Ok(work(&mut inner));
        let events = inner.outbox.context.take_events();
        inner.outbox.context.publish(&events);
        drop(inner);
        Box::pin(std::future::ready(done))
    }
}

impl MemoryState {
    fn stamp(&mut self, at: UnixTime) {
        self.latest = self.latest.max(Some(at));
    }

    /// Changes a row and moves it in every order.
    fn change<T>(&mut self, person: &PersonId, work: impl FnOnce(&mut StoredGrant) -> T) -> Option<T> {
        let row = self.rows.get_mut(person)?;
        self.due_index.remove(row.fence.serial, &row.grant);
        let done = work(row);
        self.due_index.insert(row.fence.serial, &row.grant);
        Some(done)
    }

    fn change_claimed(&mut self, work: impl Fn(&mut StoredGrant)) {
        let claimed = self.rows.iter().filter(|(_, row)| row.claimed).map(|(person, _)| person.clone());
        for person in claimed.collect::<Vec<_>>() {
            self.change(&person, &work);
        }
    }

    fn save_consent(&mut self, grant: Grant) -> Saved {
        self.stamp(grant.last.at);
        let Some(kept) = self.rows.get(&grant.person.id) else {
            self.serials += 1;
            let fence = Fence { serial: self.serials, version: 1, attempt: 0 };
            self.due_index.insert(fence.serial, &grant);
            self.rows.insert(grant.person.id.clone(), StoredGrant { grant, fence, claimed: false });
            return Saved::New;
        };
        let kept_at = kept.grant.obtained_at;
        if kept_at > grant.obtained_at && kept_at <= grant.last.at {
            return Saved::Older;
        }
        let person = grant.person.id.clone();
        self.imports.retain(|_, imported| *imported != person);
        self.change(&person, |row| {
            row.grant = grant;
            row.fence.version += 1;
            row.claimed = false;
        });
        Saved::Replaced
    }

    fn claim_due(&mut self, ask: &ClaimRequest) -> Claims {
        let in_order = ask.order == ClaimOrder::LeastLife;
        let mut due: Vec<PersonId> = {
            let free =
                self.due_index.due(ask.due_by, ask.lease.now).filter(|person| !ask.except.contains(person));
            free.take(if in_order { ask.limit } else { usize::MAX }).cloned().collect()
        };
        claim_order::sort(&mut due, &self.rows, ask);
        due.truncate(ask.limit);
        let claims: Vec<Claim> =
            due.iter().filter_map(|person| self.change(person, |row| row.claim(ask.lease.end))).collect();
        if !claims.is_empty() {
            self.stamp(ask.lease.now);
        }
        Claims { claims, ..Claims::default() }
    }

    fn claim_one(&mut self, person: &PersonId, lease: &Lease) -> Option<Claim> {
        let row = self.rows.get(person)?;
        if row.claimed && row.grant.next.due_at > lease.now {
            return None;
        }
        self.stamp(lease.now);
        self.change(person, |row| row.claim(lease.end))
    }

    fn list(&self, page: &ListRequest) -> Vec<(ListPosition, Grant)> {
        let part = page.select_from(self.rows.values().map(|row| (row.fence.serial, &row.grant)));
        part.into_iter().map(|(mark, grant)| (mark, grant.clone())).collect()
    }

    fn counts(&self, now: UnixTime) -> StateCounts {
        let count = |state| self.rows.values().filter(|row| row.grant.state(now) == state).count();
        let count = |state| u64::try_from(count(state)).unwrap_or(u64::MAX);
        let (due, fresh) = (count(GrantState::Due), count(GrantState::Fresh));
        let (fresh, due) = StateCounts::split_fresh_and_due(due + fresh, due, || fresh);
        let [retrying, consent_needed] =
            [GrantState::Retrying, GrantState::ConsentNeeded].map(|state| BoundedCount::exact(count(state)));
        let people = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        let ending = self.rows.values().filter(|row| row.grant.consent_ends_soon(now).is_some()).count();
        let consent_ending = BoundedCount::limited(u64::try_from(ending).unwrap_or(u64::MAX));
        StateCounts { people, fresh, due, retrying, consent_needed, consent_ending }
    }

    fn commit(&mut self, fence: Fence, grant: Grant) -> Committed {
        let (at, id) = (grant.last.at, grant.person.id.clone());
        if self.rows.get(&id).is_none_or(|row| row.fence != fence || !row.claimed) {
            return Committed::Superseded;
        }
        self.change(&id, |row| {
            row.grant = row.of_same_person(grant);
            row.fence.version += 1;
            row.claimed = false;
        });
        self.stamp(at);
        Committed::Kept
    }

    fn give_back(&mut self, person: &PersonId, fence: Fence, next: Schedule) -> Committed {
        if self.rows.get(person).is_none_or(|row| row.fence != fence || !row.claimed) {
            return Committed::Superseded;
        }
        self.change(person, |row| {
            row.grant.next = next;
            row.claimed = false;
        });
        Committed::Kept
    }

    fn revise(&mut self, after: BatchPosition, limit: u32, revision: &GrantUpdate) -> Option<BatchPosition> {
        let rows = self.rows.values().filter(|row| row.fence.serial > after.0);
        let mut part: Vec<(i64, PersonId)> =
            rows.map(|row| (row.fence.serial, row.grant.person.id.clone())).collect();
        part.sort_unstable();
        part.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        for (_, id) in &part {
            let Some(row) = self.rows.get(id) else { continue };
            let mut revised = row.grant.clone();
            if revision(&mut revised) {
                let lease = row.claimed.then_some(row.grant.next);
                revised.next = lease.unwrap_or(revised.next);
                self.change(id, |row| row.grant = row.of_same_person(revised));
            }
        }
        part.last().map(|(serial, _)| BatchPosition(*serial))
    }
}

impl GrantCommands for MemoryStore {
    fn save_consent(&self, grant: Grant) -> StoreFuture<'_, Saved> {
        self.answer(|inner| {
            let (replaced, kept) = (inner.replaceable(&grant.person.id), grant.clone());
            let saved = inner.save_consent(grant);
            inner.consent_stored(saved, (&kept, Origin::Consent), replaced)
        })
    }

    fn save_import(&self, grant: Grant, token: ImportedToken) -> StoreFuture<'_, Saved> {
        self.answer(|inner| {
            let (replaced, kept) = (inner.replaceable(&grant.person.id), grant.clone());
            let saved = inner.save_import(grant, &token);
            inner.consent_stored(saved, (&kept, Origin::Import), replaced)
        })
    }

    fn claim_due(&self, ask: ClaimRequest) -> StoreFuture<'_, Claims> {
        self.answer(|inner| inner.claim_due(&ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> StoreFuture<'_, Option<Claim>> {
        self.answer(|inner| inner.claim_one(&person, &lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> StoreFuture<'_, Committed> {
        self.answer(|inner| {
            let mut grant = grant;
            let outbox_entries = std::mem::take(&mut grant.outbox_entries);
            let committed = inner.commit(fence, grant);
            if committed == Committed::Kept {
                inner.record(&outbox_entries);
            }
            committed
        })
    }

    fn release(&self, person: PersonId, fence: Fence, next: Schedule) -> StoreFuture<'_, Committed> {
        self.answer(|inner| inner.give_back(&person, fence, next))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> StoreFuture<'_, bool> {
        self.answer(|inner| inner.update_person(person, planned, next))
    }

    fn forget(&self, person: PersonId) -> StoreFuture<'_, bool> {
        self.answer(|inner| inner.forget(&person))
    }

    fn forget_all(&self, removal: Removal) -> StoreFuture<'_, Vec<PersonId>> {
        self.answer(|inner| inner.forget_all(&removal))
    }

    fn update_batch(
        &self,
        after: BatchPosition,
        limit: u32,
        revision: GrantUpdate,
    ) -> StoreFuture<'_, Option<BatchPosition>> {
        self.answer(|inner| inner.revise(after, limit, &revision))
    }

    fn clamp_times(&self, now: UnixTime, lease_end: UnixTime) -> StoreFuture<'_, ()> {
        self.answer(|inner| {
            inner.latest = inner.latest.map(|latest| latest.min(now));
            inner.outbox.clamp_times(now);
            inner.history.clamp_times(now);
            inner.change_claimed(|row| row.grant.next = row.grant.next.no_later_than(lease_end));
        })
    }
}

impl GrantQueries for MemoryStore {
    fn find_import(&self, token_hash: [u8; 32]) -> StoreFuture<'_, Option<PersonId>> {
        self.answer(|inner| inner.imports.get(&token_hash).cloned())
    }

    fn find(&self, person: PersonId) -> StoreFuture<'_, Option<Grant>> {
        self.answer(|inner| inner.rows.get(&person).map(|row| row.grant.clone()))
    }

    fn resolve(&self, email: Email) -> StoreFuture<'_, Vec<AddressMatch>> {
        self.answer(|inner| inner.resolve(&email))
    }

    fn list(&self, page: ListRequest) -> StoreFuture<'_, Vec<(ListPosition, Grant)>> {
        self.answer(|inner| inner.list(&page))
    }

    fn next_wake(&self, after: UnixTime) -> StoreFuture<'_, Option<UnixTime>> {
        self.answer(|inner| inner.due_index.next_wake(after))
    }

    fn due_summary(&self, now: UnixTime) -> StoreFuture<'_, DueSummary> {
        self.answer(|inner| inner.due_summary(now))
    }

    fn totals(&self) -> StoreFuture<'_, GrantTotals> {
        self.answer(|inner| {
            let needy = |row: &&StoredGrant| row.grant.status == GrantStatus::ConsentNeeded;
            GrantTotals {
                people: u64::try_from(inner.rows.len()).unwrap_or(u64::MAX),
                consent_needed: u64::try_from(inner.rows.values().filter(needy).count()).unwrap_or(u64::MAX),
                other_apps: 0,
            }
        })
    }

    fn counts(&self, now: UnixTime) -> StoreFuture<'_, StateCounts> {
        self.answer(|inner| inner.counts(now))
    }

    fn backlog(&self, ask: BacklogRequest) -> StoreFuture<'_, BacklogCounts> {
        self.answer(move |inner| inner.backlog(&ask))
    }
}

impl StoreMetadata for MemoryStore {
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>> {
        self.answer(|inner| inner.latest)
    }

    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>> {
        self.answer(|inner| inner.notes.get(note.name()).cloned())
    }

    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()> {
        self.answer(|inner| {
            inner.breaker_kept(note, &text);
            inner.notes.insert(note.name(), text);
        })
    }

    fn check_readable(&self) -> StoreFuture<'_, ()> {
        self.answer(|_| ())
    }

    fn check_writable(&self) -> StoreFuture<'_, ()> {
        self.answer(|_| ())
    }
}
