//! API keys. All of them are in memory (an operator creates dozens, not millions), and every change is stored
//! first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::domain::api_key::ApiKeyRecord;
use crate::domain::api_key::Rights;
use crate::domain::api_key::id_of;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::store::KeyStore;
use crate::store::StoreError;

/// The last use of a key is stored at most this often, so that not every request causes a write.
const LAST_USED_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of keys; more would no longer belong in memory.
const MAX_KEYS: usize = 10_000;

/// Maximum length of a key's name, in characters.
const MAX_NAME_LEN: usize = 64;

/// The API keys of a store.
pub struct ApiKeys {
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    table: RwLock<BTreeMap<String, Arc<ApiKeyRecord>>>,
    /// Serializes changes: a key that is revoked while it is created must not stay in memory.
    changes: Semaphore,
    revoked: watch::Sender<()>,
}

/// The properties of a new key.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Unique among all keys.
    pub name: String,
    /// What the key allows.
    pub rights: Rights,
    /// The persons that the key is limited to, at least one; `None`: all persons.
    pub persons: Option<Vec<PersonId>>,
    /// How long the key is valid; `None`: until it is revoked.
    pub life: Option<Duration>,
}

/// Why no key was created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The name is empty, too long or not printable.
    #[error("the name of a key has 1 to {MAX_NAME_LEN} printable characters")]
    Name,
    /// The list of persons is empty.
    #[error("the list of persons is empty: name at least one person, or omit the list to allow all persons")]
    NoPerson,
    /// Another key has this name.
    #[error("there is a key of this name already; revoke it first, or choose another name")]
    Taken,
    /// The limit of keys is reached.
    #[error("there are {MAX_KEYS} keys already; revoke some")]
    TooMany,
    /// The system has no random bytes.
    #[error("cannot create a key: the system has no random bytes")]
    NoRandom,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ApiKeys {
    /// Reads the keys of `store`.
    ///
    /// # Errors
    /// When the store cannot be read.
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

    /// The record of this key, if the key is valid now.
    #[must_use]
    pub fn check(&self, key: &Secret) -> Option<Arc<ApiKeyRecord>> {
        let now = self.clock.now();
        let table = self.table.read();
        table.get(id_of(key)?).filter(|record| record.admits(key, now)).cloned()
    }

    /// The current record of a key that was accepted before, if the key is still valid.
    #[must_use]
    pub fn live(&self, record: &ApiKeyRecord) -> Option<Arc<ApiKeyRecord>> {
        let now = self.clock.now();
        let table = self.table.read();
        let same = |kept: &&Arc<ApiKeyRecord>| kept.hash == record.hash && kept.is_alive(now);
        table.get(&record.id).filter(same).cloned()
    }

    /// Returns a receiver that is notified whenever a key is revoked, for sessions and streams that a key
    /// opened.
    #[must_use]
    pub fn revocations(&self) -> watch::Receiver<()> {
        self.revoked.subscribe()
    }

    /// Records that a key was used, at most once a minute.
    ///
    /// # Errors
    /// When the store cannot be written; the use is recorded in memory all the same.
    pub async fn record_use(&self, record: &ApiKeyRecord) -> Result<(), StoreError> {
        let now = self.clock.now();
        let noted = {
            let mut table = self.table.write();
            // The table decides, not `record`: of many concurrent requests, only the first writes.
            let kept = table.get_mut(&record.id).filter(|kept| last_use_is_old(kept, now));
            kept.map(|kept| Arc::make_mut(kept).last_used_at = Some(now)).is_some()
        };
        if noted { self.store.touch_key(record.id.clone(), now).await } else { Ok(()) }
    }

    /// Whether [`ApiKeys::record_use`] would write anything. Cheap.
    #[must_use]
    pub fn needs_use_recorded(&self, record: &ApiKeyRecord) -> bool {
        last_use_is_old(record, self.clock.now())
    }

    /// Creates a key and returns it. The key cannot be read again later.
    ///
    /// # Errors
    /// [`ApiKeyError`] says why no key was created.
    pub async fn create(&self, new: NewApiKey) -> Result<Secret, ApiKeyError> {
        let printable = new.name.chars().all(|c| !c.is_control()) && !new.name.trim().is_empty();
        if !printable || new.name.chars().count() > MAX_NAME_LEN {
            return Err(ApiKeyError::Name);
        }
        if new.persons.as_ref().is_some_and(Vec::is_empty) {
            return Err(ApiKeyError::NoPerson);
        }
        // The semaphore is never closed, so this cannot fail.
        let _change = self.changes.acquire().await;
        if self.table.read().len() >= MAX_KEYS {
            return Err(ApiKeyError::TooMany);
        }
        let mut random = [0; 38];
        rand::fill(&mut random).map_err(|_| ApiKeyError::NoRandom)?;
        let now = self.clock.now();
        let (key, mut record) = ApiKeyRecord::make(&random, new.name, new.rights, new.persons, now);
        record.expires_at = new.life.map(|life| now + life);
        if !self.store.add_key(record.clone()).await? {
            return Err(ApiKeyError::Taken);
        }
        self.table.write().insert(record.id.clone(), Arc::new(record));
        Ok(key)
    }

    /// Revokes the key of this name. Returns whether there was one.
    ///
    /// # Errors
    /// When the store cannot be written; the key stays valid then.
    pub async fn revoke(&self, name: &str) -> Result<bool, StoreError> {
        let _change = self.changes.acquire().await;
        let gone = self.store.revoke_key(name.to_owned()).await?;
        self.table.write().retain(|_, key| key.name != name);
        self.revoked.send_replace(());
        Ok(gone)
    }

    /// Up to `limit` keys, oldest first, that follow the key of this creation time and name.
    #[must_use]
    pub fn list(&self, after: Option<(UnixTime, &str)>, limit: usize) -> Vec<Arc<ApiKeyRecord>> {
        let mut keys: Vec<Arc<ApiKeyRecord>> = self.table.read().values().cloned().collect();
        fn position(key: &Arc<ApiKeyRecord>) -> (UnixTime, &str) {
            (key.created_at, &key.name)
        }
        keys.retain(|key| after.is_none_or(|after| position(key) > after));
        keys.sort_by(|one, other| position(one).cmp(&position(other)));
        keys.truncate(limit);
        keys
    }

    /// The key with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<ApiKeyRecord>> {
        self.table.read().get(id).cloned()
    }
}

fn last_use_is_old(record: &ApiKeyRecord, now: UnixTime) -> bool {
    record.last_used_at.is_none_or(|last| now < last || now >= last + LAST_USED_INTERVAL)
}
