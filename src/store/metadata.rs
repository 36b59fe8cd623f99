//! What a store knows of itself, and the short texts that services store beside the grants.

use crate::domain::time::UnixTime;
use crate::store::answer::StoreFuture;

/// The state of a store, and short texts beside the grants.
pub trait StoreMetadata: Send + Sync {
    /// The time of the latest write. A clock that is behind it has been set back.
    fn last_write_at(&self) -> StoreFuture<'_, Option<UnixTime>>;

    /// A short text that the event loop stored.
    fn get_meta(&self, note: MetaKey) -> StoreFuture<'_, Option<String>>;

    /// Stores a short text for the event loop.
    fn set_meta(&self, note: MetaKey, text: String) -> StoreFuture<'_, ()>;

    /// Whether the store can be read.
    fn check_readable(&self) -> StoreFuture<'_, ()>;

    /// Whether the store can be written: the result of the last write. If that was long ago, a mark is written, so frequent
    /// calls are cheap.
    fn check_writable(&self) -> StoreFuture<'_, ()>;
}

/// The texts that the event loop stores, separate for each integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The policy with which all stored times were planned.
    Policy,
    /// The state of the circuit breaker.
    Breaker,
}

impl MetaKey {
    /// The name of the text in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Breaker => "breaker",
        }
    }
}
