//! Formats persons and times for people.

use std::time::Duration;

use crate::api_types::Person;
use crate::api_types::Token;
use crate::cli::print::printable;
use crate::cli::table::Ink;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::domain::time::spoken;

/// The current time, in Unix seconds.
pub(super) fn now() -> i64 {
    SystemClock.now().seconds()
}

/// The e-mail address, or the id without one, and the name.
pub(super) fn who(person: &Person) -> String {
    let handle = person.email.as_deref().unwrap_or(&person.person_id);
    match person.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => format!("{handle} ({name})"),
        _ => handle.to_owned(),
    }
}

/// The same, safe to print in one line.
pub(super) fn who_line(person: &Person) -> String {
    printable(&who(person))
}

/// A duration in seconds; a negative one counts as zero.
pub(super) fn span(seconds: i64) -> String {
    spoken(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The Unix seconds of an RFC 3339 time.
pub(super) fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// The time since then; `-` if unknown.
pub(super) fn age(time: &str, now: i64) -> String {
    seconds(time).map_or_else(|| "-".to_owned(), |then| span(now - then))
}

/// The time until then; `past` if it is over, `-` if unknown.
pub(super) fn left(time: Option<&str>, now: i64, past: &str) -> String {
    match time.and_then(seconds) {
        None => "-".to_owned(),
        Some(then) if then <= now => past.to_owned(),
        Some(then) => span(then - now),
    }
}

/// The colour of a state.
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
    fn unknown_and_invalid_times_are_shown_as_unknown() {
        assert_eq!(left(None, 0, "expired"), "-");
        assert_eq!(left(Some("soon"), 0, "expired"), "-");
        assert_eq!(left(Some("1970-01-01T00:01:00Z"), 61, "expired"), "expired");
        assert_eq!(left(Some("1970-01-01T00:02:00Z"), 59, "expired"), "1m");
        assert_eq!(age("1970-01-01T00:00:00Z", 7200), "2h");
    }
}
