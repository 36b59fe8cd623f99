//! Detects changes of the system clock by comparing it with the monotonic clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::UnixTime;

/// The clocks must differ by this much (in milliseconds) before the system clock counts as set. Less is usual, because NTP
/// corrects the clock in small steps.
const CLOCK_SET: i64 = 60_000;

/// The readings of both clocks at the last comparison.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: UnixTime,
    timer: Instant,
}

/// A change of the system clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Back(Duration),
    Ahead(Duration),
}

impl Clocks {
    /// Starts the comparison while the system clock reads `now`.
    pub(super) fn at(now: UnixTime) -> Self {
        Self { wall: now, timer: Instant::now() }
    }

    /// The change of the system clock since the last call, if there was one.
    pub(super) fn shift(&mut self, now: UnixTime) -> Option<Shift> {
        let before = std::mem::replace(self, Self::at(now));
        let passed = i64::try_from((self.timer - before.timer).as_millis()).unwrap_or(i64::MAX);
        let shift = now.0.saturating_sub(before.wall.0).saturating_sub(passed);
        let span = Duration::from_millis(shift.unsigned_abs());
        if shift < -CLOCK_SET {
            Some(Shift::Back(span))
        } else {
            (shift > CLOCK_SET).then_some(Shift::Ahead(span))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);
    const SPAN: Duration = Duration::from_secs(600);

    /// The change detected after ten minutes, during which the system clock was set by `set_by` milliseconds.
    async fn seen(set_by: i64) -> Option<Shift> {
        let mut clocks = Clocks::at(NOW);
        advance(SPAN).await;
        let now = UnixTime((NOW + SPAN).0 + set_by);
        let seen = clocks.shift(now);
        assert_eq!(clocks.shift(now), None, "a change is reported once");
        advance(SPAN).await;
        assert_eq!(clocks.shift(now + SPAN), None, "afterwards the clocks agree");
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_set_when_it_differs_from_the_timer_by_more_than_a_minute() {
        for tended in [0, 1, -1, 59_000, -59_000, 60_000, -60_000] {
            assert_eq!(seen(tended).await, None, "{tended}");
        }
        for set in [60_001, 61_000, 90 * 86_400_000] {
            let span = Duration::from_millis(set);
            let set = i64::try_from(set).unwrap();
            assert_eq!(seen(-set).await, Some(Shift::Back(span)));
            assert_eq!(seen(set).await, Some(Shift::Ahead(span)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_clock_however_wrong_breaks_the_comparison() {
        let mut clocks = Clocks::at(UnixTime(i64::MIN));
        assert!(matches!(clocks.shift(UnixTime::NEVER), Some(Shift::Ahead(_))));
        assert!(matches!(clocks.shift(UnixTime(i64::MIN)), Some(Shift::Back(_))));
    }
}
