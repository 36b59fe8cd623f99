//! The life of an access token as a bar: how much is gone, where Webex renews nothing, when the next refresh is, and
//! from when on it is late.

use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::domain::time::spoken;

/// How wide a bar is drawn.
pub(super) const WIDTH: u64 = 1000;

/// Places on the bar, from 0 to [`WIDTH`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// Up to here it is lived.
    pub(super) lived: u64,
    /// The no-op window: from, and how wide.
    pub(super) window: (u64, u64),
    /// From here on it is the safety margin.
    pub(super) margin: u64,
    /// The next refresh, if it comes before the end.
    pub(super) next: Option<u64>,
    /// The token is dead.
    pub(super) dead: bool,
    /// The same in words.
    pub(super) words: String,
}

impl Bar {
    pub(super) fn of(grant: &Grant, policy: &Policy, now: UnixTime) -> Self {
        let dates = grant.dates();
        let (begin, life) = (dates.renewed_at, dates.lifetime());
        let at = |time: UnixTime| place(time.since(begin), life);
        let window_ends = dates.answered_at + policy.noop_window;
        let window = (at(dates.answered_at), at(window_ends).saturating_sub(at(dates.answered_at)));
        let due = grant.next.due_at;
        let next = (due < dates.expires_at).then(|| at(due.max(now)));
        let left = grant.life_left(now);
        let margin = at(dates.expires_at - Policy::margin(life));
        let dead = left.is_zero();
        let words = words(dead, left, (window_ends, due), Policy::margin(life), now);
        Self { lived: at(now), window, margin, next, dead, words }
    }

    /// How wide the margin is drawn.
    pub(super) fn margin_width(&self) -> u64 {
        WIDTH.saturating_sub(self.margin)
    }
}

fn words(
    dead: bool,
    left: Duration,
    (window_ends, due): (UnixTime, UnixTime),
    margin: Duration,
    now: UnixTime,
) -> String {
    let life =
        if dead { "The access token is dead".to_owned() } else { format!("{} of life left", spoken(left)) };
    let window = match window_ends.until(now) {
        rest if rest.is_zero() => "the no-op window is over".to_owned(),
        rest => format!("no-op window for another {}", spoken(rest)),
    };
    let next = match due {
        UnixTime::NEVER => "no refresh planned".to_owned(),
        due if due <= now => "refresh due".to_owned(),
        due => format!("next refresh in {}", spoken(due.until(now))),
    };
    format!("{life}; {window}; {next}; safety margin: the last {}", spoken(margin))
}

fn place(since: Duration, life: Duration) -> u64 {
    let place = since.as_millis().saturating_mul(WIDTH.into()).checked_div(life.as_millis());
    place.and_then(|place| u64::try_from(place).ok()).unwrap_or(WIDTH).min(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::explain::sample::POLICY;
    use crate::domain::explain::sample::T0;
    use crate::domain::explain::sample::days;
    use crate::domain::explain::sample::grant;

    #[test]
    fn places_follow_the_dates() {
        // 14 days, renewed at T0, due after a day.
        let bar = Bar::of(&grant(), &POLICY, T0 + days(7));
        assert_eq!((bar.lived, bar.dead), (500, false));
        assert_eq!(bar.window, (0, 71), "a day of fourteen");
        assert_eq!(bar.margin, 928);
        assert_eq!(bar.next, Some(500), "overdue: now");
        assert!(bar.words.contains("7d of life left") && bar.words.contains("refresh due"), "{}", bar.words);
    }

    #[test]
    fn no_dates_break_the_bar() {
        let mut odd = grant();
        odd.next = crate::domain::schedule::Next::NEVER;
        for (renewed, expires) in [(T0, T0), (UnixTime::NEVER, T0), (UnixTime(i64::MIN), UnixTime::NEVER)] {
            (odd.renewed_at, odd.tokens.expires_at) = (renewed, expires);
            let bar = Bar::of(&odd, &POLICY, T0);
            assert!(bar.lived <= WIDTH && bar.margin <= WIDTH && bar.window.0 + bar.window.1 <= WIDTH);
        }
        assert_eq!(Bar::of(&odd, &POLICY, T0).next, None);
    }
}
