//! How many authorization codes may be exchanged, and when.
//!
//! Each exchange is a call at Webex's token endpoint with the client secret, and every client can make up a code. So
//! exchanges that fail are limited, and exchanges that succeed are not:
//!
//! 1. *Places.* At most [`AT_ONCE`] exchanges are under way. One network may have as many of them as there are places
//!    left: alone it takes half of them, and the last place is for a network that has none.
//! 2. *Budgets.* Each failure costs one of its network's budget, and one of the budget of all networks of its kind:
//!    those that failed lately share one, the others have another. So a network without failures never waits for one
//!    with failures. While nothing was taken from a budget it limits nothing; after that each exchange under way counts
//!    as a failure until it has succeeded.
//! 3. *A line for each network.* What may not begin waits, first come, first served. Behind a proxy all clients are
//!    one network, and every client gets its turn.
//! 4. *Webex's wish.* While Webex asks to wait, nothing is sent: for a minute at most after the first such answer, for
//!    five minutes at most after each further one.
//!
//! `now` is the time since a fixed moment, by a clock that never goes back.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::schedule::RETRY_AFTER_CAP;

/// Exchanges under way at once.
pub const AT_ONCE: usize = 128;

/// Exchanges that wait. One network may have as many of them as there are free ones left.
const MOST_WAITING: usize = 512;

/// Failures that a network, and each kind of network, may have at once.
const NETWORK_BURST: f64 = 10.0;
const KIND_BURST: f64 = 64.0;

/// Failures a second after a burst: for one network, and for each of the two kinds together.
pub const FAILURES_PER_SECOND: f64 = 3.0;

/// The same as a part of the rate of refreshes, where that is slow.
const PART_OF_REFRESHES: f64 = 0.15;

/// For how long nothing is sent where Webex asks to wait and does not say how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(30);

/// A wait that Webex asks for, as it is obeyed.
#[must_use]
pub fn bounded(wait: Duration) -> Duration {
    wait.clamp(Duration::from_secs(1), RETRY_AFTER_CAP)
}

/// For how long an answer of this status asks to be left alone: 429 says so, with a time or without; all others only
/// where they have a time (`retry_after`).
#[must_use]
pub fn asked_wait(status: u16, retry_after: Option<Duration>) -> Option<Duration> {
    retry_after.or_else(|| (status == 429).then_some(UNTOLD_WAIT)).map(bounded)
}

/// Networks remembered before those without anything to remember are dropped.
const SWEEP_AT: usize = 256;

/// Where a client is: an IPv4 address, or an IPv6 network. `None`: on this machine, beside the port.
pub type ClientNetwork = Option<IpAddr>;

/// Why an exchange does not begin, and when it is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Webex asks to wait.
    Asked(Duration),
    /// Too many exchanges wait, or have failed.
    Crowded(Duration),
}

/// What comes next for an exchange that waits in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeTurn {
    /// It is under way from now on.
    Begin(ExchangePermit),
    /// Not yet; by itself nothing changes before this.
    Wait(Duration),
    /// Webex asks to wait. The exchange has left the line.
    Asked(Duration),
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeEnd {
    /// Webex gave tokens.
    Succeeded,
    /// It gave none.
    Failed,
    /// Webex asks to wait for so long.
    AskedToWait(Duration),
}

/// A first request to wait holds up no other exchange for longer.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Nor do later ones without an exchange between: one account may be asked to wait again and again.
const LATER_WAIT: Duration = Duration::from_secs(300);

/// An exchange under way. Must be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangePermit {
    network: ClientNetwork,
    /// Whether its network had failed lately when it began.
    had_failed: bool,
}

/// The state of all exchanges.
#[derive(Debug)]
pub struct Exchanges {
    per_second: f64,
    networks: HashMap<ClientNetwork, NetworkState>,
    under_way: usize,
    waiting: usize,
    next_number: u64,
    /// As many networks are remembered before the next sweep.
    sweep_at: usize,
    /// Of networks without failures, and of those that failed lately.
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

/// Failures that may still happen; grows with time.
#[derive(Debug)]
struct FailureBudget {
    burst: f64,
    per_second: f64,
    left: f64,
    at: Duration,
    under_way: u32,
}

impl Exchanges {
    /// Nothing under way. `refreshes_per_second` is the rate of refreshes, if there is a limit: failed exchanges stay
    /// well below it.
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

    /// Takes a place in the line of `network`; the number must come to its [`Exchanges::turn`], or leave.
    ///
    /// # Errors
    /// [`Hold`] if Webex asks to wait, or too many wait already.
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

    /// Whether the exchange of this number may begin.
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

    /// The exchange of this number does not wait any longer.
    pub fn leave(&mut self, network: ClientNetwork, number: u64) {
        let Some(account) = self.networks.get_mut(&network) else { return };
        let before = account.line.len();
        account.line.retain(|other| *other != number);
        self.waiting -= before - account.line.len();
    }

    /// An exchange has ended.
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
                // The answers may be about one account only.
                let most = if self.asked == 0 { FIRST_WAIT } else { LATER_WAIT };
                self.asked = self.asked.saturating_add(1);
                self.asked_until = self.asked_until.max(now + bounded(wait).min(most));
            }
            ExchangeEnd::Failed => {}
        }
    }

    /// The first in each line: those that a change may concern.
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

    /// How long until one more may begin, if those under way all fail; zero: at once.
    fn wait(&mut self, now: Duration) -> Duration {
        if self.is_untouched(now) {
            return Duration::ZERO;
        }
        let short = (1.0 + f64::from(self.under_way) - self.left).min(self.burst - self.left);
        if short <= 0.0 {
            return Duration::ZERO;
        }
        // A little more, so that the wait is over when it has passed.
        Duration::try_from_secs_f64(short / self.per_second + 0.001).unwrap_or(Duration::MAX)
    }

    /// Those that were under way beside it when the budget was untouched may fail, too: there are no debts.
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
