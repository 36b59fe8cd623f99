//! A bounded cache of grants over the store.
//!
//! After a change is durable, its author invalidates the entry here. That only removes the entry, so the next
//! reader loads the grant from the store. Therefore invalidating late, twice or out of order does no harm.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::bounded_map::BoundedMap;
use crate::domain::grant::Grant;
use crate::domain::list::ListPosition;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::overview::StateCounts;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::person::PersonQuery;
use crate::domain::person::ResolvedPerson;
use crate::domain::time::UnixTime;
use crate::store::GrantQueries;

pub use crate::events::EventPosition;
pub use crate::events::Events;
pub use crate::store::StoreError;

/// Number of grants that stay cached at least; twice as many stay at most. A grant takes about a kilobyte.
const CAPACITY: usize = 4096;

/// Serves grants from memory where possible.
pub struct GrantCache {
    store: Arc<dyn GrantQueries>,
    cache: Mutex<CachedGrants>,
    events: Arc<Events>,
}

struct CachedGrants {
    grants: BoundedMap<PersonId, Arc<Grant>>,
    emails: HashMap<Email, PersonId>,
    /// Increased by every invalidation: a value read from the store before an invalidation must not be cached
    /// after it.
    epoch: u64,
}

impl GrantCache {
    /// An empty cache over `store`.
    #[must_use]
    pub fn new(store: Arc<dyn GrantQueries>) -> Self {
        Self { store, cache: Mutex::new(CachedGrants::new(0)), events: Arc::default() }
    }

    /// The log of the changes.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The log of changes alone, for owners that must not hold the store.
    #[must_use]
    pub fn shared_events(&self) -> Arc<Events> {
        self.events.clone()
    }

    fn cache(&self) -> MutexGuard<'_, CachedGrants> {
        self.cache.lock()
    }

    /// A person's grant, as last made durable.
    ///
    /// # Errors
    /// When the grant is not cached and the store cannot read it.
    pub async fn get(&self, person: &PersonId) -> Result<Option<Arc<Grant>>, StoreError> {
        let epoch = {
            let mut cache = self.cache();
            if let Some(grant) = cache.grants.get(person) {
                return Ok(Some(grant.clone()));
            }
            cache.epoch
        };
        let Some(grant) = self.store.find(person.clone()).await?.map(Arc::new) else { return Ok(None) };
        let mut cache = self.cache();
        if cache.epoch == epoch {
            cache.grants.insert(person.clone(), grant.clone());
        }
        Ok(Some(grant))
    }

    /// A person's grant, for display only: a grant that cannot be decrypted is shown as in need of a consent,
    /// without tokens.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get_uncached(&self, person: &PersonId) -> Result<Option<Arc<Grant>>, StoreError> {
        match self.get(person).await {
            Err(StoreError::Unreadable(_)) => {
                let (among, any_time) = (Some(vec![person.clone()]), UnixTime(0));
                let page = ListRequest {
                    only_persons: among,
                    ..ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 1, any_time)
                };
                Ok(self.store.list(page).await?.pop().map(|(_, grant)| Arc::new(grant)))
            }
            looked => looked,
        }
    }

    /// The person that an id or an address means ([`ResolvedPerson::from_matches`]). An id is returned even if it is not
    /// stored.
    ///
    /// # Errors
    /// When the address is not cached and the store cannot be read.
    pub async fn resolve(&self, who: &PersonQuery) -> Result<ResolvedPerson, StoreError> {
        let email = match who {
            PersonQuery::Id(id) => return Ok(ResolvedPerson::One(id.clone())),
            PersonQuery::Email(email) => email,
        };
        let epoch = {
            let cache = self.cache();
            if let Some(id) = cache.emails.get(email) {
                return Ok(ResolvedPerson::One(id.clone()));
            }
            cache.epoch
        };
        let resolved = ResolvedPerson::from_matches(&self.store.resolve(email.clone()).await?);
        let mut cache = self.cache();
        if let ResolvedPerson::One(id) = &resolved
            && cache.epoch == epoch
            && cache.emails.len() < CAPACITY
        {
            cache.emails.insert(email.clone(), id.clone());
        }
        Ok(resolved)
    }

    /// Logs a warning if several active grants share the address of `person`, because the address is then
    /// ambiguous.
    pub async fn warn_if_address_is_shared(&self, person: &Person) {
        let Some(email) = person.email.clone() else { return };
        match self.resolve(&PersonQuery::Email(email.clone())).await {
            Ok(ResolvedPerson::Ambiguous(persons)) => {
                let ids: Vec<&str> = persons.iter().map(PersonId::as_str).collect();
                log::warn!(
                    "{email} is the address of several persons; use their ids instead: {}",
                    ids.join(", ")
                );
            }
            Ok(_) => {}
            Err(why) => {
                log::log!(
                    why.log_level(),
                    "{email}: cannot check whether other persons have this address: {why}"
                )
            }
        }
    }

    /// The only person with this address, whether the grant is active or not ([`ResolvedPerson::only`]), read from
    /// the store without the cache.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn resolve_strictly(&self, who: &PersonQuery) -> Result<ResolvedPerson, StoreError> {
        match who {
            PersonQuery::Id(id) => Ok(ResolvedPerson::One(id.clone())),
            PersonQuery::Email(email) => Ok(ResolvedPerson::only(&self.store.resolve(email.clone()).await?)),
        }
    }

    /// One page of the list of grants. It is always read from the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, page: ListRequest) -> Result<Vec<(ListPosition, Grant)>, StoreError> {
        self.store.list(page).await
    }

    /// The number of grants in each state at `now`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(&self, now: UnixTime) -> Result<StateCounts, StoreError> {
        self.store.counts(now).await
    }

    /// Tells readers that `person`'s grant changed. Call it after the change is durable, never before.
    pub fn invalidate(&self, person: &PersonId) {
        {
            let mut cache = self.cache();
            cache.epoch += 1;
            cache.grants.remove(person);
            cache.emails.clear();
        }
        // Subscribers are notified last, when the cache can no longer serve the old state.
        self.events.person_changed(person);
    }

    /// Tells readers that many grants changed at once.
    pub fn invalidate_all(&self) {
        {
            let mut cache = self.cache();
            *cache = CachedGrants::new(cache.epoch + 1);
        }
        self.events.everything_changed();
    }
}

impl CachedGrants {
    fn new(epoch: u64) -> Self {
        Self { grants: BoundedMap::new(CAPACITY), emails: HashMap::new(), epoch }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::grant::Tokens;
    use crate::domain::schedule::Policy;
    use crate::domain::secret::Secret;
    use crate::store::GrantCommands;
    use crate::store::memory::MemoryStore;

    const HOUR: Duration = Duration::from_secs(3600);
    const POLICY: Policy = Policy { sleep: HOUR, max_age: HOUR, noop_window: HOUR, floor: HOUR };

    fn numbered(number: usize) -> Grant {
        let secret = || Secret::new("secret".to_owned());
        let mut person = Person::known_by(PersonId::parse(&format!("p{number}")).unwrap());
        person.email = Email::parse(&format!("p{number}@example.com")).ok();
        let tokens = Tokens {
            access_token: secret(),
            refresh_token: secret(),
            token_type: "Bearer".to_owned(),
            scope: None,
            expires_at: UnixTime::NEVER,
            refresh_token_expires_at: None,
        };
        Grant::consented(person, tokens, UnixTime(0), &POLICY, UnixTime(0))
    }

    #[tokio::test]
    async fn the_cache_is_bounded_however_many_persons_are_read() {
        let store = Arc::new(MemoryStore::new());
        let cache = GrantCache::new(store.clone());
        for number in 0..3 * CAPACITY {
            let grant = numbered(number);
            let (id, email) = (grant.person.id.clone(), grant.person.email.clone().unwrap());
            store.save_consent(grant).await.unwrap();
            assert!(cache.get(&id).await.unwrap().is_some());
            assert_eq!(cache.resolve(&PersonQuery::Email(email)).await, Ok(ResolvedPerson::One(id)));
            store.forget(PersonId::parse(&format!("p{number}")).unwrap()).await.unwrap();
        }
        let entries = cache.cache();
        let is_cached = |number: &usize| entries.grants.peek(&numbered(*number).person.id).is_some();
        let cached = (0..3 * CAPACITY).filter(is_cached).count();
        assert!((CAPACITY..=2 * CAPACITY).contains(&cached), "{cached} grants");
        assert!(entries.emails.len() <= CAPACITY, "{} addresses", entries.emails.len());
    }
}
