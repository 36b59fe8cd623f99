//! Formats persons and times for people.

use std::fmt::Display;
use std::time::Duration;

use crate::api_types::PersonView;
use crate::api_types::Token;
use crate::cli::output::printable;
use crate::cli::table::Color;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::domain::time::human_duration;

/// The current time, in Unix seconds.
pub(super) fn now() -> i64 {
    SystemClock.now().seconds()
}

/// The e-mail address, or the id without one, and the name.
pub(super) fn person_name(person: &PersonView) -> String {
    let handle = person.email.as_deref().unwrap_or(&person.person_id);
    match person.display_name.as_deref().map(str::trim) {
        Some(name) if !name.is_empty() => format!("{handle} ({name})"),
        _ => handle.to_owned(),
    }
}

/// The same, safe to print in one line.
pub(super) fn person_line(person: &PersonView) -> String {
    printable(&person_name(person))
}

/// A number with its noun: `1 person`, `2 persons`.
pub(super) fn counted(number: impl Display, one: &str, many: &str) -> String {
    let number = number.to_string();
    let noun = if number == "1" { one } else { many };
    format!("{number} {noun}")
}

/// A duration in seconds; a negative one counts as zero.
pub(super) fn duration_text(seconds: i64) -> String {
    human_duration(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The Unix seconds of an RFC 3339 time.
pub(super) fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

/// The time since then; `-` if unknown.
pub(super) fn age(time: &str, now: i64) -> String {
    seconds(time).map_or_else(|| "-".to_owned(), |then| duration_text(now - then))
}

/// The time until then; `past` if it is over, `-` if unknown.
pub(super) fn time_left(time: Option<&str>, now: i64, past: &str) -> String {
    match time.and_then(seconds) {
        None => "-".to_owned(),
        Some(then) if then <= now => past.to_owned(),
        Some(then) => duration_text(then - now),
    }
}

/// The colour of a state.
pub(super) fn state_color(state: &str) -> Color {
    match state {
        "fresh" => Color::Good,
        "due" | "retrying" => Color::Attention,
        "consent_needed" => Color::Bad,
        _ => Color::Plain,
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
        duration_text(i64::try_from(token.expires_in).unwrap_or(i64::MAX)),
        printable(scope),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_invalid_times_are_shown_as_unknown() {
        assert_eq!(time_left(None, 0, "expired"), "-");
        assert_eq!(time_left(Some("soon"), 0, "expired"), "-");
        assert_eq!(time_left(Some("1970-01-01T00:01:00Z"), 61, "expired"), "expired");
        assert_eq!(time_left(Some("1970-01-01T00:02:00Z"), 59, "expired"), "1m");
        assert_eq!(age("1970-01-01T00:00:00Z", 7200), "2h");
    }
}
