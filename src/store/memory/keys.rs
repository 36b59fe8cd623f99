//! API keys in memory.

use crate::domain::key::KeyRecord;
use crate::domain::time::UnixTime;
use crate::store::Answer;
use crate::store::KeyStore;
use crate::store::memory::MemoryStore;

impl KeyStore for MemoryStore {
    fn add_key(&self, key: KeyRecord) -> Answer<'_, bool> {
        self.answer(|inner| {
            let free = !inner.keys.iter().any(|other| other.name == key.name);
            if free {
                inner.keys.push(key);
            }
            free
        })
    }

    fn keys(&self) -> Answer<'_, Vec<KeyRecord>> {
        self.answer(|inner| inner.keys.clone())
    }

    fn revoke_key(&self, name: String) -> Answer<'_, bool> {
        self.answer(|inner| {
            let before = inner.keys.len();
            inner.keys.retain(|key| key.name != name);
            inner.keys.len() < before
        })
    }

    fn touch_key(&self, id: String, at: UnixTime) -> Answer<'_, ()> {
        self.answer(|inner| {
            for key in inner.keys.iter_mut().filter(|key| key.id == id) {
                key.last_used_at = Some(at);
            }
        })
    }
}
