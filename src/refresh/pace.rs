//! The current pace of refreshes, and the call permits that go with it. The rules are in
//! [`crate::domain::catch_up`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::AcquireError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::domain::catch_up::CatchUp;
use crate::domain::catch_up::PaceEvidence;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Verdict;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::start_schedule::StartReason;
use crate::refresh::start_schedule::StartSchedule;

/// The pace of the refreshes of one integration.
#[derive(Debug)]
pub(super) struct RefreshPace {
    began: Instant,
    catch_up: Mutex<CatchUp>,
    due: CallPermits,
    requested: CallPermits,
    bulk: CallPermits,
}

/// Call permits, whose number changes with the pace.
///
/// Refreshes that are not urgent get the configured number at most. The permits that a higher pace adds are
/// for urgent ones: the others hold their permits while they wait for a start at the configured rate.
#[derive(Debug)]
struct CallPermits {
    configured: usize,
    permits: Arc<Semaphore>,
    number: Mutex<usize>,
    not_urgent: Arc<Semaphore>,
}

/// A permit for one call. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct CallPermit {
    _permit: OwnedSemaphorePermit,
    _not_urgent: Option<OwnedSemaphorePermit>,
}

impl CallPermits {
    fn new(count: usize) -> Self {
        let semaphore = || Arc::new(Semaphore::new(count));
        Self { configured: count, permits: semaphore(), number: Mutex::new(count), not_urgent: semaphore() }
    }

    async fn acquire(&self, urgent: bool) -> Result<CallPermit, AcquireError> {
        // At the configured rate all take their turns in one queue.
        let grown = *self.number.lock() > self.configured;
        let not_urgent =
            if grown && !urgent { Some(self.not_urgent.clone().acquire_owned().await?) } else { None };
        Ok(CallPermit { _permit: self.permits.clone().acquire_owned().await?, _not_urgent: not_urgent })
    }

    /// Permits in use are taken away when they are free.
    fn resize(&self, count: usize) {
        let mut number = self.number.lock();
        if count > *number {
            self.permits.add_permits(count - *number);
            *number = count;
        } else {
            *number -= self.permits.forget_permits(*number - count);
        }
    }
}

impl RefreshPace {
    pub(super) fn new(limits: RateLimits, max_per_second: f64) -> Self {
        let permits = || CallPermits::new(limits.concurrency);
        let catch_up = Mutex::new(CatchUp::new(limits.per_second, max_per_second));
        Self { began: Instant::now(), catch_up, due: permits(), requested: permits(), bulk: permits() }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A permit for a call; each reason has as many as the others. `urgent` as [`is_urgent`] says.
    pub(super) async fn call_permit(
        &self,
        reason: StartReason,
        urgent: bool,
    ) -> Result<CallPermit, AcquireError> {
        let permits = match reason {
            StartReason::Due => &self.due,
            StartReason::Requested => &self.requested,
            StartReason::Bulk => &self.bulk,
        };
        permits.acquire(urgent).await
    }

    /// The limits at the current pace, which then applies to these starts, and to calls.
    pub(super) fn apply(&self, configured: RateLimits, starts: &StartSchedule) -> RateLimits {
        let per_second = self.catch_up.lock().pace(self.now());
        let limits = configured.at_pace(per_second);
        starts.set_pace(limits.per_second);
        for permits in [&self.due, &self.requested, &self.bulk] {
            permits.resize(limits.concurrency);
        }
        limits
    }

    /// Takes what an answer says about the pace; `urgent` as [`is_urgent`] says.
    pub(super) fn answered(&self, evidence: PaceEvidence, urgent: bool) {
        self.catch_up.lock().answered(evidence, urgent, self.now());
    }

    /// Refreshes pause.
    pub(super) fn return_to_configured(&self) {
        self.catch_up.lock().return_to_base(self.now());
    }

    /// Maximum refreshes per second, if the pace may grow.
    pub(super) fn max_per_second(&self) -> Option<f64> {
        let catch_up = self.catch_up.lock();
        catch_up.is_on().then(|| catch_up.max_per_second())
    }
}

/// Whether the token is dead or within its survival margin, and not only refreshed for its age. A grant that has ended is not
/// urgent: only a consent helps.
pub(super) fn is_urgent(grant: &Grant, now: UnixTime) -> bool {
    grant.status == GrantStatus::Active && Policy::is_at_risk(&grant.dates(), now)
}

/// What an answer of Webex says about the pace. A 429 counts whether it is one person's or not: it halves the
/// pace, never below the configured rate, and limits it for ten minutes.
pub(super) fn evidence(verdict: &Verdict, wait: Option<Duration>, took: Duration) -> PaceEvidence {
    match verdict {
        Verdict::Renewed(_) | Verdict::Unchanged(_) => PaceEvidence::Clean(took),
        Verdict::Busy(_) => PaceEvidence::Limited(wait),
        Verdict::Transient(_) => PaceEvidence::Failed,
        _ => PaceEvidence::Personal,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// A permit, if one is free.
    async fn take(permits: &CallPermits, urgent: bool) -> Option<CallPermit> {
        timeout(Duration::from_secs(1), permits.acquire(urgent)).await.ok()?.ok()
    }

    async fn take_all(permits: &CallPermits, urgent: bool) -> Vec<CallPermit> {
        let mut taken = Vec::new();
        while let Some(permit) = take(permits, urgent).await {
            taken.push(permit);
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn permits_in_use_are_taken_away_when_they_are_free() {
        let calls = CallPermits::new(2);
        calls.resize(5);
        let held = take_all(&calls, true).await;
        calls.resize(2);
        assert_eq!((*calls.number.lock(), held.len()), (5, 5));
        drop(held);
        calls.resize(2);
        assert_eq!((*calls.number.lock(), calls.permits.available_permits()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_permits_that_a_higher_pace_adds_are_for_urgent_refreshes() {
        let calls = CallPermits::new(2);
        calls.resize(5);
        let not_urgent = take_all(&calls, false).await;
        let urgent = take_all(&calls, true).await;
        assert_eq!((not_urgent.len(), urgent.len()), (2, 3));
        drop((not_urgent, urgent));
        assert_eq!(take_all(&calls, true).await.len(), 5, "all of them, if no others wait");
    }
}
