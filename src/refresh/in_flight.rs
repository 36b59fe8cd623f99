//! The persons whose grants are being refreshed in this process, and a way to wait for the end: single flight per person.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::watch;

use crate::domain::person::PersonId;

/// The persons whose grants are being refreshed. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Mutex<BTreeMap<PersonId, InFlightEntry>>>);

/// The number of marks of one person, and a channel. Its value says whether a reader or an operator waits;
/// its closing says that the work has ended.
#[derive(Debug)]
struct InFlightEntry {
    marks: usize,
    /// Whether a reader or an operator waits.
    requested: watch::Sender<bool>,
}

/// A mark in the list. Dropping it removes it, however the work ended.
#[derive(Debug)]
pub(super) struct InFlightGuard {
    list: InFlight,
    person: PersonId,
}

/// Waits for the end of the work on a person.
pub(super) struct InFlightWaiter(watch::Receiver<bool>);

impl InFlight {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PersonId, InFlightEntry>> {
        self.0.lock()
    }

    /// Adds a mark to a person, who may have others already.
    pub(super) fn begin(&self, person: &PersonId) -> InFlightGuard {
        let mut list = self.lock();
        list.entry(person.clone()).or_insert_with(InFlightEntry::new).marks += 1;
        InFlightGuard { list: self.clone(), person: person.clone() }
    }

    /// Joins the work on a person. If there is none, the caller also gets a mark and must do the work. `requested` tells the work
    /// that a reader or an operator waits for it.
    pub(super) fn join(&self, person: &PersonId, requested: bool) -> (InFlightWaiter, Option<InFlightGuard>) {
        let mut list = self.lock();
        let work = list.entry(person.clone()).or_insert_with(InFlightEntry::new);
        if requested {
            // Others who wait already need not know.
            work.requested.send_if_modified(|requested| !std::mem::replace(requested, true));
        }
        let waiter = InFlightWaiter(work.requested.subscribe());
        if work.marks > 0 {
            return (waiter, None);
        }
        work.marks = 1;
        (waiter, Some(InFlightGuard { list: self.clone(), person: person.clone() }))
    }

    /// Whether the person has a mark.
    pub(super) fn contains(&self, person: &PersonId) -> bool {
        self.lock().contains_key(person)
    }

    /// All persons with a mark.
    pub(super) fn persons(&self) -> Vec<PersonId> {
        self.lock().keys().cloned().collect()
    }
}

impl InFlightEntry {
    fn new() -> Self {
        Self { marks: 0, requested: watch::Sender::new(false) }
    }
}

impl InFlightGuard {
    pub(super) fn person(&self) -> &PersonId {
        &self.person
    }

    /// Returns when a reader or an operator waits for the work.
    pub(super) async fn wait_until_requested(&self) {
        let work = self.list.lock().get(&self.person).map(|work| work.requested.subscribe());
        let Some(mut requested) = work else { return std::future::pending().await };
        // The sender lives at least as long as this mark.
        let _ = requested.wait_for(|requested| *requested).await;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let mut list = self.list.lock();
        if let Some(work) = list.get_mut(&self.person) {
            work.marks -= 1;
            if work.marks == 0 {
                list.remove(&self.person);
            }
        }
    }
}

impl InFlightWaiter {
    /// Returns when the work has ended, whether it succeeded or not.
    pub(super) async fn ended(mut self) {
        // Removing the last mark drops the sender, which ends the wait.
        let _ = self.0.wait_for(|_| false).await;
    }
}
