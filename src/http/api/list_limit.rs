//! Limits concurrent lists. A long list takes a reader of the store and a processor for some milliseconds.
//! Without a limit, one key that requests many lists at once would take both from all other callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::auth::caller::Caller;
use crate::http::response::api_error::ApiError;

/// Lists that are created at once, in total.
const MAX_LISTS: usize = 4;
/// Lists that are created at once for one key, or for the control socket as a whole.
const MAX_PER_CALLER: usize = 2;

/// Maximum time that a request waits for its permit.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Limits the lists that are created at once.
pub(super) struct ListLimit {
    all: Arc<Semaphore>,
    /// By key id. Keys without a running or waiting request are dropped.
    keys: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A permit for one list, released on drop.
pub(super) struct ListPermit {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Default for ListLimit {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_LISTS)), keys: Mutex::default() }
    }
}

impl ListLimit {
    /// Waits for a permit to create a list for `caller`. Requests of one key are served in order, and only a
    /// few of them wait in the queue of all callers.
    pub(super) async fn acquire(&self, caller: &Caller) -> Result<ListPermit, ApiError> {
        let own = self.caller_limit(match caller {
            Caller::Key(key) => &key.id,
            Caller::Control => "",
        });
        let turn = async {
            let own = own.acquire_owned().await.ok()?;
            Some(ListPermit { _all: self.all.clone().acquire_owned().await.ok()?, _own: own })
        };
        let taken = timeout(MAX_WAIT, turn).await.ok().flatten();
        taken.ok_or(ApiError::Crowded("Too many lists are requested at once; request one after the other."))
    }

    fn caller_limit(&self, name: &str) -> Arc<Semaphore> {
        let mut keys = self.keys.lock();
        if let Some(own) = keys.get(name) {
            return own.clone();
        }
        keys.retain(|_, own| Arc::strong_count(own) > 1);
        keys.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MAX_PER_CALLER))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_permits_for_others_and_waits_for_its_own() {
        let limit = ListLimit::default();
        let one = Caller::Control;
        let held = [limit.acquire(&one).await.ok(), limit.acquire(&one).await.ok()];
        assert!(held.iter().all(Option::is_some));
        assert!(limit.acquire(&one).await.is_err_and(|why| matches!(why, ApiError::Crowded(_))));
        let other = limit.caller_limit("another key");
        assert_eq!((other.available_permits(), limit.all.available_permits()), (2, 2));
        let next = limit.acquire(&one);
        let free = async { drop(held) };
        let (next, ()) = tokio::join!(next, free);
        assert!(next.is_ok());
    }
}
