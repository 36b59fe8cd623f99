//! A breaker whose clock was set back.

use std::time::Duration;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::State;
use crate::domain::time::UnixTime;

/// The event loop sees a clock that was set within this: what began so lately may have been written by the clock as it
/// is now.
const NOTICED: Duration = Duration::from_secs(120);

impl Breaker {
    /// The clock was set back by `back` and reads `now`. A pause ends when it would have ended: one that began anew with
    /// every setting of the clock could outlast any token.
    pub fn set_back(&mut self, back: Duration, now: UnixTime) {
        // Earlier than true is harmless: it blames fewer.
        self.accepted = self.accepted.take().map(|(at, person)| (at - back, person));
        let (State::Open(trouble) | State::Probing { trouble, .. }) = &mut self.state else { return };
        let lately = |at: UnixTime| at <= now && now < at + NOTICED;
        if !lately(trouble.since) {
            trouble.since = trouble.since - back;
        }
        if !lately(trouble.until - trouble.pause) {
            trouble.until = trouble.until - back;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::breaker::Admission;
    use crate::domain::person::PersonId;
    use crate::domain::verdict::Verdict;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    /// Asked at [`NOW`] to wait for six hours.
    fn busy() -> Breaker {
        let (mut breaker, who) = (Breaker::default(), PersonId::parse("person-1").unwrap());
        breaker.note(&who, &Verdict::Busy(String::new()), Some(6 * HOUR), NOW);
        breaker
    }

    #[test]
    fn a_pause_ends_when_it_would_have_ended_however_far_the_clock_was_set_back() {
        for back in [2 * MINUTE, HOUR, 4 * HOUR, 7 * HOUR, 900 * 24 * HOUR] {
            let (mut breaker, now) = (busy(), NOW + 5 * HOUR - back);
            breaker.set_back(back, now);
            let end = now + HOUR;
            assert_eq!(breaker.admit(now), Admission::Hold(end), "{back:?}");
            assert_eq!(breaker.pause().unwrap().since, NOW - back, "{back:?}");
            assert_eq!(breaker.admit(end), Admission::Probe, "{back:?}");
        }
    }

    #[test]
    fn a_wish_that_came_after_the_clock_was_set_back_keeps_its_time() {
        let mut breaker = busy();
        breaker.set_back(900 * 24 * HOUR, NOW + MINUTE);
        assert_eq!(breaker.admit(NOW + MINUTE), Admission::Hold(NOW + 6 * HOUR));
        // So does one that was only looked at before the setting was noticed.
        let (mut breaker, now) = (busy(), NOW - 24 * HOUR);
        breaker.admit(now);
        breaker.set_back(25 * HOUR, now + MINUTE);
        assert_eq!(breaker.admit(now + MINUTE), Admission::Hold(now + 6 * HOUR));
    }

    #[test]
    fn a_probe_that_is_out_goes_on_and_ends_the_pause() {
        let mut breaker = busy();
        breaker.admit(NOW + 6 * HOUR);
        let now = NOW - 24 * HOUR;
        breaker.set_back(30 * HOUR, now);
        assert!(matches!(breaker.admit(now), Admission::Hold(until) if until <= now + 3 * MINUTE));
        assert_eq!(breaker.admit(now + 3 * MINUTE), Admission::Probe);
    }
}
