//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, on threads of its own.
//!
//! One writer commits all queued changes in one transaction. A few readers run the queries. Async code only sends them work
//! and waits for the answer.

mod condition;
#[cfg(test)]
mod costs;
mod errors;
mod generation;
mod hand;
mod keys;
mod list;
mod macs;
mod meta;
mod modes;
mod open;
mod overview;
mod persons;
mod place;
mod queries;
mod readers;
mod rows;
mod texts;
mod threads;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use rusqlite::Connection;

use crate::domain::breaker::Waiting;
use crate::domain::grant::Grant;
use crate::domain::key::KeyRecord;
use crate::domain::person::Email;
use crate::domain::person::Namesake;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Next;
use crate::domain::time::UnixTime;
use crate::store::Answer;
use crate::store::Ask;
use crate::store::Bookmark;
use crate::store::Census;
use crate::store::Claim;
use crate::store::Claims;
use crate::store::Committed;
use crate::store::Counts;
use crate::store::Cursor;
use crate::store::Fence;
use crate::store::KeyStore;
use crate::store::Lease;
use crate::store::Note;
use crate::store::Page;
use crate::store::Revision;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::store::sqlite::condition::Condition;
use crate::store::sqlite::generation::LastSeen;
use crate::store::sqlite::hand::Hands;
use crate::store::sqlite::open::Owner;
use crate::store::sqlite::place::Place;
use crate::store::sqlite::readers::ReadSpan;
use crate::store::sqlite::threads::Threads;

/// The grants of one integration in a SQLite file. No other process can open the file until the value is dropped.
pub struct SqliteStore {
    threads: Threads,
    shelf: Arc<Shelf>,
    place: Place,
    condition: Arc<Condition>,
    last_seen: Arc<LastSeen>,
    /// Holds the locks of the store, which are released last.
    _owner: Owner,
}

/// What every query needs besides the connection.
struct Shelf {
    integration: String,
    sealer: Arc<Sealer>,
    /// Used by the writer only. The lock exists only because readers share the shelf.
    hands: Mutex<Hands>,
    /// The numbers of rows that do not open and have been logged.
    unreadable: Mutex<BTreeSet<i64>>,
}

/// Number of logged rows that are remembered. After that all of them are logged again.
const REMEMBERED: usize = 1024;

impl Shelf {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs that a row does not open, but not with every read.
    fn report_unreadable(&self, serial: i64, person: &PersonId) {
        let mut told = self.unreadable();
        if told.len() >= REMEMBERED {
            told.clear();
        }
        if told.insert(serial) {
            log::error!("{}", StoreError::Unreadable(person.clone()));
        }
    }
}

impl SqliteStore {
    /// Opens the store at `path`. Creates the store and its key if neither exists. Grants that a process left claimed when it
    /// ended are due at `now`.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be opened or must not be used. The text says what to do, and nothing is changed.
    pub fn open(
        path: &Path,
        key_file: &Path,
        integration: &str,
        now: UnixTime,
    ) -> Result<(Self, Arc<Sealer>), StoreError> {
        let opened = open::open(path, key_file, now).map_err(|why| why.at(path))?;
        let condition = Arc::new(Condition::of(opened.place.path().to_owned()));
        let (integration, hands) = (integration.to_owned(), Mutex::default());
        let shelf = Shelf { integration, sealer: opened.sealer.clone(), hands, unreadable: Mutex::default() };
        let threads = Threads::start(opened.writer, opened.readers, opened.place.clone(), &condition)?;
        let (shelf, place, last_seen) = (Arc::new(shelf), opened.place, Arc::new(opened.last_seen));
        let store = Self { threads, shelf, place, condition, last_seen, _owner: opened.owner };
        Ok((store, opened.sealer))
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &Shelf) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let (shelf, mut again) = (self.shelf.clone(), false);
        let answer = self.threads.write(move |db| {
            if std::mem::replace(&mut again, true) {
                // Rows that the failed batch had taken from it are still due.
                *shelf.hands() = Hands::default();
            }
            work(db, &shelf)
        });
        Box::pin(async move { answer.await.map_err(|why| why.at(self.place.path())) })
    }

    /// Runs a change that begins a new generation if `counts` is true for its result, because a restored backup would undo
    /// it.
    fn write_generation<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &Shelf) -> Result<T, StoreError> + Send + 'static,
        counts: impl Fn(&T) -> bool + Send + 'static,
    ) -> Answer<'_, T> {
        let changed = self.write(move |db, shelf| generation::after(db, work(db, shelf)?, &counts));
        Box::pin(async move {
            let (changed, begun) = changed.await?;
            if let Some(begun) = begun {
                self.note_generation(begun).await;
            }
            Ok(changed)
        })
    }

    /// Writes a generation to its file. Errors are logged only, because the change itself is durable already.
    async fn note_generation(&self, begun: i64) {
        self.last_seen.want(begun);
        let last_seen = self.last_seen.clone();
        // On the writer's thread, because a hanging disk must not block the async workers.
        let noted = self.threads.write(move |_| {
            last_seen.note(begun);
            Ok(())
        });
        let _ = noted.await;
    }

    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Shelf) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        self.look(ReadSpan::Short, work)
    }

    /// Runs a read that may take long.
    fn survey<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Shelf) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        self.look(ReadSpan::Long, work)
    }

    fn look<T: Send + 'static>(
        &self,
        span: ReadSpan,
        work: impl FnOnce(&Connection, &Shelf) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'_, T> {
        let shelf = self.shelf.clone();
        let answer = self.threads.read(span, move |db| work(db, &shelf));
        Box::pin(async move { answer.await.map_err(|why| why.at(self.place.path())) })
    }
}

/// `path` with `suffix` appended to its name.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("integration", &self.shelf.integration).finish_non_exhaustive()
    }
}

impl Store for SqliteStore {
    fn save_consent(&self, grant: Grant) -> Answer<'_, Saved> {
        self.write(move |db, shelf| queries::save_consent(db, shelf, &grant))
    }

    fn save_import(&self, grant: Grant) -> Answer<'_, Saved> {
        self.write(move |db, shelf| persons::save_import(db, shelf, &grant))
    }

    fn claim_due(&self, ask: Ask) -> Answer<'_, Claims> {
        self.write(move |db, shelf| queries::claim_due(db, shelf, &ask))
    }

    fn claim_one(&self, person: PersonId, lease: Lease) -> Answer<'_, Option<Claim>> {
        self.write(move |db, shelf| queries::claim_one(db, shelf, &person, &lease))
    }

    fn commit(&self, fence: Fence, grant: Grant) -> Answer<'_, Committed> {
        self.write(move |db, shelf| queries::commit(db, shelf, fence, &grant))
    }

    fn give_back(&self, person: PersonId, fence: Fence, next: Next) -> Answer<'_, Committed> {
        self.write(move |db, shelf| queries::give_back(db, shelf, &person, fence, next))
    }

    fn find(&self, person: PersonId) -> Answer<'_, Option<Grant>> {
        self.read(move |db, shelf| queries::find(db, shelf, &person))
    }

    fn resolve(&self, email: Email) -> Answer<'_, Vec<Namesake>> {
        self.read(move |db, shelf| persons::resolve(db, shelf, &email))
    }

    fn update_person(&self, person: Person, planned: UnixTime, next: UnixTime) -> Answer<'_, bool> {
        self.write(move |db, shelf| persons::update(db, shelf, (&person, planned), next))
    }

    fn list(&self, page: Page) -> Answer<'_, Vec<(Bookmark, Grant)>> {
        let span = if page.limit > 1 { ReadSpan::Long } else { ReadSpan::Short };
        self.look(span, move |db, shelf| list::list(db, shelf, &page))
    }

    fn forget(&self, person: PersonId) -> Answer<'_, bool> {
        self.write_generation(move |db, shelf| persons::forget(db, shelf, &person), |gone| *gone)
    }

    fn next_wake(&self, after: UnixTime) -> Answer<'_, Option<UnixTime>> {
        self.read(move |db, shelf| queries::next_wake(db, shelf, after))
    }

    fn waiting(&self, now: UnixTime) -> Answer<'_, Waiting> {
        self.read(move |db, shelf| queries::waiting(db, shelf, now))
    }

    fn revise(&self, after: Cursor, limit: u32, revision: Revision) -> Answer<'_, Option<Cursor>> {
        self.write(move |db, shelf| queries::revise(db, shelf, after, limit, &revision))
    }

    fn census(&self) -> Answer<'_, Census> {
        self.survey(overview::census)
    }

    fn counts(&self, now: UnixTime) -> Answer<'_, Counts> {
        self.survey(move |db, shelf| overview::counts(db, shelf, now))
    }

    fn latest(&self) -> Answer<'_, Option<UnixTime>> {
        self.read(meta::latest)
    }

    fn settle(&self, now: UnixTime, lease_end: UnixTime) -> Answer<'_, ()> {
        self.write(move |db, shelf| queries::settle(db, shelf, now, lease_end))
    }

    fn recall(&self, note: Note) -> Answer<'_, Option<String>> {
        self.read(move |db, shelf| meta::recall(db, shelf, note))
    }

    fn remember(&self, note: Note, text: String) -> Answer<'_, ()> {
        self.write(move |db, shelf| meta::remember(db, shelf, note, &text))
    }

    fn check(&self) -> Answer<'_, ()> {
        let place = self.place.clone();
        // The file is checked on the reader's thread, because a hanging disk must not block the async workers.
        self.read(move |db, _| {
            place.check()?;
            meta::check(db)
        })
    }

    fn prove(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            if self.condition.wants_proof() {
                self.write(|db, _| meta::prove(db)).await?;
            }
            self.condition.writable()
        })
    }
}

impl KeyStore for SqliteStore {
    fn add_key(&self, key: KeyRecord) -> Answer<'_, bool> {
        self.write_generation(move |db, shelf| keys::add(db, &shelf.sealer, &key), |added| *added)
    }

    fn keys(&self) -> Answer<'_, Vec<KeyRecord>> {
        self.survey(|db, shelf| keys::all(db, &shelf.sealer))
    }

    fn revoke_key(&self, name: String) -> Answer<'_, bool> {
        self.write_generation(move |db, _| keys::revoke(db, &name), |gone| *gone)
    }

    fn touch_key(&self, id: String, at: UnixTime) -> Answer<'_, ()> {
        self.write(move |db, _| keys::touch(db, &id, at))
    }
}

#[cfg(test)]
mod tests;
