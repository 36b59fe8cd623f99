//! Whether the daemon can do its work.

use std::sync::Arc;

use crate::store::Store;
use crate::store::StoreError;

/// Why the daemon cannot do its work. The source says more than everybody may know.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody gets a token but from memory.
    #[error("the store cannot be read")]
    Unreadable(#[source] StoreError),
    /// Nothing is refreshed, and no consent is kept.
    #[error("the store cannot be written")]
    Unwritable(#[source] StoreError),
}

/// Answers readiness.
#[derive(Clone)]
pub struct Health {
    store: Arc<dyn Store>,
}

impl Health {
    /// Looks at `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Whether the store can be read and written. That the daemon listens is shown by its answering at all.
    ///
    /// # Errors
    /// What keeps it from its work.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let (read, kept) = (self.store.check().await, self.store.prove().await);
        read.map_err(NotReady::Unreadable)?;
        kept.map_err(NotReady::Unwritable)
    }
}
