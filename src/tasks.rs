//! Tasks with names, one shutdown for all of them, and the nudge that wakes the loop.
//! The only caller of `tokio::spawn`: whatever runs beside the main path is waited for at the end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After a signal, what runs (a consent, a refresh) has so long to finish; service managers kill after 90 s.
pub const GRACE: Duration = Duration::from_secs(75);

/// A set of tasks that are told to stop together and waited for together. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `work` beside the caller. It is not cancelled by [`Tasks::stop`]: it watches [`Tasks::stopping`]
    /// where it can wait for long, and is waited for by [`Tasks::drained`].
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns, so that shutdown can wait")]
    pub fn spawn<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        log::trace!("task {name} starts");
        tokio::spawn(self.tracker.track_future(work))
    }

    /// Tells every task to come to an end. May be called again.
    pub fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// Becomes cancelled when [`Tasks::stop`] is called.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns when [`Tasks::stop`] was called and every task has ended.
    pub async fn drained(&self) {
        self.tracker.wait().await;
    }
}

/// A nudge that ends a nap early. Nudges given while nobody naps are kept, as one.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A wake that nobody has nudged yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the present nap, or the next one if nobody naps.
    pub fn nudge(&self) {
        self.0.notify_one();
    }

    /// Returns at the next nudge. Safe to drop and call again: no nudge is lost.
    pub async fn nudged(&self) {
        self.0.notified().await;
    }
}
