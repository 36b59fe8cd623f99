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
