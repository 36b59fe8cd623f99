//! Persons and times as people read them.

use crate::api_types::Person;
use crate::api_types::Token;
use crate::cli::print::printable;
use crate::cli::table::Ink;
use crate::clock::Clock as _;
use crate::clock::SystemClock;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// From this many days on, hours say nothing.
const LONG: i64 = 10 * DAY;

/// The present, in Unix seconds.
pub(super) fn now() -> i64 {
    SystemClock.now().seconds()
}

/// The address if there is one, else the id; the name behind it.
pub(super) fn who(person: &Person) -> String {
    let handle = person.email.as_deref().unwrap_or(&person.person_id);
    match person.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => format!("{handle} ({name})"),
        _ => handle.to_owned(),
    }
}

/// In one line, safe to print.
pub(super) fn who_line(person: &Person) -> String {
    printable(&who(person))
}

/// A span as two units at most.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < MINUTE => format!("{s}s"),
        s if s < HOUR => format!("{}m", s / MINUTE),
        s if s < DAY => two(s / HOUR, 'h', s % HOUR / MINUTE, 'm'),
        s if s < LONG => two(s / DAY, 'd', s % DAY / HOUR, 'h'),
        s => format!("{}d", s / DAY),
    }
}

fn two(large: i64, large_unit: char, small: i64, small_unit: char) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

/// Unix seconds of an RFC 3339 time.
pub(super) fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// How long ago; `-` where it is unknown.
pub(super) fn age(time: &str, now: i64) -> String {
    seconds(time).map_or_else(|| "-".to_owned(), |then| span(now - then))
}

/// How long until then, `past` once it is over, `-` where it is unknown.
pub(super) fn left(time: Option<&str>, now: i64, past: &str) -> String {
    match time.and_then(seconds) {
        None => "-".to_owned(),
        Some(then) if then <= now => past.to_owned(),
        Some(then) => span(then - now),
    }
}

/// The ink of a state.
pub(super) fn ink(state: &str) -> Ink {
    match state {
        "fresh" => Ink::Good,
        "due" | "retrying" => Ink::Attention,
        "consent_needed" => Ink::Bad,
        _ => Ink::Plain,
    }
}

/// A token as a block of text.
pub(super) fn token_block(token: &Token) -> String {
    let email = token.email.as_deref().unwrap_or("-");
    let scope = token.scope.as_deref().unwrap_or("-");
    format!(
        "Person:        {} ({})\nAccess token:  {}\nToken type:    {}\nExpires:       {} (in {})\nScope:         {}",
        printable(email),
        printable(&token.person_id),
        printable(&token.access_token),
        printable(&token.token_type),
        printable(&token.expires_at),
        span(i64::try_from(token.expires_in).unwrap_or(i64::MAX)),
        printable(scope),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let table = [
            (-5, "0s"),
            (59, "59s"),
            (61, "1m"),
            (3600, "1h"),
            (3 * HOUR + 5 * MINUTE + 9, "3h 5m"),
            (2 * DAY + 4 * HOUR, "2d 4h"),
            (89 * DAY + HOUR, "89d"),
        ];
        for (seconds, expected) in table {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn unknown_and_broken_times_are_no_times() {
        assert_eq!(left(None, 0, "expired"), "-");
        assert_eq!(left(Some("soon"), 0, "expired"), "-");
        assert_eq!(left(Some("1970-01-01T00:01:00Z"), 61, "expired"), "expired");
        assert_eq!(left(Some("1970-01-01T00:02:00Z"), 59, "expired"), "1m");
        assert_eq!(age("1970-01-01T00:00:00Z", 7200), "2h");
    }
}
