//! Limits on the exchange of authorization codes.
//!
//! Each exchange is a call to Webex's token endpoint with the client secret, and every client can invent a code. So
//! failed exchanges are limited, and successful ones are not:
//!
//! 1. *Concurrency.* At most [`AT_ONCE`] exchanges are under way. One network may hold at most as many slots as are
//!    free: alone it gets half of them, and the last slot is for a network that has none.
//! 2. *Failure budgets.* Each failure is charged to the budget of its network and to a shared budget. Networks that failed
//!    recently share one budget, and all others share another. So a network without failures never waits for one with
//!    failures. A full budget does not limit anything. Otherwise each exchange under way counts as a failure until it
//!    succeeds.
//! 3. *A queue for each network.* An exchange that may not begin waits in first-in, first-out order. Behind a proxy all
//!    clients are one network, and each of them is served in turn.
//! 4. *Requests to wait.* While Webex asks to wait, nothing is sent: for at most a minute after the first such response,
//!    and for at most five minutes after each further one.
//!
//! `now` is the time since a fixed moment, by a monotonic clock.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::schedule::RETRY_AFTER_CAP;

/// Maximum number of concurrent exchanges.
pub const AT_ONCE: usize = 128;

/// Maximum number of queued exchanges. One network may hold at most as many places as are free.
const MOST_WAITING: usize = 512;

/// The size of a failure budget: of one network, and of each of the two kinds of networks.
const NETWORK_BURST: f64 = 10.0;
const KIND_BURST: f64 = 64.0;

/// Failures per second after a burst: for one network, and for each of the two kinds of networks together.
pub const FAILURES_PER_SECOND: f64 = 3.0;

/// Upper limit of that rate, as a fraction of the refresh rate. It matters if the refresh rate is low.
const PART_OF_REFRESHES: f64 = 0.15;

/// The wait if Webex asks to wait without a duration.
const UNTOLD_WAIT: Duration = Duration::from_secs(30);

/// Limits a wait that Webex asks for: at least a second, at most [`RETRY_AFTER_CAP`].
#[must_use]
pub fn bounded(wait: Duration) -> Duration {
    wait.clamp(Duration::from_secs(1), RETRY_AFTER_CAP)
}

/// The wait that a response asks for: 429 always asks to wait, other statuses only with a `Retry-After` header.
#[must_use]
pub fn asked_wait(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.or_else(|| (status == 429).then_some(UNTOLD_WAIT)).map(bounded)
}

/// Number of stored networks at which idle ones are removed.
const SWEEP_AT: usize = 256;

/// The network of a client: an IPv4 address or an IPv6 network. `None`: a local client that did not connect to the HTTP port.
pub type ClientNetwork = Option<IpAddr>;

/// Why an exchange is rejected, and how long the client should wait before it tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Webex asks to wait.
    Asked(Duration),
    /// The network's part of the queue is full.
    Crowded(Duration),
}

/// The next step for a queued exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeTurn {
    /// The exchange is now under way.
    Begin(ExchangePermit),
    /// Not yet. Without other events, nothing changes for this long.
    Wait(Duration),
    /// Webex asks to wait for this long. The exchange has left the queue.
    Asked(Duration),
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeEnd {
    /// Webex returned tokens.
    Succeeded,
    /// Webex returned no tokens.
    Failed,
    /// Webex asked to wait for this long.
    AskedToWait(Duration),
}

/// Maximum wait of all exchanges after the first request to wait.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Maximum wait after each further request without a success in between. All of them may be about one account.
const LATER_WAIT: Duration = Duration::from_secs(300);

/// Stands for an exchange under way. It must be passed to [`CodeExchanges::end`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangePermit {
    network: ClientNetwork,
    /// Whether the network had failed recently when the exchange began.
    had_failed: bool,
}

/// The state of all exchanges.
#[derive(Debug)]
pub struct CodeExchanges {
    per_second: f64,
    networks: HashMap<ClientNetwork, NetworkState>,
    under_way: usize,
    waiting: usize,
    next_number: u64,
    /// Number of stored networks at which idle ones are removed next.
    sweep_at: usize,
    /// The shared budgets: of networks without failures, and of networks that failed recently.
    kinds: [FailureBudget; 2],
    asked_until: Duration,
    /// Requests to wait since the last success.
    asked: u32,
}

#[derive(Debug)]
struct NetworkState {
    budget: FailureBudget,
    under_way: usize,
    line: VecDeque<u64>,
}

/// The number of failures still allowed. It grows with time up to `burst`.
#[derive(Debug)]
struct FailureBudget {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Duration,
    under_way: u32,
}

impl CodeExchanges {
    /// Starts without exchanges. `refreshes_per_second` is the limit on refreshes, if there is one. The rate of failed
    /// exchanges stays well below it.
    #[must_use]
    pub fn new(refreshes_per_second: Option<f64>) -> Self {
        let per_second = refreshes_per_second
            .map_or(FAILURES_PER_SECOND, |rate| (rate * PART_OF_REFRESHES).min(FAILURES_PER_SECOND));
        let kind = || FailureBudget::new(KIND_BURST, per_second, Duration::ZERO);
        Self {
            per_second,
            networks: HashMap::new(),
            under_way: 0,
            waiting: 0,
            next_number: 0,
            sweep_at: SWEEP_AT,
            kinds: [kind(), kind()],
            asked_until: Duration::ZERO,
            asked: 0,
        }
    }

    /// Adds an exchange to the queue of `network` and returns its number. The caller must pass the number to
    /// [`CodeExchanges::turn`] until the exchange begins, or to [`CodeExchanges::leave`].
    ///
    /// # Errors
    /// [`Hold`] if Webex asks to wait, or if too many exchanges of this network are queued.
    pub fn join(&mut self, network: ClientNetwork, now: Duration) -> Result<u64, Hold> {
        if let Some(wait) = self.asked_to_wait(now) {
            return Err(Hold::Asked(wait));
        }
        if self.networks.len() >= self.sweep_at {
            self.networks.retain(|_, account| !account.is_idle(now));
            self.sweep_at = SWEEP_AT.max(2 * self.networks.len());
        }
        let (free, per_second) = (MOST_WAITING.saturating_sub(self.waiting), self.per_second);
        let new = || NetworkState {
            budget: FailureBudget::new(NETWORK_BURST, per_second, now),
            under_way: 0,
            line: VecDeque::new(),
        };
        let account = self.networks.entry(network).or_insert_with(new);
        if account.line.len() >= free {
            return Err(Hold::Crowded(account.budget.wait(now).max(Duration::from_secs(1))));
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting += 1;
        account.line.push_back(number);
        Ok(number)
    }

    /// Begins the exchange with this number, if it may begin now.
    pub fn turn(&mut self, network: ClientNetwork, number: u64, now: Duration) -> ExchangeTurn {
        if let Some(wait) = self.asked_to_wait(now) {
            self.leave(network, number);
            return ExchangeTurn::Asked(wait);
        }
        let places = AT_ONCE.saturating_sub(self.under_way);
        let Some(account) = self.networks.get_mut(&network) else { return ExchangeTurn::Wait(Duration::MAX) };
        if account.line.front() != Some(&number) || account.under_way >= places {
            return ExchangeTurn::Wait(Duration::MAX);
        }
        let had_failed = !account.budget.is_untouched(now);
        let Some(kind) = self.kinds.get_mut(usize::from(had_failed)) else {
            return ExchangeTurn::Wait(Duration::MAX);
        };
        let wait = account.budget.wait(now).max(kind.wait(now));
        if !wait.is_zero() {
            return ExchangeTurn::Wait(wait);
        }
        account.line.pop_front();
        account.under_way += 1;
        account.budget.under_way += 1;
        kind.under_way += 1;
        self.waiting -= 1;
        self.under_way += 1;
        ExchangeTurn::Begin(ExchangePermit { network, had_failed })
    }

    /// Removes the exchange with this number from the queue.
    pub fn leave(&mut self, network: ClientNetwork, number: u64) {
        let Some(account) = self.networks.get_mut(&network) else { return };
        let before = account.line.len();
        account.line.retain(|other| *other != number);
        self.waiting -= before - account.line.len();
    }

    /// Records the end of an exchange.
    pub fn end(&mut self, permit: ExchangePermit, end: ExchangeEnd, now: Duration) {
        let failed = end != ExchangeEnd::Succeeded;
        self.under_way = self.under_way.saturating_sub(1);
        if let Some(account) = self.networks.get_mut(&permit.network) {
            account.under_way = account.under_way.saturating_sub(1);
            account.budget.end(failed, now);
        }
        if let Some(kind) = self.kinds.get_mut(usize::from(permit.had_failed)) {
            kind.end(failed, now);
        }
        match end {
            ExchangeEnd::Succeeded => self.asked = 0,
            ExchangeEnd::AskedToWait(wait) => {
                // All such responses may be about one account, so the wait is bounded.
                let most = if self.asked == 0 { FIRST_WAIT } else { LATER_WAIT };
                self.asked = self.asked.saturating_add(1);
                self.asked_until = self.asked_until.max(now + bounded(wait).min(most));
            }
            ExchangeEnd::Failed => {}
        }
    }

    /// The first exchange of each queue. Only these can begin after a change.
    pub fn first_in_line(&self) -> impl Iterator<Item = u64> + '_ {
        let lines = (self.waiting > 0).then(|| self.networks.values());
        lines.into_iter().flatten().filter_map(|account| account.line.front().copied())
    }

    fn asked_to_wait(&self, now: Duration) -> Option<Duration> {
        Some(self.asked_until.saturating_sub(now)).filter(|wait| !wait.is_zero())
    }
}

impl NetworkState {
    fn is_idle(&mut self, now: Duration) -> bool {
        self.under_way == 0 && self.line.is_empty() && self.budget.is_untouched(now)
    }
}

impl FailureBudget {
    fn new(burst: f64, per_second: f64, now: Duration) -> Self {
        Self { burst, per_second, left: burst, at: now, under_way: 0 }
    }

    fn refill(&mut self, now: Duration) {
        let grown = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + grown).min(self.burst);
        self.at = self.at.max(now);
    }

    fn is_untouched(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left >= self.burst
    }

    /// How long until one more exchange may begin, assuming that all exchanges under way fail. Zero: now.
    fn wait(&mut self, now: Duration) -> Duration {
        if self.is_untouched(now) {
            return Duration::ZERO;
        }
        let short = (1.0 + f64::from(self.under_way) - self.left).min(self.burst - self.left);
        if short <= 0.0 {
            return Duration::ZERO;
        }
        // Round up, so that the budget suffices after the wait.
        Duration::try_from_secs_f64(short / self.per_second + 0.001).unwrap_or(Duration::MAX)
    }

    /// Records the end of an exchange. The budget never becomes negative: exchanges that began while it was full may all
    /// fail.
    fn end(&mut self, failed: bool, now: Duration) {
        self.refill(now);
        self.under_way = self.under_way.saturating_sub(1);
        if failed {
            self.left = (self.left - 1.0).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests;
