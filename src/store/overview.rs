//! Everybody at a glance: numbers that cost the same at a million grants as at ten.

use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;

/// How many are counted one by one; of more it is only said that they are more.
pub const COUNTED: u64 = 10_000;

/// How many grants there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Of this integration.
    pub people: u64,
    /// Of these, in need of consent.
    pub consent_needed: u64,
    /// Kept for other client ids in the same store; left alone.
    pub elsewhere: u64,
}

/// How many there are of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many,
    pub people: u64,
    /// or more.
    pub or_more: bool,
}

/// How many grants are in each state. How many more there are may be unknown of those whose consent ends soon,
/// when they are many, and of the fresh and the due, when both are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub people: u64,
    /// See [`State::Fresh`](crate::domain::grant::State::Fresh).
    pub fresh: Count,
    /// See [`State::Due`](crate::domain::grant::State::Due).
    pub due: Count,
    /// See [`State::Retrying`](crate::domain::grant::State::Retrying).
    pub retrying: Count,
    /// See [`State::ConsentNeeded`](crate::domain::grant::State::ConsentNeeded).
    pub consent_needed: Count,
    /// See [`Grant::consent_ends_soon`](crate::domain::grant::Grant::consent_ends_soon): some of those above.
    pub consent_ending: Count,
}

/// Refreshes that came to the same in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// When the hour began.
    pub hour: UnixTime,
    /// What they came to.
    pub outcome: Outcome,
    /// How many.
    pub refreshes: u64,
}

/// What is planned for one day (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// Persons whose next refresh falls on it.
    pub refreshes: u64,
    /// Persons whose refresh token ends on it, as last reported.
    pub consents: u64,
}

impl Count {
    /// Exactly so many.
    #[must_use]
    pub fn exactly(people: u64) -> Self {
        Self { people, or_more: false }
    }
}

impl Count {
    /// Of what is counted up to [`COUNTED`] and one more.
    pub(super) fn up_to(counted: u64) -> Self {
        Self { people: counted.min(COUNTED), or_more: counted > COUNTED }
    }
}

impl Counts {
    /// Of `alive` grants without failures, `due` are due and `fresh` are fresh: either is counted up to [`COUNTED`] and
    /// one more, and known from the other if that was counted to its end.
    pub(super) fn split(alive: u64, due: u64, fresh: impl FnOnce() -> u64) -> (Count, Count) {
        if due <= COUNTED {
            return (Count::exactly(alive.saturating_sub(due)), Count::exactly(due));
        }
        let fresh = fresh();
        if fresh <= COUNTED {
            return (Count::exactly(fresh), Count::exactly(alive.saturating_sub(fresh)));
        }
        let many = Count { people: COUNTED, or_more: true };
        (many, many)
    }
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The hour of `at`, counted from 1970.
pub(super) fn hour(at: UnixTime) -> i64 {
    at.0.div_euclid(HOUR)
}

/// When the hour of this number began.
pub(super) fn hour_began(hour: i64) -> UnixTime {
    UnixTime(hour.saturating_mul(HOUR))
}

/// The day of `at`, counted from 1970.
pub(super) fn day(at: UnixTime) -> i64 {
    at.0.div_euclid(DAY)
}

/// The day of number `day` in a calendar that begins with `today`.
pub(super) fn on(calendar: &mut [Day], today: i64, day: i64) -> Option<&mut Day> {
    usize::try_from(day.saturating_sub(today)).ok().and_then(|at| calendar.get_mut(at))
}

/// When the day of this number began.
pub(super) fn day_began(day: i64) -> UnixTime {
    UnixTime(day.saturating_mul(DAY))
}

/// Hours of the past that are kept: two days and the hour under way. The clock may be set, too: what is further in the
/// future than an hour goes as well.
pub(super) fn kept_hours(now: i64) -> std::ops::RangeInclusive<i64> {
    now.saturating_sub(48)..=now.saturating_add(1)
}
