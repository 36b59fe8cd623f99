//! The breaker as a short text, so that it survives a restart.

use crate::domain::breaker::Breaker;
use crate::domain::breaker::Cause;
use crate::domain::breaker::LONGEST_PAUSE;
use crate::domain::breaker::State;
use crate::domain::breaker::Trouble;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;

/// The text of a breaker that lets everybody through.
pub const CLOSED: &str = "closed";

impl Breaker {
    /// What has to survive: the trouble and how often it was met. It changes only when the breaker opens or closes, or
    /// when Webex wishes a longer pause. A probe that is out is not in it: after a restart there is none.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (State::Open(trouble) | State::Probing { trouble, .. }) = self.state else {
            return CLOSED.to_owned();
        };
        let (Trouble { cause, since, pause, .. }, until) = (trouble, trouble.end());
        format!("open {} {} {} {} {}", cause.word(), since.0, (until - pause).0, until.0, self.trips)
    }

    /// The breaker of [`Breaker::to_text`], at a start at `now`. `None` for what is no such text.
    ///
    /// Nothing holds longer than it could if it began now, and a pause that began in the future was written by a clock
    /// that has been set back since: nobody knows how long ago that was, and it holds nobody at all. A refused client is tried at once: the restart may be the operator's remedy (another secret).
    #[must_use]
    pub fn from_text(text: &str, now: UnixTime) -> Option<Self> {
        if text == CLOSED {
            return Some(Self::default());
        }
        let words: Vec<&str> = text.split(' ').collect();
        let ["open", cause, since, began, until, trips] = *words else { return None };
        let (cause, time) = (Cause::from_word(cause)?, |text: &str| text.parse().ok().map(UnixTime));
        let (since, began, until) = (time(since)?, time(began)?, time(until)?);
        let latest = match cause {
            Cause::ClientRefused => now,
            _ if began > now => now,
            Cause::Busy => now + RETRY_AFTER_CAP,
            Cause::ManyFailing => now + LONGEST_PAUSE,
        };
        let until = until.min(latest);
        let pause = until.since(began).min(RETRY_AFTER_CAP);
        let trouble = Trouble { cause, since: since.min(now), until, pause, latest: UnixTime::NEVER };
        let untried = cause == Cause::ClientRefused;
        Some(Self { state: State::Open(trouble), trips: trips.parse().ok()?, untried, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::breaker::Admission;
    use crate::domain::breaker::Turn;
    use crate::domain::person::PersonId;
    use crate::domain::verdict::Verdict;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    fn person(n: u8) -> PersonId {
        PersonId::parse(&format!("person-{n}")).unwrap()
    }

    fn verdict(kind: u8) -> Verdict {
        match kind {
            0 => Verdict::TokenLimit,
            1 => Verdict::ClientRefused(String::new()),
            2 => Verdict::Busy(String::new()),
            _ => Verdict::Transient(String::new()),
        }
    }

    /// Opened at [`NOW`] by a wish to wait for so long.
    fn busy(pause: Duration) -> Breaker {
        let mut breaker = Breaker::default();
        breaker.note(&person(1), &verdict(2), Some(pause), NOW);
        breaker
    }

    fn reread(breaker: &Breaker, now: UnixTime) -> Breaker {
        Breaker::from_text(&breaker.to_text(), now).unwrap()
    }

    #[test]
    fn a_wish_of_webex_keeps_its_time_over_a_restart() {
        let mut after = reread(&busy(2 * HOUR), NOW + HOUR);
        assert_eq!(after.admit(NOW + HOUR), Admission::Hold(NOW + 2 * HOUR));
        assert_eq!(after.pause(), busy(2 * HOUR).pause());
    }

    #[test]
    fn many_failing_keeps_its_time_and_its_step() {
        let mut breaker = Breaker::default();
        for n in 0..5 {
            breaker.note(&person(n), &verdict(3), None, NOW);
        }
        breaker.admit(NOW + MINUTE);
        let again = NOW + MINUTE;
        breaker.note(&person(1), &verdict(3), None, again);
        let mut after = reread(&breaker, again);
        let until = again + 2 * MINUTE;
        assert_eq!(after.admit(again), Admission::Hold(until));
        assert_eq!(after.admit(until), Admission::Probe);
        let turn = after.note(&person(1), &verdict(3), None, until);
        let expected = Turn::Opened { until: until + 5 * MINUTE, cause: Cause::ManyFailing, again: true };
        assert_eq!(turn, Some(expected), "the ladder goes on");
    }

    #[test]
    fn a_refused_client_is_tried_at_once_after_a_restart() {
        let mut after = reread(&refused(), NOW + Duration::from_secs(1));
        assert_eq!(after.trouble(), Some(Cause::ClientRefused));
        assert_eq!(after.admit(NOW + Duration::from_secs(1)), Admission::Probe);
        assert!(matches!(after.admit(NOW + Duration::from_secs(1)), Admission::Hold(_)), "one only");
    }

    #[test]
    fn what_a_fast_clock_wrote_holds_nobody() {
        let earlier = NOW - Duration::from_secs(1);
        assert_eq!(reread(&busy(2 * HOUR), earlier).admit(earlier), Admission::Probe);
        // The trouble began long before the clock was set ahead; the present pause after.
        let (mut breaker, year) = (refused(), 365 * 24 * HOUR);
        breaker.admit(NOW + year);
        breaker.note(&person(1), &verdict(2), Some(6 * HOUR), NOW + year);
        assert_eq!(reread(&breaker, NOW + 24 * HOUR).admit(NOW + 24 * HOUR), Admission::Probe);
    }

    fn refused() -> Breaker {
        let mut breaker = Breaker::default();
        breaker.note(&person(1), &verdict(1), None, NOW);
        breaker
    }

    #[test]
    fn what_is_no_such_text_is_told() {
        let texts = [
            "",
            "open",
            "Closed",
            "closed ",
            "open busy 1 2 3",
            "open busy 1 2 3 4 5",
            "open busy 1 2 3 -4",
            "open busy 1  2 3 4",
            "open lazy 1 2 3 4",
            "shut busy 1 2 3 4",
            "open busy 1 2 99999999999999999999 3",
        ];
        for text in texts {
            assert!(Breaker::from_text(text, NOW).is_none(), "{text:?}");
        }
        assert_eq!(Breaker::from_text(CLOSED, NOW).unwrap().to_text(), CLOSED);
    }

    proptest! {
        #[test]
        fn whatever_happened_is_read_as_it_was_written(
            told in prop::collection::vec((0..9_u8, 0..5_u8, prop::option::of(0..40_000_u64), 0..5_000_u64), 0..40)
        ) {
            let (mut breaker, mut now) = (Breaker::default(), NOW);
            for (who, kind, wish, later) in told {
                now = now + Duration::from_secs(later);
                let before = breaker.to_text();
                breaker.admit(now);
                prop_assert_eq!(&breaker.to_text(), &before, "a probe is no turn");
                breaker.no_probe();
                prop_assert_eq!(&breaker.to_text(), &before, "nor is one that found nobody");
                breaker.admit(now);
                let turn = breaker.note(&person(who), &verdict(kind), wish.map(Duration::from_secs), now);
                prop_assert!(turn.is_none() || breaker.to_text() != before, "a turn is written");
                let mut after = reread(&breaker, now);
                prop_assert_eq!(after.trouble(), breaker.trouble());
                if after.trouble() == Some(Cause::ClientRefused) {
                    prop_assert_eq!(after.admit(now), Admission::Probe);
                } else {
                    prop_assert_eq!(after.to_text(), breaker.to_text());
                }
            }
        }

        #[test]
        fn no_text_holds_longer_than_a_pause_may_be(
            cause in 0..3_usize, since: i64, began: i64, until: i64, trips: u32, now: i64
        ) {
            let word = Cause::WORDS[cause].1;
            let text = format!("open {word} {since} {began} {until} {trips}");
            let now = UnixTime(now);
            let mut breaker = Breaker::from_text(&text, now).unwrap();
            if let Admission::Hold(until) = breaker.admit(now) {
                prop_assert!(until.since(now) <= RETRY_AFTER_CAP);
                prop_assert!(cause != 2 || until.since(now) <= LONGEST_PAUSE);
            }
        }

        #[test]
        fn no_text_is_too_odd_to_be_looked_at(text in ".{0,60}", now: i64) {
            let _ = Breaker::from_text(&text, UnixTime(now));
        }
    }
}
