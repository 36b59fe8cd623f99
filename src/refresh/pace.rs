//! How many refreshes run at once, and how many start in a second: Webex publishes no limit for its token endpoint,
//! so we keep one of our own.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep_until;

/// The operator's two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// `EVENT_LOOP_CONCURRENCY`: the loop's calls in flight at once; at least 1.
    pub at_once: usize,
    /// `EVENT_LOOP_MAX_PER_SECOND`: refreshes started per second; 0 is no cap.
    pub per_second: f64,
}

/// Hands out starting times, evenly spaced: a burst would be what the cap is there to prevent.
#[derive(Debug)]
pub(super) struct Starts {
    spacing: Duration,
    next: Mutex<Option<Instant>>,
}

/// Nothing is claimed while starts are given out further ahead than this, or leases would run out meanwhile.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Pace {
    /// How many may be claimed, called or kept at once: some more than calls, so that each place is taken again as soon
    /// as it is free. Few more: who is claimed waits for a place, and so does a reader of theirs.
    pub(super) fn under_way(&self) -> usize {
        self.at_once.saturating_add(self.at_once.div_ceil(4))
    }

    /// Nothing is claimed for fewer: each claim waits for the disk. So few that a free place finds somebody claimed, as
    /// long as the store keeps up.
    pub(super) fn lump(&self) -> usize {
        (self.under_way() - self.at_once).div_ceil(2).max(1)
    }

    /// How many may be claimed in one go.
    pub(super) fn handful(&self) -> usize {
        if self.per_second <= 0.0 {
            return self.at_once;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates; never negative"
        )]
        let soon = (self.per_second * LONGEST_WAIT.as_secs_f64()) as usize;
        soon.clamp(1, self.at_once.max(1))
    }

    pub(super) fn starts(&self) -> Starts {
        let spacing = if self.per_second > 0.0 {
            Duration::from_secs_f64(1.0 / self.per_second)
        } else {
            Duration::ZERO
        };
        Starts { spacing, next: Mutex::new(None) }
    }
}

impl Starts {
    /// How far ahead starts are given out already.
    pub(super) fn ahead(&self) -> Duration {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.map(|next| next.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Returns when one more refresh may start.
    pub(super) async fn mine(&self) {
        if self.spacing.is_zero() {
            return;
        }
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(at + self.spacing);
            at
        };
        sleep_until(at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_are_spaced_evenly_without_a_burst() {
        let starts = Pace { at_once: 64, per_second: 20.0 }.starts();
        let begin = Instant::now();
        for n in 0..100 {
            starts.mine().await;
            let earliest = Duration::from_millis(50) * n;
            assert!(begin.elapsed() >= earliest, "start {n} after {:?}", begin.elapsed());
        }
        assert!(begin.elapsed() < Duration::from_millis(5100));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_is_not_saved_up_for_a_burst() {
        let starts = Pace { at_once: 64, per_second: 10.0 }.starts();
        starts.mine().await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begin = Instant::now();
        for _ in 0..11 {
            starts.mine().await;
        }
        assert!(begin.elapsed() >= Duration::from_secs(1));
    }

    #[test]
    fn there_is_always_somebody_claimed_for_the_next_place() {
        for at_once in [1, 2, 3, 16, 63, 64, 1000, usize::MAX] {
            let pace = Pace { at_once, per_second: 0.0 };
            let least = pace.under_way().saturating_sub(pace.lump()).saturating_add(1);
            assert!(pace.lump() >= 1 && (least > at_once || at_once == usize::MAX), "{at_once}");
        }
        assert_eq!(Pace { at_once: 64, per_second: 0.0 }.lump(), 8);
    }

    #[test]
    fn a_slow_pace_claims_few_and_no_pace_as_many_as_may_run() {
        assert_eq!(Pace { at_once: 16, per_second: 0.1 }.handful(), 1);
        assert_eq!(Pace { at_once: 16, per_second: 2.0 }.handful(), 10);
        assert_eq!(Pace { at_once: 16, per_second: 20.0 }.handful(), 16);
        assert_eq!(Pace { at_once: 64, per_second: 0.0 }.handful(), 64);
    }
}
