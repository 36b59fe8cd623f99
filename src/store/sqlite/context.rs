//! What the queries of one store share: its key, and what the threads remember between two queries.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::MutexGuard;

use crate::domain::person::PersonId;
use crate::store::StoreError;
use crate::store::outbox::OutboxContext;
use crate::store::seal::Sealer;
use crate::store::sqlite::claim_queue::ClaimQueues;

/// What every query needs besides the connection.
pub(super) struct QueryContext {
    pub(super) integration: String,
    pub(super) sealer: Arc<Sealer>,
    /// Used by the writer only. The lock exists only because readers share the context.
    pub(super) claim_queues: Mutex<ClaimQueues>,
    /// The numbers of rows that do not open and have been logged.
    pub(super) unreadable: Mutex<BTreeSet<i64>>,
    pub(super) outbox: OutboxContext,
}

/// Number of logged rows that are remembered. After that all of them are logged again.
pub(super) const REMEMBERED: usize = 1024;

impl QueryContext {
    pub(super) fn claim_queues(&self) -> MutexGuard<'_, ClaimQueues> {
        self.claim_queues.lock()
    }

    pub(super) fn unreadable(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.unreadable.lock()
    }

    /// Logs that a row does not open, but not with every read.
    pub(super) fn report_unreadable(&self, serial: i64, person: &PersonId) {
        let mut told = self.unreadable();
        if told.len() >= REMEMBERED {
            told.clear();
        }
        if told.insert(serial) {
            log::error!("{}", StoreError::Unreadable(person.clone()));
        }
    }
}
