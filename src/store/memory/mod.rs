//! A store in memory, which is lost at the end of the process: for `TOKEND_STORE_URL=memory:` and for tests in virtual time.

mod claim_order;
mod keys;
mod persons;
mod turns;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::breaker::Waiting;
use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::grant::State;
use crate::domain::key::KeyRecord;
use crate::domain::person::Email;
use crate::domain::person::Namesake;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Next;
use crate::domain::time::UnixTime;
use crate::store::Answer;
use crate::store::Ask;
use crate::store::Bookmark;
use crate::store::Census;
use crate::store::Claim;
use crate::store::ClaimOrder;
use crate::store::Claims;
use crate::store::Committed;
use crate::store::Count;
use crate::store::Counts;
use crate::store::Cursor;
use crate::store::Fence;
use crate::store::Lease;
use crate::store::Note;
use crate::store::Page;
use crate::store::Revision;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::memory::turns::Turns;

/// Grants in a map behind a lock that is never held across an await.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<PersonId, Row>,
    turns: Turns,
    serials: i64,
    latest: Option<UnixTime>,
    notes: BTreeMap<&'static str, String>,
    keys: Vec<KeyRecord>,
}

#[derive(Debug)]
struct Row {
    grant: Grant,
    fence: Fence,
    claimed: bool,
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
        self.lock().change_claimed(|row| {
            row.claimed = false;
            row.grant.next = Next::at(now);
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T: Send + 'static>(&self, work: impl FnOnce(&mut Inner) -> T) -> Answer<'_, T> {
        let done: Result<T, StoreError> = Ok(work(&mut self.lock()));
        Box::pin(std::future::ready(done))
    }
}

impl Inner {
    fn stamp(&mut self, at: UnixTime) {
        self.latest = self.latest.max(Some(at));
    }

    /// Changes a row and moves it in every order.
    fn change<T>(&mut self, person: &PersonId, work: impl FnOnce(&mut Row) -> T) -> Option<T> {
        let row = self.rows.get_mut(person)?;
        self.turns.take(row.fence.serial, &row.grant);
        let done = work(row);
        self.turns.put(row.fence.serial, &row.grant);
        Some(done)
    }

    fn change_claimed(&mut self, work: impl Fn(&mut Row)) {
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
            self.turns.put(fence.serial, &grant);
            self.rows.insert(grant.person.id.clone(), Row { grant, fence, claimed: false });
            return Saved::New;
        };
        let kept_at = kept.grant.obtained_at;
        if kept_at > grant.obtained_at && kept_at <= grant.last.at {
            return Saved::Older;
        }
        let person = grant.person.id.clone();
        self.change(&person, |row| {
            row.grant = grant;
            row.fence.version += 1;
            row.claimed = false;
        });
        Saved::Replaced
    }

    fn claim_due(&mut self, ask: &Ask) -> Claims {
        let in_order = ask.order == ClaimOrder::LeastLife;
        let mut due: Vec<PersonId> = {
            let free =
                self.turns.due(ask.due_by, ask.lease.now).filter(|person| !ask.except.contains(person));
            free.take(if in_order { ask.limit } else { usize::MAX }).cloned().collect()
        };
        claim_order::sort(&mut due, &self.rows, ask);
        due.truncate(ask.limit);
        let claims: Vec<Claim> =
            due.iter().filter_map(|person| self.change(person, |row| row.claim(ask.lease.end))).collect();
        if !claims.is_empty() {
            self.stamp(ask.lease.now);
        }
        Claims { claims, unreadable: Vec::new() }
    }

    fn claim_one(&mut self, person: &PersonId, lease: &Lease) -> Option<Claim> {
        let row = self.rows.get(person)?;
        if row.claimed && row.grant.next.due_at > lease.now {
            return None;
        }
        self.stamp(lease.now);
        self.change(person, |row| row.claim(lease.end))
    }

    fn list(&self, page: &Page) -> Vec<(Bookmark, Grant)> {
        let part = page.of(self.rows.values().map(|row| (row.fence.serial, &row.grant)));
        part.into_iter().map(|(mark, grant)| (mark, grant.clone())).collect()
    }

    fn counts(&self, now: UnixTime) -> Counts {
        let count = |state| self.rows.values().filter(|row| row.grant.state(now) == state).count();
        let count = |state| u64::try_from(count(state)).unwrap_or(u64::MAX);
        let (due, fresh) = (count(State::Due), count(State::Fresh));
        let (fresh, due) = Counts::split(due + fresh, due, || fresh);
        let [retrying, consent_needed] =
            [State::Retrying, State::ConsentNeeded].map(|state| Count::exactly(count(state)));
        let people = u64::try_from(self.rows.len()).unwrap_or(u64::MAX);
        let ending = self.rows.values().filter(|row| row.grant.consent_ends_soon(now).is_some()).count();
        let consent_ending = Count::up_to(u64::try_from(ending).unwrap_or(u64::MAX));
        Counts { people, fresh, due, retrying, consent_needed, consent_ending }
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

    fn give_back(&mut self, person: &PersonId, fence: Fence, next: Next) -> Committed {
        if self.rows.get(person).is_none_or(|row| row.fence != fence || !row.claimed) {
            return Committed::Superseded;
        }
        self.change(person, |row| {
            row.grant.next = next;
            row.claimed = false;
        });
        Committed::Kept
    }

    fn revise(&mut self, after: Cursor, limit: u32, revision: &Revision) -> Option<Cursor> {
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
        part.last().map(|(serial, _)| Cursor(*serial))
    }
}

impl Row {
    /// `grant` with the person of this row, which only a consent or [`Store::update_person`] changes.
    fn of_same_person(&self, grant: Grant) -> Grant {
        Grant { person: self.grant.person.clone(), person_check_at: self.grant.person_check_at, ..grant }
    }

    fn claim(&mut self, lease_end: UnixTime) -> Claim {
        self.fence.attempt += 1;
        self.claimed = true;
        let claim = Claim { grant: self.grant.clone(), fence: self.fence };
        self.grant.next = Next::at(lease_end);
        claim
    }
}

impl Store for MemoryStore {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.answer(|inner| inner.save_consent(grant))
    }

    fn save_import(&self, grant: Grant) -> Answer<'_, Saved> {
        self.answer(|inner| inner.save_import(grant))
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.answer(|inner| inner.claim_due(&ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        self.answer(|inner| inner.claim_one(&person, &lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        self.answer(|inner| inner.commit(fence, grant))
    }

    fn give_back(&self, person: PersonId, fence: Fence, next: Next) -> Answer<'_, Committed> {
        self.answer(|inner| inner.give_back(&person, fence, next))
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.answer(|inner| inner.rows.get(&person).map(|row| row.grant.clone()))
    }

    fn resolve(&self, email: Email) -> Answer<'_, Vec<Namesake>> {
        self.answer(|inner| inner.resolve(&email))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> Answer<'_, bool> {
        self.answer(|inner| inner.update_person(person, planned, next))
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        self.answer(|inner| inner.list(&page))
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        self.answer(|inner| inner.forget(&person))
    }

    fn next_wake(&self, after: UnixTime) -> Answer<'_, Option<UnixTime>> {
        self.answer(|inner| inner.turns.next_wake(after))
    }

    fn waiting(&self, now: UnixTime) -> Answer<'_, Waiting> {
        self.answer(|inner| inner.waiting(now))
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        self.answer(|inner| inner.revise(after, limit, &revision))
    }

    fn census(&self) -> Answer<'_, Census> {
        self.answer(|inner| {
            let needy = |row: &&Row| row.grant.standing == Standing::ConsentNeeded;
            Census {
                people: u64::try_from(inner.rows.len()).unwrap_or(u64::MAX),
                consent_needed: u64::try_from(inner.rows.values().filter(needy).count()).unwrap_or(u64::MAX),
                elsewhere: 0,
            }
        })
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        self.answer(|inner| inner.counts(now))
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.answer(|inner| inner.latest)
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        self.answer(|inner| {
            inner.latest = inner.latest.map(|latest| latest.min(now));
            inner.change_claimed(|row| row.grant.next = row.grant.next.no_later_than(lease_end));
        })
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        self.answer(|inner| inner.notes.get(note.name()).cloned())
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        self.answer(|inner| {
            inner.notes.insert(note.name(), text);
        })
    }

    fn check(&self) -> Answer<'_, ()> {
        self.answer(|_| ())
    }

    fn prove(&self) -> Answer<'_, ()> {
        self.answer(|_| ())
    }
}
