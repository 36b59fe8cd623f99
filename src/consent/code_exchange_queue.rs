//! The queue in which code exchanges wait for their turn. The rules are in [`crate::domain::code_exchange_limits`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::timeout_at;

use crate::domain::code_exchange_limits::ClientNetwork;
use crate::domain::code_exchange_limits::CodeExchanges;
use crate::domain::code_exchange_limits::ExchangeEnd;
use crate::domain::code_exchange_limits::ExchangePermit;
use crate::domain::code_exchange_limits::ExchangeTurn;
use crate::domain::code_exchange_limits::Hold;

/// Maximum wait of a browser for its turn. Together with an exchange, which takes at most 40 s, it stays
/// below the time that the shutdown waits for running work.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The retry delay reported after a wait that was too long.
const AGAIN: Duration = Duration::from_secs(5);

/// The code exchanges of this process.
#[derive(Debug)]
pub(super) struct CodeExchangeQueue {
    since: Instant,
    state: Mutex<QueueState>,
}

#[derive(Debug)]
struct QueueState {
    exchanges: CodeExchanges,
    waiting: HashMap<u64, Arc<Notify>>,
}

/// A running exchange. If it is dropped before its end, it counts as failed.
#[derive(Debug)]
pub(super) struct RunningExchange<'a> {
    queue: &'a CodeExchangeQueue,
    permit: Option<ExchangePermit>,
}

/// A place in the queue. Dropping it leaves the queue.
struct QueuedExchange<'a> {
    queue: &'a CodeExchangeQueue,
    network: ClientNetwork,
    number: u64,
    turn: Arc<Notify>,
}

impl CodeExchangeQueue {
    pub(super) fn new(refreshes_per_second: Option<f64>) -> Self {
        let state =
            QueueState { exchanges: CodeExchanges::new(refreshes_per_second), waiting: HashMap::new() };
        Self { since: Instant::now(), state: Mutex::new(state) }
    }

    /// Waits for the turn of an exchange from `network`.
    pub(super) async fn begin(&self, network: ClientNetwork) -> Result<RunningExchange<'_>, Hold> {
        let deadline = Instant::now() + MAX_WAIT;
        let place = self.join(network)?;
        loop {
            let wait = match place.look() {
                ExchangeTurn::Begin(permit) => {
                    return Ok(RunningExchange { queue: self, permit: Some(permit) });
                }
                ExchangeTurn::Asked(wait) => return Err(Hold::Asked(wait)),
                ExchangeTurn::Wait(wait) => wait,
            };
            let now = Instant::now();
            if now >= deadline {
                return Err(Hold::Crowded(AGAIN));
            }
            let next = now.checked_add(wait).map_or(deadline, |next| next.min(deadline));
            // An error means that the wait is over.
            let _ = timeout_at(next, place.turn.notified()).await;
        }
    }

    fn join(&self, network: ClientNetwork) -> Result<QueuedExchange<'_>, Hold> {
        let turn = Arc::new(Notify::new());
        let mut state = self.state();
        let number = state.exchanges.join(network, self.now())?;
        state.waiting.insert(number, turn.clone());
        Ok(QueuedExchange { queue: self, network, number, turn })
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock()
    }
}

impl QueueState {
    fn wake(&self) {
        for number in self.exchanges.first_in_line() {
            if let Some(turn) = self.waiting.get(&number) {
                turn.notify_one();
            }
        }
    }
}

impl QueuedExchange<'_> {
    fn look(&self) -> ExchangeTurn {
        self.queue.state().exchanges.turn(self.network, self.number, self.queue.now())
    }
}

impl Drop for QueuedExchange<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.exchanges.leave(self.network, self.number);
        state.waiting.remove(&self.number);
        state.wake();
    }
}

impl RunningExchange<'_> {
    /// Ends the exchange.
    pub(super) fn end(mut self, end: ExchangeEnd) {
        self.give_back(end);
    }

    fn give_back(&mut self, end: ExchangeEnd) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.queue.state();
        state.exchanges.end(permit, end, self.queue.now());
        state.wake();
    }
}

impl Drop for RunningExchange<'_> {
    fn drop(&mut self) {
        self.give_back(ExchangeEnd::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn exchanges_wait_in_turn_and_not_beyond_the_limit() {
        let queue = CodeExchangeQueue::new(None);
        let mut held = Vec::new();
        for _ in 0..64 {
            held.push(queue.begin(None).await.unwrap());
        }
        let begun = Instant::now();
        assert!(matches!(queue.begin(None).await, Err(Hold::Crowded(_))));
        assert_eq!(begun.elapsed(), MAX_WAIT);
        let (first, second) = (queue.begin(None), queue.begin(None));
        let free = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            held.pop().unwrap().end(ExchangeEnd::Succeeded);
            held.pop().unwrap().end(ExchangeEnd::Succeeded);
        };
        let begun = Instant::now();
        let (first, second, ()) = tokio::join!(first, second, free);
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(queue.state().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_after_of_webex_ends_every_wait() {
        let queue = CodeExchangeQueue::new(None);
        let mut held = Vec::new();
        for _ in 0..64 {
            held.push(queue.begin(None).await.unwrap());
        }
        let asked = held.pop().unwrap();
        let wish = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            asked.end(ExchangeEnd::AskedToWait(Duration::from_secs(60)));
        };
        let (one, two, ()) = tokio::join!(queue.begin(None), queue.begin(None), wish);
        for waited in [one, two] {
            assert_eq!(waited.map(|_| ()).unwrap_err(), Hold::Asked(Duration::from_secs(60)));
        }
    }
}
