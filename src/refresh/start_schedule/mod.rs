//! The starts of refreshes: at even intervals, so that there are no bursts, taking turns between due, requested and bulk
//! refreshes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep_until;

use crate::refresh::rate_limit::RateLimits;
use crate::refresh::rate_limit::spacing;

/// Schedules the starts of refreshes.
///
/// If refreshes of several reasons wait, three requested ones start for each due one and each one of a bulk command. So a long
/// pass or command hardly delays a reader who waits, and a flood of requests leaves a quarter of the rate to due refreshes, whose
/// tokens may be about to expire; a fifth while a bulk command runs.
///
/// All refreshes start at the current pace. While that is above the configured rate, those that are not
/// urgent keep to the configured rate. When the pace returns to the configured rate, those that have begun to
/// wait for it start before others that are not urgent, so that two lanes do not start refreshes at that
/// rate.
#[derive(Debug)]
pub(super) struct StartSchedule {
    /// Time between two starts at the configured rate; zero: no limit.
    configured_spacing: Duration,
    /// Time between two starts at the current pace, in nanoseconds.
    current: AtomicU64,
    /// For refreshes that are not urgent.
    not_urgent: StartLane,
    all: StartLane,
    /// Counts the requested refreshes that have not started, also those that wait for a call permit: each
    /// holds a clone.
    expected: Arc<()>,
}

/// A requested refresh that waits for its start. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct ExpectedStart(#[expect(dead_code, reason = "counted")] Arc<()>);

/// How many requested refreshes start for each due one, if both wait.
const REQUESTED_SHARE: u32 = 3;

/// Why a refresh starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartReason {
    /// The event loop claimed a due grant.
    Due,
    /// A reader or an operator asked for it.
    Requested,
    /// It is one of many that an operator asked for by one command.
    Bulk,
}

/// Starts at even intervals, taking turns between due, requested and bulk refreshes.
#[derive(Debug)]
struct StartLane {
    next_start: Mutex<Option<Instant>>,
    due: StartQueue,
    requested: StartQueue,
    bulk: StartQueue,
}

/// Refreshes that wait for a start. The first ones, as many as there are permits, are scheduled already.
#[derive(Debug)]
struct StartQueue {
    turn: Semaphore,
    /// Counts the waiting refreshes: each holds a clone.
    waiting: Arc<()>,
}

impl StartQueue {
    /// A queue that takes this many starts in turn with the other ones.
    fn with_share(share: usize) -> Self {
        Self { turn: Semaphore::new(share), waiting: Arc::default() }
    }

    fn waiting(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.waiting) - 1).unwrap_or(u32::MAX)
    }
}

/// Longest wait that a reader is told because others wait, too.
const MAX_REQUESTED_WAIT: Duration = Duration::from_secs(3600);

/// How late a timer may fire without delaying later starts. Timers count whole milliseconds, and each start waits for the
/// one before it.
const TIMER_LAG: Duration = Duration::from_millis(5);

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl StartLane {
    fn new() -> Self {
        Self {
            next_start: Mutex::new(None),
            due: StartQueue::with_share(1),
            requested: StartQueue::with_share(REQUESTED_SHARE as usize),
            bulk: StartQueue::with_share(1),
        }
    }

    /// The longest time until all due refreshes that wait here have started.
    fn backlog(&self, spacing: Duration) -> Duration {
        let requested = if self.requested.waiting() > 0 { REQUESTED_SHARE } else { 0 };
        let turns = 1 + requested + self.bulk.waiting().min(1);
        spacing.saturating_mul(self.due.waiting().saturating_mul(turns))
    }

    /// Whether the next start is in the future.
    fn has_scheduled_start(&self) -> bool {
        self.next_start.lock().is_some_and(|next| next > Instant::now())
    }

    /// Returns when another refresh may start.
    async fn next(&self, reason: StartReason, spacing: impl Fn() -> Duration) {
        let queue = match reason {
            StartReason::Due => &self.due,
            StartReason::Requested => &self.requested,
            StartReason::Bulk => &self.bulk,
        };
        let _waiting = queue.waiting.clone();
        let asked = Instant::now();
        // The semaphore is never closed.
        let _turn = queue.turn.acquire().await;
        let mut start = {
            let mut next = self.next_start.lock();
            let now = Instant::now();
            // A late timer does not delay later starts. Any longer gap is idle time and is not caught up on; so is the time
            // before this call.
            let earliest = now.checked_sub(TIMER_LAG).unwrap_or(now).max(asked);
            let at = next.map_or(now, |next| next.max(earliest));
            let following = at + spacing();
            *next = Some(following);
            ScheduledStart { lane: self, at, following, is_used: false }
        };
        sleep_until(start.at).await;
        start.is_used = true;
    }
}

/// A start in the future. If its refresh stops waiting for it, the next one gets it.
struct ScheduledStart<'a> {
    lane: &'a StartLane,
    at: Instant,
    /// The start after this one.
    following: Instant,
    is_used: bool,
}

impl Drop for ScheduledStart<'_> {
    fn drop(&mut self) {
        let mut next = self.lane.next_start.lock();
        if !self.is_used && *next == Some(self.following) {
            *next = Some(self.at);
        }
    }
}

impl StartSchedule {
    pub(super) fn new(limits: RateLimits) -> Self {
        let configured_spacing = spacing(limits.per_second);
        Self {
            configured_spacing,
            current: AtomicU64::new(nanoseconds(configured_spacing)),
            not_urgent: StartLane::new(),
            all: StartLane::new(),
            expected: Arc::default(),
        }
    }

    /// Sets the current pace, which is not below the configured rate.
    pub(super) fn set_pace(&self, per_second: f64) {
        let current = spacing(per_second).min(self.configured_spacing);
        self.current.store(nanoseconds(current), Ordering::Relaxed);
    }

    fn current(&self) -> Duration {
        Duration::from_nanos(self.current.load(Ordering::Relaxed))
    }

    /// The longest time until all due refreshes in the lane of the current pace have started. Those that wait
    /// for the configured rate are not counted.
    pub(super) fn backlog(&self) -> Duration {
        self.all.backlog(self.current())
    }

    /// Announces a requested refresh, which is counted until the result is dropped.
    pub(super) fn expect_requested(&self) -> ExpectedStart {
        ExpectedStart(self.expected.clone())
    }

    /// The longest time until all requested refreshes have started, if calls do not take longer than starts; an hour at most.
    pub(super) fn requested_wait(&self) -> Duration {
        let waiting = u32::try_from(Arc::strong_count(&self.expected) - 1).unwrap_or(u32::MAX);
        // Others go on coming, so the few that wait at the moment do not matter, only whether there are any.
        let others = self.all.due.waiting().min(1) + self.all.bulk.waiting().min(1);
        let others = others * waiting.div_ceil(REQUESTED_SHARE);
        self.current().saturating_mul(waiting.saturating_add(others)).min(MAX_REQUESTED_WAIT)
    }

    /// Returns when a refresh that is not urgent may start by the configured rate, after it has waited for [`StartSchedule::next`].
    /// In the other order, several that wait for the current pace could start at once.
    async fn next_not_urgent(&self, reason: StartReason) {
        // At the configured rate, `all` already spaces the starts. Refreshes that began to wait here at a
        // higher pace must start first, or two lanes would start refreshes at that rate.
        if self.current() < self.configured_spacing || self.not_urgent.has_scheduled_start() {
            self.not_urgent.next(reason, || self.configured_spacing).await;
        }
    }

    /// Returns when a refresh may start: by the current pace, or by the configured rate if it is not urgent.
    pub(super) async fn next_at_pace(&self, reason: StartReason, urgent: bool) {
        self.next(reason).await;
        if !urgent {
            self.next_not_urgent(reason).await;
        }
    }

    /// Returns when another refresh may start by the current pace.
    async fn next(&self, reason: StartReason) {
        if !self.configured_spacing.is_zero() {
            self.all.next(reason, || self.current()).await;
        }
    }
}

#[cfg(test)]
mod tests;
