//! The wall clock beside the timer, which nobody can set: what is between them is what somebody set the clock by.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::UnixTime;

/// They must differ by this much before the clock counts as set; less is a clock being tended.
const CLOCK_SET: i64 = 60_000;

/// Both, as they were when they were last compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: UnixTime,
    timer: Instant,
}

/// What somebody did to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shift {
    Back(Duration),
    Ahead(Duration),
}

impl Clocks {
    /// The wall clock reads `now`.
    pub(super) fn at(now: UnixTime) -> Self {
        Self { wall: now, timer: Instant::now() }
    }

    /// By how much the clock was set since this was last asked, if it was.
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

    /// What is seen after ten minutes by the timer and so many milliseconds more or less by the clock.
    async fn seen(set_by: i64) -> Option<Shift> {
        let mut clocks = Clocks::at(NOW);
        advance(SPAN).await;
        let now = UnixTime((NOW + SPAN).0 + set_by);
        let seen = clocks.shift(now);
        assert_eq!(clocks.shift(now), None, "it is told once");
        advance(SPAN).await;
        assert_eq!(clocks.shift(now + SPAN), None, "from there on the clock goes right");
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
