//! The threads that own SQLite's connections, and group commit.

use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::store::StoreError;
use crate::store::sqlite::file_identity::FileIdentity;
use crate::store::sqlite::health::StoreHealth;
use crate::store::sqlite::job::Job;
use crate::store::sqlite::job::WorkerJob;
use crate::store::sqlite::readers::ReadSpan;
use crate::store::sqlite::readers::Readers;

/// Length of a thread's queue. If it is full, callers wait until they can add their work.
const QUEUE_LEN: usize = 1024;

/// Largest number of pieces of work in one transaction: enough to share one flush of the disk, and few enough to be fast.
const MAX_BATCH: usize = 512;

/// One writer and some readers. Dropping the value finishes the queued work and closes the connections.
pub(super) struct Workers {
    writer: Option<mpsc::Sender<Box<dyn WorkerJob>>>,
    readers: Readers,
    running: Vec<JoinHandle<()>>,
}

impl Workers {
    pub(super) fn start(
        writer: Connection,
        readers: Vec<Connection>,
        place: FileIdentity,
        condition: &Arc<StoreHealth>,
    ) -> Result<Self, StoreError> {
        let mut threads = Self { writer: None, readers: Readers::default(), running: Vec::new() };
        let (to_writer, work) = mpsc::channel(QUEUE_LEN);
        let watched = condition.clone();
        threads.run("store-writer", move || write_all(writer, &place, &watched, work))?;
        threads.writer = Some(to_writer);
        for reader in readers {
            let (work, watched) = (threads.readers.add(QUEUE_LEN), condition.clone());
            threads.run("store-reader", move || read_all(&reader, &watched, work))?;
        }
        Ok(threads)
    }

    fn run(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.running
            .push(thread.map_err(|e| StoreError::Failed(format!("cannot start the thread {name}: {e}")))?);
        Ok(())
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(work, |_| {}).await
    }

    /// Runs `after_commit` with the result of `work` once the changes are durable, even if the caller has left by then.
    pub(super) async fn write_then<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
        after_commit: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        submit(self.writer.as_ref(), work, after_commit).await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        span: ReadSpan,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let line = self.readers.queue_for(span).ok_or(StoreError::Closed)?;
        let place = line.join();
        // Only writes may have to run again.
        let mut work = Some(work);
        let once = move |db: &Connection| {
            let _place = &place;
            work.take().map_or(Err(StoreError::Closed), |work| work(db))
        };
        submit(Some(line.queue()), once, |_| {}).await
    }
}

async fn submit<T: Send + 'static>(
    to: Option<&mpsc::Sender<Box<dyn WorkerJob>>>,
    work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
    after_commit: impl FnOnce(&T) + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let piece = Box::new(Job::new(work, after_commit, reply));
    let to = to.ok_or(StoreError::Closed)?;
    to.send(piece).await.map_err(|_| StoreError::Closed)?;
    answer.await.map_err(|_| StoreError::Closed)?
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.readers = Readers::default();
        // The writer was started first and ends last. The last connection copies the write-ahead log into the database, and
        // a reader's connection cannot do that.
        let readers = self.running.split_off(self.running.len().min(1));
        for reader in readers {
            let _ = reader.join();
        }
        self.writer = None;
        for writer in self.running.drain(..) {
            let _ = writer.join();
        }
    }
}

fn read_all(db: &Connection, condition: &StoreHealth, mut queue: mpsc::Receiver<Box<dyn WorkerJob>>) {
    while let Some(mut work) = queue.blocking_recv() {
        work.run(db);
        work.failure().map_or_else(|| condition.read_succeeded(), |why| condition.read_failed(why));
        work.finish(Ok(()));
    }
}

fn write_all(
    mut db: Connection,
    place: &FileIdentity,
    condition: &StoreHealth,
    mut queue: mpsc::Receiver<Box<dyn WorkerJob>>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while queue.blocking_recv_many(&mut batch, MAX_BATCH) > 0 {
        let before = db.total_changes();
        let committed = place.check().and_then(|()| write_batch(&mut db, &mut batch));
        let failure = committed.as_ref().err().or_else(|| batch.iter().find_map(|work| work.failure()));
        match failure {
            Some(why) => condition.write_failed(why),
            // A transaction without a change proves nothing: it succeeds even if the disk is full.
            None if db.total_changes() == before => {}
            None => condition.write_succeeded(),
        }
        for work in batch.drain(..) {
            work.finish(committed.clone());
        }
    }
}

/// Runs a batch in one transaction. If a piece of work fails, only its own changes are rolled back. If the transaction fails,
/// all changes are rolled back, and all callers get the error.
///
/// To be able to roll back one piece, SQLite copies each page that it changes. It hardly ever happens that a piece fails
/// after a change. So the batch runs without savepoints first, and a second time with them if a piece may have changed
/// something.
fn write_batch(db: &mut Connection, batch: &mut [Box<dyn WorkerJob>]) -> Result<(), StoreError> {
    if write_plainly(db, batch)? { Ok(()) } else { write_one_by_one(db, batch) }
}

/// Answers `false` and rolls back all changes if a piece failed that may have changed something.
fn write_plainly(db: &mut Connection, batch: &mut [Box<dyn WorkerJob>]) -> Result<bool, StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in batch {
        let before = transaction.total_changes();
        run_within(&transaction, work.as_mut())?;
        // After an error of the whole store, a statement may have changed an index before its row counts as changed.
        let changed = |why: &StoreError| why.affects_whole_store() || transaction.total_changes() != before;
        if work.failure().is_some_and(changed) {
            transaction.rollback()?;
            return Ok(false);
        }
    }
    transaction.commit()?;
    Ok(true)
}

fn write_one_by_one(db: &mut Connection, batch: &mut [Box<dyn WorkerJob>]) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in batch {
        transaction.prepare_cached("SAVEPOINT piece")?.execute([])?;
        run_within(&transaction, work.as_mut())?;
        if work.failure().is_some() {
            transaction.prepare_cached("ROLLBACK TO piece")?.execute([])?;
        }
        transaction.prepare_cached("RELEASE piece")?.execute([])?;
    }
    Ok(transaction.commit()?)
}

/// Runs a piece of work. Fails only if SQLite rolled back the whole transaction, for instance because the disk is full.
fn run_within(transaction: &Transaction<'_>, work: &mut dyn WorkerJob) -> Result<(), StoreError> {
    work.run(transaction);
    if !transaction.is_autocommit() {
        return Ok(());
    }
    // All callers of the batch get this error.
    let why = work.failure().cloned();
    Err(why.unwrap_or_else(|| StoreError::Failed("SQLite rolled back the transaction".to_owned())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::domain::person::PersonId;

    const SCHEMA: &str = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA max_page_count = 64; \
         CREATE TABLE kept (n INTEGER PRIMARY KEY, bulk BLOB, \
         friend INTEGER REFERENCES kept (n) DEFERRABLE INITIALLY DEFERRED);";

    /// A writer and its database.
    struct TestWriter {
        threads: Workers,
        path: PathBuf,
        _dir: TempDir,
    }

    impl TestWriter {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("db");
            let db = Connection::open(&path).unwrap();
            db.execute_batch(SCHEMA).unwrap();
            db.busy_timeout(Duration::ZERO).unwrap();
            let condition = Arc::new(StoreHealth::new(path.clone()));
            let readers = vec![Connection::open(&path).unwrap()];
            let threads =
                Workers::start(db, readers, FileIdentity::open(&path).unwrap(), &condition).unwrap();
            Self { threads, path, _dir: dir }
        }

        fn kept(&self) -> Vec<i64> {
            let db = Connection::open(&self.path).unwrap();
            let mut query = db.prepare("SELECT n FROM kept ORDER BY n").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        }

        async fn keep(&self, n: i64, sql: &'static str) -> Result<(), StoreError> {
            self.threads.write(move |db| Ok(db.execute(sql, [n]).map(drop)?)).await
        }

        /// Keeps the writer busy until the returned value is dropped. Writes that wait meanwhile become one batch.
        async fn busy(&self) -> std::sync::mpsc::Sender<()> {
            let (release, held) = std::sync::mpsc::channel::<()>();
            let (begun, begins) = oneshot::channel();
            let mut begun = Some(begun);
            let work = move |_: &Connection| {
                begun.take().map(|begun| begun.send(()));
                let _ = held.recv();
                Ok(())
            };
            let mut piece = Box::pin(self.threads.write(work));
            tokio::select! {
                _ = &mut piece => unreachable!("the writer is busy"),
                begun = begins => begun.unwrap(),
            }
            release
        }
    }

    #[tokio::test]
    async fn a_read_may_give_away_what_it_holds() {
        let (house, held) = (TestWriter::new(), "held".to_owned());
        let read = house.threads.read(ReadSpan::Short, move |_| Ok(held));
        assert_eq!(read.await, Ok("held".to_owned()));
    }

    const PLAIN: &str = "INSERT INTO kept (n) VALUES (?1)";
    const BULKY: &str = "INSERT INTO kept (n, bulk) VALUES (?1, zeroblob(1000000))";
    const LONELY: &str = "INSERT INTO kept (n, friend) VALUES (?1, 4711)";

    #[tokio::test]
    async fn a_job_that_fails_or_panics_rolls_back_its_own_changes_only() {
        let house = TestWriter::new();
        let failing = house.threads.write(|db| {
            db.execute(PLAIN, [2])?;
            Err::<(), _>(StoreError::ReadOnly)
        });
        let panicking = house.threads.write::<()>(|db| {
            db.execute(PLAIN, [4])?;
            panic!("the test needs a panic");
        });
        let release = house.busy().await;
        let (one, two, three, four, five, ()) = tokio::join!(
            house.keep(1, PLAIN),
            failing,
            house.keep(3, PLAIN),
            panicking,
            house.keep(5, PLAIN),
            async { drop(release) },
        );
        assert_eq!([one, three, five], [Ok(()), Ok(()), Ok(())]);
        assert_eq!(two, Err(StoreError::ReadOnly));
        assert_eq!(four, Err(StoreError::Failed("an operation of the store panicked".to_owned())));
        assert_eq!(house.kept(), [1, 3, 5]);
        assert_eq!(house.keep(6, PLAIN).await, Ok(()), "the thread still runs");
    }

    /// How often a piece of work runs if another one in its batch runs `sql` and fails.
    async fn runs_beside(sql: &'static str, why: StoreError) -> usize {
        let (house, runs) = (TestWriter::new(), Arc::new(AtomicUsize::new(0)));
        let (counted, expected) = (runs.clone(), why.clone());
        let counting = house.threads.write(move |db| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(db.execute(PLAIN, [1]).map(drop)?)
        });
        let failing = house.threads.write(move |db| {
            db.prepare(sql)?.query([2])?.next()?;
            Err::<(), _>(why.clone())
        });
        let release = house.busy().await;
        let (one, two, ()) = tokio::join!(counting, failing, async { drop(release) });
        assert_eq!((one, two), (Ok(()), Err(expected)));
        assert_eq!(house.kept(), [1]);
        runs.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_batch_is_run_again_only_if_a_job_failed_that_may_have_changed_something() {
        let refused = || StoreError::Unreadable(PersonId::parse("ada").unwrap());
        assert_eq!(runs_beside("SELECT ?1", refused()).await, 1);
        assert_eq!(runs_beside(PLAIN, refused()).await, 2);
        let trouble = StoreError::Corrupt("an index".to_owned());
        assert_eq!(runs_beside("SELECT ?1", trouble).await, 2, "a change may not have been counted");
    }

    #[tokio::test]
    async fn when_a_transaction_is_given_up_every_caller_gets_the_reason() {
        let house = TestWriter::new();
        let release = house.busy().await;
        let (one, two, three, ()) =
            tokio::join!(house.keep(1, PLAIN), house.keep(2, BULKY), house.keep(3, PLAIN), async {
                drop(release)
            },);
        assert_eq!([one, two, three], [Err(StoreError::Full), Err(StoreError::Full), Err(StoreError::Full)]);
        assert_eq!(house.kept(), [0; 0]);
        assert_eq!(house.keep(4, PLAIN).await, Ok(()), "the connection is usable");
        assert_eq!(house.kept(), [4]);
    }

    #[tokio::test]
    async fn when_a_transaction_cannot_begin_every_caller_gets_the_reason() {
        let house = TestWriter::new();
        let other = Connection::open(&house.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (one, two) = tokio::join!(house.keep(1, PLAIN), house.keep(2, PLAIN));
        assert_eq!([one, two], [Err(StoreError::Locked), Err(StoreError::Locked)]);
        assert_eq!(house.keep(3, PLAIN).await, Err(StoreError::Locked));
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(house.keep(4, PLAIN).await, Ok(()));
    }

    #[tokio::test]
    async fn when_a_commit_fails_no_caller_gets_a_success() {
        let house = TestWriter::new();
        let release = house.busy().await;
        let (one, two, ()) =
            tokio::join!(house.keep(1, PLAIN), house.keep(2, LONELY), async { drop(release) });
        let why = StoreError::Failed("FOREIGN KEY constraint failed".to_owned());
        assert_eq!([one, two], [Err(why.clone()), Err(why)]);
        assert_eq!(house.kept(), [0; 0]);
        assert_eq!(house.keep(4, PLAIN).await, Ok(()));
    }
}
