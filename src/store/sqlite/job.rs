//! A piece of work that waits in the queue of a thread.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// A piece of work for a connection. It has two steps, because a write is complete only when it is durable.
pub(super) trait WorkerJob: Send {
    /// Runs the work. It may run again after its changes have been rolled back.
    fn run(&mut self, db: &Connection);
    fn failure(&self) -> Option<&StoreError>;
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

/// Work and the caller that waits for its result.
pub(super) struct Job<T, F, A> {
    work: F,
    /// Runs on the thread once the changes are durable, even if the caller has left.
    after_commit: A,
    done: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F, A> Job<T, F, A> {
    pub(super) fn new(work: F, after_commit: A, reply: oneshot::Sender<Result<T, StoreError>>) -> Self {
        Self { work, after_commit, done: None, reply }
    }
}

impl<T, F, A> WorkerJob for Job<T, F, A>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, StoreError> + Send,
    A: FnOnce(&T) + Send,
{
    fn run(&mut self, db: &Connection) {
        // A panic ends this piece of work, but not the thread. Without the writer, nothing could be stored any more.
        let done = catch_unwind(AssertUnwindSafe(|| (self.work)(db)));
        let panicked = || Err(StoreError::Failed("an operation of the store panicked".to_owned()));
        self.done = Some(done.unwrap_or_else(|_| panicked()));
    }

    fn failure(&self) -> Option<&StoreError> {
        self.done.as_ref().and_then(|done| done.as_ref().err())
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match self.done {
            Some(done) => done.and_then(|value| committed.map(|()| value)),
            None => Err(committed.err().unwrap_or(StoreError::Closed)),
        };
        if let Ok(value) = &answer {
            (self.after_commit)(value);
        }
        // The caller may have left. The change stays written.
        let _ = self.reply.send(answer);
    }
}
