//! `kill -9` at any await: after the crash, nothing that the daemon does has an effect. The runtime with all its tasks
//! is dropped right after.

use std::future::pending;
use std::sync::Mutex;

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct CrashPoint {
    inner: Mutex<CrashState>,
    told: Notify,
}

#[derive(Debug, Default)]
struct CrashState {
    /// Remaining awaits before the crash.
    left: Option<u64>,
    has_crashed: bool,
}

impl CrashPoint {
    /// Crashes at the `steps`-th await from here at which the daemon communicates with the outside.
    pub(super) fn crash_after(&self, steps: u64) {
        self.inner.lock().unwrap().left = Some(steps);
    }

    pub(super) fn crash_now(&self) {
        self.inner.lock().unwrap().has_crashed = true;
        self.told.notify_one();
    }

    /// Resets for the next process.
    pub(super) fn renew(&self) {
        *self.inner.lock().unwrap() = CrashState::default();
    }

    fn count_step(&self) -> bool {
        let mut inner = self.inner.lock().unwrap();
        if let Some(left) = &mut inner.left {
            *left = left.saturating_sub(1);
            inner.has_crashed |= inner.left == Some(0);
        }
        inner.has_crashed
    }

    /// A point at which the daemon may crash. Returns only if it does not.
    pub(super) async fn step(&self) {
        if self.count_step() {
            self.told.notify_one();
            pending::<()>().await;
        }
    }

    /// Returns after the crash.
    pub(super) async fn crashed(&self) {
        while !self.inner.lock().unwrap().has_crashed {
            self.told.notified().await;
        }
    }
}
