//! Everybody at a glance: numbers that cost the same at a million grants as at ten.

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
