//! Who is being refreshed in this process, and a way to wait for it: the single flight of one person.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::watch;

use crate::domain::person::PersonId;
use crate::refresh::refresher::Refresher;

/// The list. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct BusyList(Arc<Mutex<BTreeMap<PersonId, Work>>>);

/// How many marks a person has, and what waiters hold on to.
#[derive(Debug)]
struct Work {
    marks: usize,
    ends: watch::Sender<()>,
}

/// A mark in the list; taken off when it is dropped, however the work ended.
#[derive(Debug)]
pub(super) struct Busy {
    list: BusyList,
    person: PersonId,
}

/// Work that somebody else does.
pub(super) struct Flight(watch::Receiver<()>);

impl BusyList {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PersonId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a person, beside marks that are there already.
    pub(super) fn mark(&self, person: &PersonId) -> Busy {
        let mut list = self.lock();
        list.entry(person.clone()).or_insert_with(Work::new).marks += 1;
        Busy { list: self.clone(), person: person.clone() }
    }

    /// Joins the work on a person. Where there is none, it begins: the mark is given to the one who must do it.
    pub(super) fn join(&self, person: &PersonId) -> (Flight, Option<Busy>) {
        let mut list = self.lock();
        if let Some(work) = list.get(person) {
            return (Flight(work.ends.subscribe()), None);
        }
        let work = list.entry(person.clone()).or_insert_with(Work::new);
        work.marks += 1;
        (Flight(work.ends.subscribe()), Some(Busy { list: self.clone(), person: person.clone() }))
    }

    /// Whether there is work on a person.
    pub(super) fn holds(&self, person: &PersonId) -> bool {
        self.lock().contains_key(person)
    }

    /// Everybody who is marked.
    pub(super) fn persons(&self) -> Vec<PersonId> {
        self.lock().keys().cloned().collect()
    }
}

impl Refresher {
    /// Whether a refresh of `person` is under way in this process, or waits for its turn.
    #[must_use]
    pub fn is_refreshing(&self, person: &PersonId) -> bool {
        self.busy().holds(person)
    }
}

impl Work {
    fn new() -> Self {
        Self { marks: 0, ends: watch::Sender::new(()) }
    }
}

impl Busy {
    pub(super) fn person(&self) -> &PersonId {
        &self.person
    }
}

impl Drop for Busy {
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

impl Flight {
    /// Returns when the work has ended, well or not.
    pub(super) async fn ended(mut self) {
        // The sender never sends; it goes away with the last mark.
        let _ = self.0.changed().await;
    }
}
