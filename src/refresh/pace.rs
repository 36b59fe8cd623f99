//! The current pace of refreshes, and the places for their calls that go with it. The rules are in [`crate::domain::catch_up`].

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::AcquireError;
use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::domain::catch_up::CatchUp;
use crate::domain::catch_up::PaceEvidence;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Verdict;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::start_schedule::StartSchedule;

/// The pace of the refreshes of one integration.
#[derive(Debug)]
pub(super) struct RefreshPace {
    began: Instant,
    catch_up: Mutex<CatchUp>,
    calls: CallPlaces,
}

/// Permits for calls of the event loop, whose number changes with the pace.
#[derive(Debug)]
struct CallPlaces {
    permits: Semaphore,
    number: Mutex<usize>,
}

impl CallPlaces {
    /// Permits in use are taken away when they are free.
    fn resize(&self, places: usize) {
        let mut number = self.number.lock();
        if places > *number {
            self.permits.add_permits(places - *number);
            *number = places;
        } else {
            *number -= self.permits.forget_permits(*number - places);
        }
    }
}

impl RefreshPace {
    pub(super) fn new(limits: RateLimits, max_per_second: f64) -> Self {
        let calls = CallPlaces {
            permits: Semaphore::new(limits.concurrency),
            number: Mutex::new(limits.concurrency),
        };
        let catch_up = Mutex::new(CatchUp::new(limits.per_second, max_per_second));
        Self { began: Instant::now(), catch_up, calls }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A permit for a call of the event loop.
    pub(super) async fn call_place(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.calls.permits.acquire().await
    }

    /// The limits at the current pace, which then applies to these starts, and to calls.
    pub(super) fn apply(&self, configured: RateLimits, starts: &StartSchedule) -> RateLimits {
        let per_second = self.catch_up.lock().pace(self.now());
        let limits = configured.at_pace(per_second);
        starts.set_pace(limits.per_second);
        self.calls.resize(limits.concurrency);
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
    use super::*;

    #[tokio::test]
    async fn places_in_use_are_taken_away_when_they_are_free() {
        let calls = CallPlaces { permits: Semaphore::new(2), number: Mutex::new(2) };
        calls.resize(5);
        let held: Vec<SemaphorePermit<'_>> = (0..5).map(|_| calls.permits.try_acquire().unwrap()).collect();
        calls.resize(2);
        assert_eq!(*calls.number.lock(), 5);
        drop(held);
        calls.resize(2);
        assert_eq!((*calls.number.lock(), calls.permits.available_permits()), (2, 2));
    }
}
