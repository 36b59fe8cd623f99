//! A store that forgets at the end of the process: `TOKEND_STORE_URL=memory:`, and tests in virtual time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::domain::grant::Grant;
use crate::domain::grant::Standing;
use crate::domain::person::PersonId;
use crate::domain::schedule::Next;
use crate::domain::time::UnixTime;
use crate::store::Answer;
use crate::store::Ask;
use crate::store::Census;
use crate::store::Claim;
use crate::store::Claims;
use crate::store::Committed;
use crate::store::Cursor;
use crate::store::Fence;
use crate::store::Note;
use crate::store::Revision;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;

/// Grants in a map behind a lock that is never held across a wait.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rows: BTreeMap<PersonId, Row>,
    serials: i64,
    latest: Option<UnixTime>,
    notes: BTreeMap<&'static str, String>,
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

    fn save_consent(&mut self, grant: Grant) -> Saved {
        self.stamp(grant.last.at);
        if let Some(row) = self.rows.get_mut(&grant.person.id) {
            row.grant = grant;
            row.fence.version += 1;
            row.claimed = false;
            return Saved::Replaced;
        }
        self.serials += 1;
        let fence = Fence { serial: self.serials, version: 1, attempt: 0 };
        self.rows.insert(grant.person.id.clone(), Row { grant, fence, claimed: false });
        Saved::New
    }

    fn claim_due(&mut self, ask: &Ask) -> Claims {
        let mut due: Vec<&mut Row> = self
            .rows
            .values_mut()
            .filter(|row| row.grant.next.due_at <= ask.due_by && !ask.except.contains(&row.grant.person.id))
            .collect();
        due.sort_by_key(|row| {
            let sick = ask.healthiest_first && row.grant.failures > 0;
            (sick, row.grant.tokens.expires_at, row.fence.serial)
        });
        due.truncate(ask.limit);
        let claims: Vec<Claim> = due.into_iter().map(|row| row.claim(ask.lease_end)).collect();
        if !claims.is_empty() {
            self.stamp(ask.now);
        }
        Claims { claims, unreadable: Vec::new() }
    }

    fn commit(&mut self, fence: Fence, grant: Grant) -> Committed {
        match self.rows.get_mut(&grant.person.id) {
            Some(row) if row.fence == fence && row.claimed => {
                let at = grant.last.at;
                row.grant = grant;
                row.fence.version += 1;
                row.claimed = false;
                self.stamp(at);
                Committed::Kept
            }
            _ => Committed::Superseded,
        }
    }

    fn revise(&mut self, after: Cursor, limit: u32, revision: &Revision) -> Option<Cursor> {
        let mut rows: Vec<&mut Row> =
            self.rows.values_mut().filter(|row| row.fence.serial > after.0).collect();
        rows.sort_by_key(|row| row.fence.serial);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let last = rows.last().map(|row| Cursor(row.fence.serial));
        for row in rows.into_iter().filter(|row| !row.claimed) {
            revision(&mut row.grant);
        }
        last
    }
}

impl Row {
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

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.answer(|inner| inner.claim_due(&ask))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        self.answer(|inner| inner.commit(fence, grant))
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.answer(|inner| inner.rows.get(&person).map(|row| row.grant.clone()))
    }

    fn next_wake(&self) -> Answer<'_, Option<UnixTime>> {
        self.answer(|inner| inner.rows.values().map(|row| row.grant.next.wake_at).min())
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

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.answer(|inner| inner.latest)
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
}
