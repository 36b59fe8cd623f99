//! What stores and reads API keys.

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::time::UnixTime;
use crate::store::answer::StoreFuture;

/// The API keys of a store. A method answers only after its change is durable.
pub trait KeyStore: Send + Sync {
    /// Stores a new key; `false` if its name is taken.
    fn add_key(&self, key: ApiKeyRecord) -> StoreFuture<'_, bool>;

    /// All keys, oldest first.
    fn keys(&self) -> StoreFuture<'_, Vec<ApiKeyRecord>>;

    /// Removes the key of this name. Answers whether there was one.
    fn revoke_key(&self, name: String) -> StoreFuture<'_, bool>;

    /// Records when the key with this id was used.
    fn touch_key(&self, id: String, at: UnixTime) -> StoreFuture<'_, ()>;
}
