//! The state of rescheduling that the refresh service owns.

use std::time::Duration;

use crate::domain::time::UnixTime;

/// What a start of the daemon requests of the stored schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartOptions {
    pub(super) at: UnixTime,
    /// Whether every grant becomes due, whatever its age.
    pub(super) refresh_all: bool,
}

/// By how much the clock was set back since the start of the daemon, in total.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockCorrection {
    pub(super) seen: Duration,
    /// By how much the stored grants have been corrected. Claimed grants are corrected when they are committed.
    pub(super) corrected: Duration,
}
