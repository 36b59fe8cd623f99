//! API keys in memory.

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::notice::NoticeType;
use crate::domain::time::UnixTime;
use crate::store::KeyStore;
use crate::store::StoreFuture;
use crate::store::memory::MemoryStore;

impl KeyStore for MemoryStore {
    fn add_key(&self, key: ApiKeyRecord) -> StoreFuture<'_, bool> {
        self.answer(|inner| {
            let free = !inner.keys.iter().any(|other| other.name == key.name);
            if free {
                inner.key_changed(NoticeType::KeyCreated, &key.id, &key.name);
                inner.keys.push(key);
            }
            free
        })
    }

    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyRecord>> {
        self.answer(|inner| inner.keys.clone())
    }

    fn revoke_key(&self, name: String) -> StoreFuture<'_, bool> {
        self.answer(|inner| {
            let place = inner.keys.iter().position(|key| key.name == name);
            let gone = place.map(|place| inner.keys.remove(place));
            if let Some(key) = &gone {
                inner.key_changed(NoticeType::KeyRevoked, &key.id, &key.name);
            }
            gone.is_some()
        })
    }

    fn touch_key(&self, id: String, at: UnixTime) -> StoreFuture<'_, ()> {
        self.answer(|inner| {
            for key in inner.keys.iter_mut().filter(|key| key.id == id) {
                key.last_used_at = Some(at);
            }
        })
    }
}
