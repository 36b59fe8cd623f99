//! A point in time, as stored.

use std::fmt;
use std::ops::Add;
use std::ops::Sub;
use std::time::Duration;

/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);

/// An hour.
pub const HOUR: Duration = Duration::from_secs(3600);

/// A day of 24 hours.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Milliseconds since 1970-01-01T00:00:00Z. Arithmetic saturates, so that wrong dates cannot overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// Later than any other time. A grant with this due time is refreshed only on request.
    pub const NEVER: Self = Self(i64::MAX);

    /// Converts whole seconds since the epoch.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time from `earlier` until this; zero if this is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The time from `now` until this; zero if this has passed.
    #[must_use]
    pub fn until(self, now: Self) -> Duration {
        self.since(now)
    }

    /// The day in UTC in a readable form, `5 December 2026`; `never` as in `Display`.
    #[must_use]
    pub fn day(self) -> String {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(time) => time.strftime("%-d %B %Y").to_string(),
            Err(_) => "never".to_owned(),
        }
    }

    /// RFC 3339 in UTC with three decimals, as JavaScript writes dates; `never` as in `Display`.
    #[must_use]
    pub fn to_the_millisecond(self) -> String {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => format!("{time:.3}"),
            Err(_) => "never".to_owned(),
        }
    }
}

/// Formats a duration with at most two units: `9s`, `6h 43m`, `2d 4h`, `90d`.
#[must_use]
pub fn human_duration(span: Duration) -> String {
    const LONG: u64 = 10 * 86_400;
    let seconds = span.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        86_400..LONG => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for UnixTime {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for UnixTime {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

/// RFC 3339 in UTC, in whole seconds; `never` for [`UnixTime::NEVER`] and for dates outside the calendar.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds()) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_rfc_3339() {
        assert_eq!(UnixTime(1_795_000_000_999).to_string(), "2026-11-18T11:06:40Z");
        assert_eq!(UnixTime::NEVER.to_string(), "never");
        assert_eq!(UnixTime(1_795_000_000_999).day(), "18 November 2026");
        assert_eq!(UnixTime::NEVER.day(), "never");
        assert_eq!(UnixTime(1_795_000_000_050).to_the_millisecond(), "2026-11-18T11:06:40.050Z");
        assert_eq!(UnixTime::NEVER.to_the_millisecond(), "never");
    }

    #[test]
    fn durations_are_printed_with_at_most_two_units() {
        let table = [
            (0, "0s"),
            (59, "59s"),
            (61, "1m"),
            (3600, "1h"),
            (24_188, "6h 43m"),
            (86_400 + 59, "1d"),
            (2 * 86_400 + 4 * 3600, "2d 4h"),
            (89 * 86_400 + 3600, "89d"),
        ];
        for (seconds, expected) in table {
            assert_eq!(human_duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(UnixTime::NEVER + Duration::MAX, UnixTime::NEVER);
        assert_eq!(UnixTime(i64::MIN) - Duration::MAX, UnixTime(i64::MIN));
        assert_eq!(UnixTime(5).since(UnixTime(9)), Duration::ZERO);
        assert_eq!(UnixTime::NEVER.since(UnixTime(i64::MIN)), Duration::from_millis(i64::MAX as u64));
    }
}
