//! A breaker whose clock was set back.

use std::time::Duration;

use crate::domain::breaker::Breaker;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;

/// The event loop sees a clock that was set within this: what began so lately may have been written by the clock as it
/// is now.
const NOTICED: Duration = Duration::from_secs(120);

impl Breaker {
    /// Nothing that was written by a clock that has been set back since holds a refresh longer than it could if it began
    /// now. An acceptance from the future would blame every grant for what is the client's fault.
    pub(super) fn look_at_the_clock(&mut self, now: UnixTime) {
        self.accepted.take_if(|(at, _)| *at > now);
        self.mass_refusal_since = self.mass_refusal_since.map(|since| since.min(now));
        let Some(outage) = &mut self.outage else { return };
        outage.last = outage.last.min(now);
        outage.since = outage.since.min(now);
        outage.probe = outage.probe.map(|sent| sent.min(now));
        outage.wait_until = outage.wait_until.map(|end| end.min(now + RETRY_AFTER_CAP));
    }

    /// The clock was set back by `back` and reads `now`. A wait ends when it would have ended.
    pub fn set_back(&mut self, back: Duration, now: UnixTime) {
        // Earlier than true is harmless: it blames fewer.
        self.accepted = self.accepted.take().map(|(at, person)| (at - back, person));
        let Some(outage) = &mut self.outage else { return };
        let lately = |at: UnixTime| at <= now && now < at + NOTICED;
        let wait_is_new = lately(outage.last);
        for date in [&mut outage.since, &mut outage.last] {
            if !lately(*date) {
                *date = *date - back;
            }
        }
        if !wait_is_new {
            outage.wait_until = outage.wait_until.map(|end| end - back);
        }
        self.look_at_the_clock(now);
    }
}
