//! API keys at work: all of them in memory (an operator makes dozens, not millions), every change durable first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::key::KeyRecord;
use crate::domain::key::Rights;
use crate::domain::key::id_of;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::store::KeyStore;
use crate::store::StoreError;

/// The use of a key is kept at most this often: readers must not cause a write each.
const TOUCH_STEP: Duration = Duration::from_secs(60);

/// More than this would no longer belong in memory.
const MOST: usize = 10_000;

/// The longest name of a key.
const NAME_MAX: usize = 64;

/// The keys of a store.
pub struct Keys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    table: RwLock<BTreeMap<String, Arc<KeyRecord>>>,
    /// One change at a time: a key that is revoked while it is made must not live on in memory.
    changes: Semaphore,
    revoked: watch::Sender<()>,
}

/// What a new key should be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Unique.
    pub name: String,
    /// What it may do.
    pub rights: Rights,
    /// The persons that it is limited to, at least one; `None`: all persons.
    pub persons: Option<Vec<PersonId>>,
    /// How long it opens anything.
    pub life: Option<Duration>,
}

/// Why there is no new key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a name.
    #[error("the name of a key has 1 to {NAME_MAX} printable characters")]
    Name,
    /// Limited to no person at all.
    #[error("the list of persons is empty: name at least one person, or omit the list to allow all persons")]
    NoPerson,
    /// Taken.
    #[error("there is a key of this name already; revoke it first, or choose another name")]
    Taken,
    /// Too many.
    #[error("there are {MOST} keys already; revoke some")]
    TooMany,
    /// The system has no random bytes to give.
    #[error("no key can be made: the system has no random bytes to give")]
    NoRandom,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Keys {
    /// Reads the keys of `store`.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: Arc<dyn KeyStore>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let table = store.keys().await?.into_iter().map(|key| (key.id.clone(), Arc::new(key))).collect();
        Ok(Self {
            store,
            clock,
            table: RwLock::new(table),
            changes: Semaphore::new(1),
            revoked: watch::Sender::new(()),
        })
    }

    /// The record of a key that opens something at present.
    #[must_use]
    pub fn check(&self, key: &Secret) -> Option<Arc<KeyRecord>> {
        let now = self.clock.now();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(id_of(key)?).filter(|record| record.admits(key, now)).cloned()
    }

    /// The record as it is now of a key that was admitted before, if it still opens something.
    #[must_use]
    pub fn live(&self, record: &KeyRecord) -> Option<Arc<KeyRecord>> {
        let now = self.clock.now();
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &&Arc<KeyRecord>| kept.hash == record.hash && kept.is_alive(now);
        table.get(&record.id).filter(same).cloned()
    }

    /// Becomes changed whenever a key was revoked: for whoever was let in by one and is still there.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<()> {
        self.revoked.subscribe()
    }

    /// Notes that a key was used, now and then.
    ///
    /// # Errors
    /// The store's; the use is noted in memory all the same.
    pub async fn touch(&self, record: &KeyRecord) -> Result<(), StoreError> {
        let now = self.clock.now();
        let noted = {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            // The table's word, not the record's: of many readers at once, the first writes.
            let kept = table.get_mut(&record.id).filter(|kept| is_worth_noting(kept, now));
            kept.map(|kept| Arc::make_mut(kept).last_used_at = Some(now)).is_some()
        };
        if noted { self.store.touch_key(record.id.clone(), now).await } else { Ok(()) }
    }

    /// Whether [`Keys::touch`] would note anything; costs nothing to ask.
    #[must_use]
    pub fn is_untouched(&self, record: &KeyRecord) -> bool {
        is_worth_noting(record, self.clock.now())
    }

    /// Makes a key. The answer is the only place where it stands.
    ///
    /// # Errors
    /// [`KeyError`] says why there is none.
    pub async fn make(&self, new: NewKey) -> Result<Secret, KeyError> {
        let printable = new.name.chars().all(|c| !c.is_control()) && !new.name.trim().is_empty();
        if !printable || new.name.chars().count() > NAME_MAX {
            return Err(KeyError::Name);
        }
        if new.persons.as_ref().is_some_and(Vec::is_empty) {
            return Err(KeyError::NoPerson);
        }
        // It is never closed.
        let _change = self.changes.acquire().await;
        if self.table.read().unwrap_or_else(PoisonError::into_inner).len() >= MOST {
            return Err(KeyError::TooMany);
        }
        let mut random = [0; 38];
        rand::fill(&mut random).map_err(|_| KeyError::NoRandom)?;
        let now = self.clock.now();
        let (key, mut record) = KeyRecord::make(&random, new.name, new.rights, new.persons, now);
        record.expires_at = new.life.map(|life| now + life);
        if !self.store.add_key(record.clone()).await? {
            return Err(KeyError::Taken);
        }
        self.table
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(record.id.clone(), Arc::new(record));
        Ok(key)
    }

    /// Revokes the key of this name; answers whether there was one.
    ///
    /// # Errors
    /// The store's; the key then still opens what it did.
    pub async fn revoke(&self, name: &str) -> Result<bool, StoreError> {
        let _change = self.changes.acquire().await;
        let gone = self.store.revoke_key(name.to_owned()).await?;
        self.table.write().unwrap_or_else(PoisonError::into_inner).retain(|_, key| key.name != name);
        self.revoked.send_replace(());
        Ok(gone)
    }

    /// All keys, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<KeyRecord> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<KeyRecord> = table.values().map(|key| KeyRecord::clone(key)).collect();
        keys.sort_by_key(|key| (key.created_at, key.name.clone()));
        keys
    }
}

fn is_worth_noting(record: &KeyRecord, now: UnixTime) -> bool {
    record.last_used_at.is_none_or(|last| now < last || now >= last + TOUCH_STEP)
}
