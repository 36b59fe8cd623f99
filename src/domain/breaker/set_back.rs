//! A breaker whose clock was set back.

use std::time::Duration;

use crate::domain::breaker::Breaker;
use crate::domain::breaker::PROBE_PATIENCE;
use crate::domain::breaker::State;
use crate::domain::breaker::Trouble;
use crate::domain::time::UnixTime;

/// The event loop sees a clock that was set within this: what began so lately may have been written by the clock as it
/// is now.
const NOTICED: Duration = Duration::from_secs(120);

impl Trouble {
    /// The end of the present pause, as far as it was looked at.
    pub(super) fn end(&self) -> UnixTime {
        self.until.min(self.latest)
    }
}

impl Breaker {
    /// Until when everybody waits, and why. A clock set back makes it no longer than it could be from now on, and this
    /// is remembered: measured anew at each look, the end would move along with the clock. It is remembered beside the
    /// end, for a setting that is noticed later must find the end as the old clock wrote it.
    pub(super) fn held(&mut self, now: UnixTime) -> Option<(UnixTime, Trouble)> {
        match &mut self.state {
            State::Closed => None,
            State::Open(trouble) => {
                trouble.latest = trouble.latest.min(now + trouble.pause);
                Some((trouble.end(), *trouble))
            }
            State::Probing { patience, trouble } => {
                *patience = (*patience).min(now + PROBE_PATIENCE);
                Some((*patience, *trouble))
            }
        }
    }

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
        // So does one that came before the setting was noticed, though what there was seems to be longer.
        let (mut breaker, who, now) =
            (Breaker::default(), PersonId::parse("person-1").unwrap(), NOW - 24 * HOUR);
        breaker.note(&who, &Verdict::ClientRefused(String::new()), None, NOW);
        breaker.note(&who, &Verdict::Busy(String::new()), Some(6 * HOUR), now);
        assert_eq!(breaker.admit(now), Admission::Hold(now + 6 * HOUR));
        breaker.set_back(24 * HOUR, now + MINUTE);
        assert_eq!(breaker.admit(now + MINUTE), Admission::Hold(now + 6 * HOUR));
    }

    #[test]
    fn a_pause_that_is_looked_at_before_the_setting_is_noticed_ends_when_it_would_have_ended() {
        for back in [2 * HOUR, 24 * HOUR, 900 * 24 * HOUR] {
            let (mut breaker, now) = (busy(), NOW + 5 * HOUR - back);
            let noticed = now + MINUTE;
            assert!(matches!(breaker.admit(now), Admission::Hold(until) if until <= now + 6 * HOUR));
            assert!(!breaker.admit_doubtful(now + MINUTE / 2));
            breaker.set_back(back, noticed);
            assert_eq!(breaker.admit(noticed), Admission::Hold(now + HOUR), "{back:?}");
            assert_eq!(breaker.pause().unwrap().until, now + HOUR, "{back:?}");
            assert_eq!(breaker.admit(now + HOUR), Admission::Probe, "{back:?}");
        }
    }

    #[test]
    fn a_pause_lasts_no_longer_than_it_is_where_nobody_ever_notices_the_setting() {
        for back in [24 * HOUR, 900 * 24 * HOUR] {
            let (mut breaker, now) = (busy(), NOW + 5 * HOUR - back);
            for minutes in 0..6 * 60 {
                let held = breaker.admit(now + minutes * MINUTE);
                assert_eq!(held, Admission::Hold(now + 6 * HOUR), "{minutes} minutes after {back:?}");
            }
            let recalled = Breaker::from_text(&breaker.to_text(), now + HOUR);
            assert_eq!(recalled.unwrap().admit(now + HOUR), Admission::Hold(now + 6 * HOUR), "{back:?}");
            assert_eq!(breaker.admit(now + 6 * HOUR), Admission::Probe, "{back:?}");
        }
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
