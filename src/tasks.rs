//! Named tasks with one shutdown, and the notification that wakes the event loop. This is the only module
//! that calls `tokio::spawn`, so the shutdown can wait for every task.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// After a signal, running work (a consent, a refresh) has this long to finish. Service managers kill after
/// 90 s.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(75);

/// A set of tasks that are stopped together and waited for together. Clones share the set.
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

    /// Starts `work` as a task. [`Tasks::stop`] does not cancel it: a task that can wait for long watches
    /// [`Tasks::stopping`]. [`Tasks::drained`] waits for it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the only module that spawns, so that the shutdown can wait for every task"
    )]
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

    /// Asks every task to end. May be called more than once.
    pub fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
    }

    /// A token that [`Tasks::stop`] cancels.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Returns once [`Tasks::stop`] was called and every task has ended.
    pub async fn drained(&self) {
        self.tracker.wait().await;
    }
}

/// Wakes the event loop. Notifications sent while it is running are coalesced and delivered on the next wait.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A wake without a pending notification.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes the waiting task, or makes the next wait return at once.
    pub fn notify(&self) {
        self.0.notify_one();
    }

    /// Returns at the next notification. Cancel-safe: a dropped wait loses no notification.
    pub async fn notified(&self) {
        self.0.notified().await;
    }
}
