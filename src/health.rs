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
    /// Nothing is refreshed: the store refuses the results of earlier refreshes.
    #[error("the results of refreshes cannot be stored")]
    Unkept,
}

/// More results than this that the store refuses are no single row's trouble.
const MOST_REFUSED: usize = 2;

/// How many results of refreshes are not in the store yet. A result that is lost may cost the person a new consent.
#[derive(Debug, Default)]
pub struct UnkeptResults {
    waiting: Arc<()>,
    refused: Arc<()>,
}

/// One result, until it is dropped.
#[derive(Debug)]
pub struct UnkeptResult(#[expect(dead_code, reason = "counts while it lives")] Arc<()>);

impl UnkeptResults {
    /// A result that the store has not taken.
    #[must_use]
    pub fn waits(&self) -> UnkeptResult {
        UnkeptResult(self.waiting.clone())
    }

    /// A result that the store refuses while it takes other changes: its row is on a damaged page, say.
    #[must_use]
    pub fn is_refused(&self) -> UnkeptResult {
        UnkeptResult(self.refused.clone())
    }

    /// Whether nothing more may be refreshed, since that could not be stored either. One or two results that are refused
    /// hold up no other person.
    #[must_use]
    pub fn hold_all(&self) -> bool {
        let count = |results: &Arc<()>| Arc::strong_count(results) - 1;
        count(&self.waiting) > 0 || count(&self.refused) > MOST_REFUSED
    }
}

/// Answers readiness.
#[derive(Clone)]
pub struct Health {
    store: Arc<dyn Store>,
    unkept: Arc<UnkeptResults>,
}

impl Health {
    /// Looks at `store`, and at what is not in it yet.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, unkept: Arc<UnkeptResults>) -> Self {
        Self { store, unkept }
    }

    /// Whether the store can be read and written, and takes the results of refreshes. That the daemon listens is shown by its answering at all.
    ///
    /// # Errors
    /// What keeps it from its work.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let (read, kept) = (self.store.check().await, self.store.prove().await);
        read.map_err(NotReady::Unreadable)?;
        kept.map_err(NotReady::Unwritable)?;
        if self.unkept.hold_all() { Err(NotReady::Unkept) } else { Ok(()) }
    }
}
