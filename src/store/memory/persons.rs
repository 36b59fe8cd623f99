//! Persons in memory: look-ups by address, changes of a person's data, imported grants, and removals.

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::notice::facts;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::MAX_SAME_ADDRESS;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::ImportedToken;
use crate::store::Removal;
use crate::store::Saved;
use crate::store::memory::MemoryState;
use crate::store::memory::stored_grant::StoredGrant;

impl MemoryState {
    pub(super) fn save_import(&mut self, grant: Grant, token: &ImportedToken) -> Saved {
        let person = grant.person.id.clone();
        let kept = self.rows.get(&person).filter(|_| !token.replaces_even_if_covered);
        let stays = kept.is_some_and(|row| row.grant.covers(&grant, grant.last.at));
        let saved = if stays { Saved::Kept } else { self.save_consent(grant) };
        if token.must_be_marked(saved) {
            self.imports.insert(token.sha256, person);
        }
        saved
    }

    pub(super) fn resolve(&self, email: &Email) -> Vec<AddressMatch> {
        let theirs = self.rows.values().filter(|row| row.grant.person.email.as_ref() == Some(email));
        let is_alive = |row: &StoredGrant| row.grant.status == GrantStatus::Active;
        let mut rows: Vec<&StoredGrant> = theirs.collect();
        rows.sort_by_key(|row| (!is_alive(row), row.fence.serial));
        let namesake =
            |row: &StoredGrant| AddressMatch { id: row.grant.person.id.clone(), is_alive: is_alive(row) };
        rows.into_iter().take(MAX_SAME_ADDRESS).map(namesake).collect()
    }

    pub(super) fn update_person(&mut self, person: Person, planned: UnixTime, next: UnixTime) -> bool {
        let row = self.rows.get_mut(&person.id).filter(|row| row.grant.person_check_at == planned);
        row.map(|row| (row.grant.person, row.grant.person_check_at) = (person, next)).is_some()
    }

    pub(super) fn forget(&mut self, person: &PersonId) -> bool {
        let Some(row) = self.rows.remove(person) else { return false };
        self.due_index.remove(row.fence.serial, &row.grant);
        self.imports.retain(|_, imported| imported != person);
        if let Some(now) = self.outbox.context.now() {
            self.record(&facts::forgotten(&row.grant.person, row.fence.serial, now));
        }
        true
    }

    pub(super) fn forget_all(&mut self, removal: &Removal) -> Vec<PersonId> {
        let mut persons = removal.persons.clone();
        persons.retain(|person| {
            let state = self.rows.get(person).map(|row| row.grant.state(removal.now));
            state.is_some_and(|state| removal.takes(state)) && self.forget(person)
        });
        persons
    }
}
