//! `kill -9` at any await: from the moment the fuse has blown, nothing that the daemon does has an effect any more.
//! The runtime with all its tasks is dropped right after.

use std::future::pending;
use std::sync::Mutex;

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(super) struct Fuse {
    inner: Mutex<Inner>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Awaits to come before it blows.
    left: Option<u64>,
    blown: bool,
}

impl Fuse {
    /// It will blow at the `steps`-th await from here on at which the daemon meets the world.
    pub(super) fn set(&self, steps: u64) {
        self.inner.lock().unwrap().left = Some(steps);
    }

    pub(super) fn blow(&self) {
        self.inner.lock().unwrap().blown = true;
        self.told.notify_one();
    }

    /// Another process, another fuse.
    pub(super) fn renew(&self) {
        *self.inner.lock().unwrap() = Inner::default();
    }

    fn burn(&self) -> bool {
        let mut inner = self.inner.lock().unwrap();
        if let Some(left) = &mut inner.left {
            *left = left.saturating_sub(1);
            inner.blown |= inner.left == Some(0);
        }
        inner.blown
    }

    /// One place at which the daemon may be stopped. Returns only if it is not.
    pub(super) async fn step(&self) {
        if self.burn() {
            self.told.notify_one();
            pending::<()>().await;
        }
    }

    /// Returns when it has blown.
    pub(super) async fn blown(&self) {
        while !self.inner.lock().unwrap().blown {
            self.told.notified().await;
        }
    }
}
