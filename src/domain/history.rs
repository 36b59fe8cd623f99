//! What happened to a person, as it is kept for reading later.

use std::time::Duration;

use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// How long history is kept.
pub const KEEP_HISTORY: Duration = Duration::from_secs(400 * 86_400);

/// Entries kept for one person; older ones give way.
pub const MAX_ENTRIES_PER_PERSON: usize = 500;

/// Entries kept in all; older ones give way.
pub const MAX_ENTRIES: u64 = 2_000_000;

/// The longest detail that is kept, in characters.
const MAX_DETAIL: usize = 300;

/// One thing that happened. Holds no secret, and no name or address: only the person's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When.
    pub at: UnixTime,
    /// To which person; `None` for what concerns all.
    pub person: Option<PersonId>,
    /// The word for it: an event's type, or `refresh.` and an outcome.
    pub what: String,
    /// More about it, in words.
    pub detail: String,
}

impl HistoryEntry {
    /// An entry; a long detail is cut.
    #[must_use]
    pub fn new(at: UnixTime, person: Option<&PersonId>, what: &str, detail: &str) -> Self {
        let detail = detail.chars().take(MAX_DETAIL).collect();
        Self { at, person: person.cloned(), what: what.to_owned(), detail }
    }
}

/// How many refreshes of one outcome changed nothing on one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyCount {
    /// The day, counted from 1970-01-01 in UTC.
    pub day: i64,
    /// The outcome's word.
    pub outcome: String,
    /// How many.
    pub refreshes: u64,
}

/// The day that `at` lies in, as in [`DailyCount::day`].
#[must_use]
pub fn day_of(at: UnixTime) -> i64 {
    at.seconds().div_euclid(86_400)
}
