//! Limits concurrent lists. A long list takes a reader of the store and a processor for some milliseconds.
//! Without a limit, one key that requests many lists at once would take both from all other callers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::api::Caller;
use crate::http::refusal::Refusal;

/// Lists that are created at once, in total.
const MOST: usize = 4;
/// Lists that are created at once for one key, or for the control socket as a whole.
const MOST_OF_ONE: usize = 2;

/// Maximum time that a request waits for its permit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Limits the lists that are created at once.
pub(super) struct ListTurns {
    all: Arc<Semaphore>,
    /// By key id. Keys without a running or waiting request are dropped.
    keys: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A permit for one list, released on drop.
pub(super) struct ListTurn {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Default for ListTurns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST)), keys: Mutex::default() }
    }
}

impl ListTurns {
    /// Waits for a permit to create a list for `caller`. Requests of one key are served in order, and only a
    /// few of them wait in the queue of all callers.
    pub(super) async fn take(&self, caller: &Caller) -> Result<ListTurn, Refusal> {
        let own = self.of(match caller {
            Caller::Key(key) => &key.id,
            Caller::Control => "",
        });
        let turn = async {
            let own = own.acquire_owned().await.ok()?;
            Some(ListTurn { _all: self.all.clone().acquire_owned().await.ok()?, _own: own })
        };
        let taken = timeout(PATIENCE, turn).await.ok().flatten();
        taken.ok_or(Refusal::Crowded("Too many lists are requested at once; request one after the other."))
    }

    fn of(&self, name: &str) -> Arc<Semaphore> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = keys.get(name) {
            return own.clone();
        }
        keys.retain(|_, own| Arc::strong_count(own) > 1);
        keys.entry(name.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(MOST_OF_ONE))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_caller_leaves_permits_for_others_and_waits_for_its_own() {
        let turns = ListTurns::default();
        let one = Caller::Control;
        let held = [turns.take(&one).await.ok(), turns.take(&one).await.ok()];
        assert!(held.iter().all(Option::is_some));
        assert!(turns.take(&one).await.is_err_and(|why| matches!(why, Refusal::Crowded(_))));
        let other = turns.of("another key");
        assert_eq!((other.available_permits(), turns.all.available_permits()), (2, 2));
        let next = turns.take(&one);
        let free = async { drop(held) };
        let (next, ()) = tokio::join!(next, free);
        assert!(next.is_ok());
    }
}
