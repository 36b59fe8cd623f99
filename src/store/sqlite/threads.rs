//! The threads that own SQLite's connections, and group commit.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread;
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::TransactionBehavior;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// Requests that may wait for a thread; whoever comes then waits to be let in.
const QUEUE: usize = 1024;

/// Most pieces of work in one transaction: enough to share one flush of the disk, few enough to be quick.
const BATCH: usize = 512;

/// One writer, some readers. Dropping it finishes what is queued and closes the connections.
pub(super) struct Threads {
    writer: Option<mpsc::Sender<Box<dyn Work>>>,
    readers: Vec<mpsc::Sender<Box<dyn Work>>>,
    turn: AtomicUsize,
    running: Vec<JoinHandle<()>>,
}

/// A piece of work on its way to a connection and back. Two steps, since a write is done only when it is durable.
trait Work: Send {
    fn run(&mut self, db: &Connection);
    fn failed(&self) -> bool;
    fn settle(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Piece<T, F> {
    work: Option<F>,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Connection) -> Result<T, StoreError> + Send> Work for Piece<T, F> {
    fn run(&mut self, db: &Connection) {
        self.done = self.work.take().map(|work| work(db));
    }

    fn failed(&self) -> bool {
        matches!(self.done, Some(Err(_)))
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreError>) {
        let done = self.done.unwrap_or(Err(StoreError::Closed));
        let answer = done.and_then(|value| committed.map(|()| value));
        // The asker may have left; what is written stays written.
        let _ = self.reply.send(answer);
    }
}

impl Threads {
    pub(super) fn start(writer: Connection, readers: Vec<Connection>) -> Result<Self, StoreError> {
        let mut threads =
            Self { writer: None, readers: Vec::new(), turn: AtomicUsize::new(0), running: Vec::new() };
        let (to_writer, work) = mpsc::channel(QUEUE);
        threads.run("store-writer", move || write_all(writer, work))?;
        threads.writer = Some(to_writer);
        for reader in readers {
            let (to_reader, work) = mpsc::channel(QUEUE);
            threads.run("store-reader", move || read_all(&reader, work))?;
            threads.readers.push(to_reader);
        }
        Ok(threads)
    }

    fn run(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
        self.running.push(thread.map_err(|e| StoreError::Failed(format!("no thread for {name}: {e}")))?);
        Ok(())
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        ask(self.writer.as_ref(), work).await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        ask(self.readers.get(turn % self.readers.len().max(1)), work).await
    }
}

async fn ask<T: Send + 'static>(
    to: Option<&mpsc::Sender<Box<dyn Work>>>,
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let piece = Box::new(Piece { work: Some(work), done: None, reply });
    let to = to.ok_or(StoreError::Closed)?;
    to.send(piece).await.map_err(|_| StoreError::Closed)?;
    answer.await.map_err(|_| StoreError::Closed)?
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.writer = None;
        self.readers.clear();
        for thread in self.running.drain(..) {
            let _ = thread.join();
        }
    }
}

fn read_all(db: &Connection, mut queue: mpsc::Receiver<Box<dyn Work>>) {
    while let Some(mut work) = queue.blocking_recv() {
        work.run(db);
        work.settle(Ok(()));
    }
}

fn write_all(mut db: Connection, mut queue: mpsc::Receiver<Box<dyn Work>>) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        let committed = write_batch(&mut db, &mut batch);
        for work in batch.drain(..) {
            work.settle(committed.clone());
        }
    }
}

/// Runs a batch in one transaction. A piece that fails takes back its own changes only; a transaction that fails
/// takes back everybody's, and everybody is told.
fn write_batch(db: &mut Connection, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for work in batch {
        transaction.prepare_cached("SAVEPOINT piece")?.execute([])?;
        work.run(&transaction);
        if transaction.is_autocommit() {
            // SQLite gave the whole transaction up (disk full, I/O error).
            return Err(StoreError::Failed("the transaction was given up".to_owned()));
        }
        if work.failed() {
            transaction.prepare_cached("ROLLBACK TO piece")?.execute([])?;
        }
        transaction.prepare_cached("RELEASE piece")?.execute([])?;
    }
    Ok(transaction.commit()?)
}
