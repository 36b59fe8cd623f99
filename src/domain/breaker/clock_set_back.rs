//! Corrects the breaker after the clock was set back.

use std::time::Duration;

use crate::domain::breaker::decisions::Breaker;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;

/// The event loop detects a change of the clock within this time. A date that is not older may come from the new clock.
const NOTICED: Duration = Duration::from_secs(120);

impl Breaker {
    /// Limits all pauses to their maximal length from `now`, in case the clock was set back. An acceptance in the future is
    /// removed, because it would blame every grant for a refused client.
    pub(super) fn look_at_the_clock(&mut self, now: UnixTime) {
        self.accepted.take_if(|(at, _)| *at > now);
        self.mass_refusal_since = self.mass_refusal_since.map(|since| since.min(now));
        let Some(outage) = &mut self.outage else { return };
        // The clock was set back by this much or more. A wait does not become longer by that.
        let ahead = outage.last.since(now);
        outage.last = outage.last.min(now);
        outage.since = outage.since.min(now);
        outage.probe = outage.probe.map(|sent| sent.min(now));
        outage.wait_until = outage.wait_until.map(|end| (end - ahead).min(now + RETRY_AFTER_CAP));
    }

    /// Corrects all dates after the clock was set back by `back` to `now`, so that a wait ends when it would have ended.
    pub fn set_back(&mut self, back: Duration, now: UnixTime) {
        // A date that is too early is harmless, because it blames fewer grants.
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
