//! Limits how many refreshes run at once and how many start per second. Webex publishes no limit for its token endpoint, so
//! the operator sets one.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::sleep_until;

/// The two limits that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimits {
    /// `EVENT_LOOP_CONCURRENCY`: calls of the event loop in flight at once; at least 1.
    pub concurrency: usize,
    /// `EVENT_LOOP_MAX_PER_SECOND`: refreshes started per second; 0 means no limit.
    pub per_second: f64,
}

/// Schedules the starts of refreshes at even intervals, so that there are no bursts.
///
/// If due and requested refreshes wait, they take turns. So a flood of requests does not delay due refreshes, and a long
/// pass does not delay requests.
#[derive(Debug)]
pub(super) struct StartSchedule {
    spacing: Duration,
    next_start: Mutex<Option<Instant>>,
    due: StartQueue,
    requested: StartQueue,
}

/// Why a refresh starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartReason {
    /// The event loop claimed a due grant.
    Due,
    /// A reader or an operator asked for it.
    Requested,
}

/// Refreshes that wait for a start. The first one is scheduled already.
#[derive(Debug)]
struct StartQueue {
    turn: Semaphore,
    /// Counts the waiting refreshes: each holds a clone.
    waiting: Arc<()>,
}

impl Default for StartQueue {
    fn default() -> Self {
        Self { turn: Semaphore::new(1), waiting: Arc::default() }
    }
}

impl StartQueue {
    fn waiting(&self) -> u32 {
        u32::try_from(Arc::strong_count(&self.waiting) - 1).unwrap_or(u32::MAX)
    }
}

/// No grant is claimed while the starts of claimed grants take longer than this. Otherwise leases could end during the wait.
pub(super) const MAX_START_WAIT: Duration = Duration::from_secs(5);

/// How late a timer may fire without delaying later starts. Timers count whole milliseconds, and each start waits for the
/// one before it.
const TIMER_LAG: Duration = Duration::from_millis(5);

impl RateLimits {
    /// How many grants may be claimed at once. That is somewhat more than the calls at once, so that a claimed grant waits
    /// whenever a call ends. It is not much more, because a claimed grant waits for its call, and so do its readers.
    pub(super) fn max_claimed(&self) -> usize {
        self.concurrency.saturating_add(self.concurrency.div_ceil(4))
    }

    /// Smallest batch worth claiming, because each claim is a durable write. It is small enough that a claimed grant is
    /// waiting whenever a call ends, as long as the store is fast enough.
    pub(super) fn min_batch(&self) -> usize {
        (self.max_claimed() - self.concurrency).div_ceil(2).max(1)
    }

    /// Largest batch of one claim.
    pub(super) fn max_batch(&self) -> usize {
        if self.per_second <= 0.0 {
            return self.concurrency;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; never negative"
        )]
        let soon = (self.per_second * MAX_START_WAIT.as_secs_f64()) as usize;
        soon.clamp(1, self.concurrency.max(1))
    }

    pub(super) fn start_schedule(&self) -> StartSchedule {
        let spacing = if self.per_second > 0.0 {
            Duration::from_secs_f64(1.0 / self.per_second)
        } else {
            Duration::ZERO
        };
        StartSchedule {
            spacing,
            next_start: Mutex::new(None),
            due: StartQueue::default(),
            requested: StartQueue::default(),
        }
    }
}

impl StartSchedule {
    /// The longest time until all grants that the event loop has claimed have started.
    pub(super) fn backlog(&self) -> Duration {
        let turns = if self.requested.waiting() > 0 { 2 } else { 1 };
        self.spacing.saturating_mul(self.due.waiting().saturating_mul(turns))
    }

    /// Returns when another refresh may start.
    pub(super) async fn next(&self, reason: StartReason) {
        if self.spacing.is_zero() {
            return;
        }
        let queue = match reason {
            StartReason::Due => &self.due,
            StartReason::Requested => &self.requested,
        };
        let _waiting = queue.waiting.clone();
        let asked = Instant::now();
        // The semaphore is never closed.
        let _turn = queue.turn.acquire().await;
        let at = {
            let mut next = self.next_start.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // A late timer does not delay later starts. Any longer gap is idle time and is not caught up on; so is the time
            // before this call.
            let earliest = now.checked_sub(TIMER_LAG).unwrap_or(now).max(asked);
            let at = next.map_or(now, |next| next.max(earliest));
            *next = Some(at + self.spacing);
            at
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_are_spaced_evenly_without_a_burst() {
        let starts = RateLimits { concurrency: 64, per_second: 20.0 }.start_schedule();
        let begin = Instant::now();
        for n in 0..100 {
            starts.next(StartReason::Due).await;
            let earliest = Duration::from_millis(50) * n;
            assert!(begin.elapsed() >= earliest, "start {n} after {:?}", begin.elapsed());
        }
        assert!(begin.elapsed() < Duration::from_millis(5100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_finer_than_the_timer_is_kept() {
        let starts = Arc::new(RateLimits { concurrency: 64, per_second: 4000.0 }.start_schedule());
        let begin = Instant::now();
        let mut waiting = wait_in_line(&starts, StartReason::Due, 4000).await;
        while waiting.join_next().await.is_some() {}
        assert!(begin.elapsed() <= Duration::from_millis(1100), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up_for_a_burst() {
        let starts = RateLimits { concurrency: 64, per_second: 10.0 }.start_schedule();
        starts.next(StartReason::Due).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begin = Instant::now();
        for _ in 0..11 {
            starts.next(StartReason::Due).await;
        }
        assert!(begin.elapsed() >= Duration::from_secs(1));
    }

    /// Lets `many` refreshes wait for a start.
    async fn wait_in_line(starts: &Arc<StartSchedule>, reason: StartReason, many: usize) -> JoinSet<()> {
        let mut waiting = JoinSet::new();
        for _ in 0..many {
            let starts = starts.clone();
            waiting.spawn(async move { starts.next(reason).await });
        }
        tokio::task::yield_now().await;
        waiting
    }

    /// How long five starts take while a hundred refreshes of the other reason wait.
    async fn five_starts(few: StartReason, many: StartReason) -> Duration {
        let starts = Arc::new(RateLimits { concurrency: 16, per_second: 1.0 }.start_schedule());
        let _waiting = wait_in_line(&starts, many, 100).await;
        let begin = Instant::now();
        for _ in 0..5 {
            starts.next(few).await;
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn due_and_requested_refreshes_take_turns() {
        let most = Duration::from_secs(10);
        assert!(five_starts(StartReason::Due, StartReason::Requested).await <= most);
        assert!(five_starts(StartReason::Requested, StartReason::Due).await <= most);
    }

    #[tokio::test(start_paused = true)]
    async fn only_claimed_refreshes_count_as_ahead_and_those_that_are_dropped_do_not() {
        let starts = Arc::new(RateLimits { concurrency: 16, per_second: 1.0 }.start_schedule());
        let requested = wait_in_line(&starts, StartReason::Requested, 50).await;
        assert_eq!(starts.backlog(), Duration::ZERO);
        let due = wait_in_line(&starts, StartReason::Due, 4).await;
        assert_eq!(starts.backlog(), Duration::from_secs(8), "requested refreshes take every other start");
        drop((requested, due));
        tokio::task::yield_now().await;
        assert_eq!(starts.backlog(), Duration::ZERO);
    }

    #[test]
    fn claimed_grants_always_exceed_concurrency() {
        for at_once in [1, 2, 3, 16, 63, 64, 1000, usize::MAX] {
            let pace = RateLimits { concurrency: at_once, per_second: 0.0 };
            let least = pace.max_claimed().saturating_sub(pace.min_batch()).saturating_add(1);
            assert!(pace.min_batch() >= 1 && (least > at_once || at_once == usize::MAX), "{at_once}");
        }
        assert_eq!(RateLimits { concurrency: 64, per_second: 0.0 }.min_batch(), 8);
    }

    #[test]
    fn a_slow_pace_claims_few_and_no_pace_as_many_as_may_run() {
        assert_eq!(RateLimits { concurrency: 16, per_second: 0.1 }.max_batch(), 1);
        assert_eq!(RateLimits { concurrency: 16, per_second: 2.0 }.max_batch(), 10);
        assert_eq!(RateLimits { concurrency: 16, per_second: 20.0 }.max_batch(), 16);
        assert_eq!(RateLimits { concurrency: 64, per_second: 0.0 }.max_batch(), 64);
    }
}
