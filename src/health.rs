//! The daemon's readiness.

use std::sync::Arc;

use crate::store::StoreError;
use crate::store::StoreMetadata;

/// Why the daemon is not ready. The source may contain details that clients must not see.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotReady {
    /// Only cached tokens can be served.
    #[error("the store cannot be read")]
    Unreadable(#[source] StoreError),
    /// No refresh is sent, and no consent can be stored.
    #[error("the store cannot be written")]
    Unwritable(#[source] StoreError),
    /// No refresh is sent, because the store rejects the results of earlier refreshes.
    #[error("the results of refreshes cannot be stored")]
    Unkept,
}

/// With more rejected results than this, the cause is not a single damaged row.
const MAX_REFUSED: usize = 2;

/// Counts the results of refreshes that are not stored yet. Losing a result may cost the person a new
/// consent.
#[derive(Debug, Default)]
pub struct PendingCommits {
    waiting: Arc<()>,
    refused: Arc<()>,
}

/// A result that is not stored yet; counted until it is dropped.
#[derive(Debug)]
pub struct PendingCommit(#[expect(dead_code, reason = "counts while it lives")] Arc<()>);

impl PendingCommits {
    /// Counts a result that the store has not accepted yet.
    #[must_use]
    pub fn begin(&self) -> PendingCommit {
        PendingCommit(self.waiting.clone())
    }

    /// Counts a result that the store rejects while it accepts other changes, for example because its row is
    /// on a damaged page.
    #[must_use]
    pub fn mark_refused(&self) -> PendingCommit {
        PendingCommit(self.refused.clone())
    }

    /// Whether no refresh may be sent, because its result could not be stored. One or two rejected results do
    /// not stop the refreshes of other persons.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let count = |results: &Arc<()>| Arc::strong_count(results) - 1;
        count(&self.waiting) > 0 || count(&self.refused) > MAX_REFUSED
    }
}

/// Checks readiness.
#[derive(Clone)]
pub struct Health {
    store: Arc<dyn StoreMetadata>,
    unkept: Arc<PendingCommits>,
}

impl Health {
    /// Checks `store`, and counts the results in `unkept`.
    #[must_use]
    pub fn new(store: Arc<dyn StoreMetadata>, unkept: Arc<PendingCommits>) -> Self {
        Self { store, unkept }
    }

    /// Whether the store can be read and written and accepts the results of refreshes. Answering at all shows
    /// that the daemon listens.
    ///
    /// # Errors
    /// [`NotReady`] says what is missing.
    pub async fn ready(&self) -> Result<(), NotReady> {
        let (read, kept) = (self.store.check_readable().await, self.store.check_writable().await);
        read.map_err(NotReady::Unreadable)?;
        kept.map_err(NotReady::Unwritable)?;
        if self.unkept.is_stalled() { Err(NotReady::Unkept) } else { Ok(()) }
    }
}
