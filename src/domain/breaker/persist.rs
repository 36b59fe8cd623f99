//! Converts the breaker to a short text, in which the store keeps it over a restart.

use crate::domain::breaker::cause::Cause;
use crate::domain::breaker::decisions::Breaker;
use crate::domain::breaker::outage::Outage;
use crate::domain::schedule::RETRY_AFTER_CAP;
use crate::domain::time::UnixTime;

/// The text of a closed breaker.
pub const CLOSED: &str = "closed";

impl Breaker {
    /// The part of the state that must survive a restart: a confirmed failure, and how many probes have failed. The text
    /// changes only when the breaker opens or closes, when a probe fails, or when Webex requests another wait. It contains
    /// no probe that is under way, because a restart ends it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Some(outage) = self.outage.filter(|outage| outage.confirmed) else { return CLOSED.to_owned() };
        let Outage { cause, since, last, failed, .. } = outage;
        let end = outage.wait_until.unwrap_or_else(|| outage.own_pause());
        let text = format!("open {} {} {} {} {failed}", cause.as_str(), since.0, last.0, end.0);
        match self.mass_refusal_since {
            Some(refused) => format!("{text} {}", refused.0),
            None => text,
        }
    }

    /// Takes over the outage of the last run. Responses of this run that arrived before the stored state could be read still
    /// count: after a success, only a wait that Webex requested is left of that outage.
    pub fn restore(&mut self, previous: &Self) {
        let answered = self.accepted.is_some();
        let outage = previous.outage.filter(|outage| !answered || outage.cause == Cause::Busy);
        self.outage = outage.or(self.outage);
        if !answered {
            self.mass_refusal_since = self.mass_refusal_since.or(previous.mass_refusal_since);
        }
        self.untried = previous.untried && !answered;
    }

    /// Restores a breaker from the text of [`Breaker::to_text`] at a start at `now`. `None` for any other text.
    ///
    /// If the start of a wait lies in the future, the clock was set back after it was stored. Its age is unknown, so the
    /// wait is ignored. A refused client is tried at once, because the operator may have restarted with another secret.
    #[must_use]
    pub fn from_text(text: &str, now: UnixTime) -> Option<Self> {
        if text == CLOSED {
            return Some(Self::default());
        }
        let words: Vec<&str> = text.split(' ').collect();
        let (words, refused) = words.split_first_chunk::<6>()?;
        let ["open", cause, since, last, end, failed] = *words else { return None };
        let mass_refusal_since = match refused {
            [] => None,
            [since] => Some(UnixTime(since.parse().ok()?).min(now)),
            _ => return None,
        };
        let (cause, time) = (Cause::parse(cause)?, |text: &str| text.parse().ok().map(UnixTime));
        let (since, last, end) = (time(since)?, time(last)?, time(end)?);
        let untried = cause == Cause::ClientRefused;
        let at_once = untried || last > now;
        let outage = Outage {
            since: since.min(now),
            confirmed: true,
            last: if at_once { now - RETRY_AFTER_CAP } else { last },
            failed: failed.parse().ok()?,
            wait_until: (cause == Cause::Busy && !at_once).then(|| end.min(now + RETRY_AFTER_CAP)),
            ..Outage::new(cause, now)
        };
        Some(Self { outage: Some(outage), mass_refusal_since, untried, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::breaker::decisions::Admission;
    use crate::domain::breaker::outage::DueSummary;

    const NOW: UnixTime = UnixTime(1_795_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const PROBE: Admission = Admission::Probe { next_to_die: false };

    fn text(cause: Cause, last: UnixTime, end: UnixTime) -> String {
        format!("open {} {} {} {} 3", cause.as_str(), last.0, last.0, end.0)
    }

    fn admit(text: &str, now: UnixTime) -> Admission {
        Breaker::from_text(text, now).unwrap().admit(&DueSummary { due: true, ..DueSummary::default() }, now)
    }

    #[test]
    fn a_wait_that_webex_asked_for_keeps_its_time_over_a_restart() {
        let text = text(Cause::Busy, NOW, NOW + 2 * HOUR);
        assert_eq!(admit(&text, NOW + HOUR), Admission::Hold(NOW + 2 * HOUR));
        assert_eq!(Breaker::from_text(&text, NOW + HOUR).unwrap().to_text(), text);
    }

    #[test]
    fn other_trouble_keeps_its_pause_over_a_restart() {
        let until = NOW + Duration::from_secs(30);
        assert_eq!(
            admit(&text(Cause::ManyFailing, NOW, until), NOW),
            Admission::Hold(until),
            "the fourth pause"
        );
    }

    #[test]
    fn a_refused_client_is_tried_at_once_after_a_restart() {
        assert_eq!(admit(&text(Cause::ClientRefused, NOW, NOW + HOUR), NOW), PROBE);
    }

    #[test]
    fn what_a_fast_clock_wrote_holds_no_refresh() {
        for cause in [Cause::Busy, Cause::ManyFailing, Cause::ManyRefused] {
            assert_eq!(admit(&text(cause, NOW, NOW + 2 * HOUR), NOW - HOUR), PROBE, "{cause:?}");
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        let texts = [
            "",
            "open",
            "Closed",
            "closed ",
            "open busy 1 2 3",
            "open busy 1 2 3 4 5 6",
            "open busy 1 2 3 4 x",
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
        fn no_text_holds_longer_than_a_wait_may_be(
            cause in 0..4_usize, since: i64, last: i64, end: i64, failed: u32, refused: Option<i64>, now: i64
        ) {
            let cause = [Cause::ClientRefused, Cause::Busy, Cause::ManyFailing, Cause::ManyRefused][cause];
            let refused = refused.map(|at| format!(" {at}")).unwrap_or_default();
            let text = format!("open {} {since} {last} {end} {failed}{refused}", cause.as_str());
            let now = UnixTime(now);
            if let Admission::Hold(until) = admit(&text, now) {
                prop_assert!(until.since(now) <= RETRY_AFTER_CAP);
                prop_assert!(cause == Cause::Busy || until.since(now) <= Duration::from_secs(540));
            }
        }

        #[test]
        fn no_text_is_too_odd_to_be_read(text in ".{0,60}", now: i64) {
            let _ = Breaker::from_text(&text, UnixTime(now));
        }
    }
}
