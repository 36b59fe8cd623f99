//! Limits how many refreshes run at once and how many start per second. Webex publishes no limit for its token endpoint, so
//! the operator sets one.

use std::time::Duration;

/// The two limits that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimits {
    /// `EVENT_LOOP_CONCURRENCY`: calls of the event loop in flight at once; at least 1. Requested refreshes
    /// and bulk commands may have as many each.
    pub concurrency: usize,
    /// `EVENT_LOOP_MAX_PER_SECOND`: refreshes started per second; 0 means no limit.
    pub per_second: f64,
}

/// No grant is claimed while the starts of claimed grants take longer than this at the current pace.
/// Otherwise leases could end during the wait. [`NOT_URGENT_AHEAD`] bounds the wait of those that keep to the
/// configured rate at a higher pace.
pub(super) const MAX_START_WAIT: Duration = Duration::from_secs(5);

/// At a higher pace, grants that are not urgent are claimed this long before they start at the configured rate. While readers and
/// a bulk command take turns with them, it is five times as long, which a lease allows.
const NOT_URGENT_AHEAD: Duration = Duration::from_secs(20);

/// The most calls in flight at any pace, as for `EVENT_LOOP_CONCURRENCY`.
const MAX_CONCURRENCY: usize = 1024;

/// The time between two starts at this rate; zero without a rate.
pub(super) fn spacing(per_second: f64) -> Duration {
    if per_second <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX)
}

impl RateLimits {
    /// The limits while refreshes start this often. Webex takes as long for each of them, so more calls are in flight.
    pub(super) fn at_pace(self, per_second: f64) -> Self {
        if self.per_second <= 0.0 || per_second <= self.per_second {
            return self;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "far below 2^52; never negative"
        )]
        let grown = (self.concurrency as f64 * per_second / self.per_second).ceil() as usize;
        let concurrency = grown.min(MAX_CONCURRENCY).max(self.concurrency);
        Self { concurrency, per_second }
    }

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
        self.started_within(MAX_START_WAIT).min(self.concurrency.max(1))
    }

    /// How many grants that are not urgent may be claimed at once at a higher pace. Up to the configured
    /// concurrency they hold a call permit while they wait for a start; the others wait without one, so they
    /// delay no urgent refresh.
    pub(super) fn max_not_urgent(&self) -> usize {
        self.started_within(NOT_URGENT_AHEAD).min(MAX_CONCURRENCY)
    }

    fn started_within(&self, span: Duration) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; never negative"
        )]
        let starts = (self.per_second * span.as_secs_f64()) as usize;
        starts.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
