//! Whether the daemon can do its work.

use std::sync::Arc;

use crate::store::Store;
use crate::store::StoreError;

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

    /// Whether the store can be read. That the daemon listens is shown by its answering at all.
    ///
    /// # Errors
    /// What keeps it from its work.
    pub async fn ready(&self) -> Result<(), StoreError> {
        self.store.check().await
    }
}
