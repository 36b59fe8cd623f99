//! Numbers of grants. They cost the same with a million grants as with ten.

/// Grants are counted up to this number. Beyond it, only "or more" is known.
pub const COUNTED: u64 = 10_000;

/// Numbers of grants in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Grants of this integration.
    pub people: u64,
    /// Those of them that need a new consent.
    pub consent_needed: u64,
    /// Grants of other client ids in the same store. They are not refreshed.
    pub elsewhere: u64,
}

/// A number of grants, exact or at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The number.
    pub people: u64,
    /// Whether there may be more.
    pub or_more: bool,
}

/// Numbers of grants in each state. A count may be a lower bound: that of consents that end soon if it is large, and those of
/// fresh and due grants if both are large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All grants.
    pub people: u64,
    /// See [`State::Fresh`](crate::domain::grant::State::Fresh).
    pub fresh: Count,
    /// See [`State::Due`](crate::domain::grant::State::Due).
    pub due: Count,
    /// See [`State::Retrying`](crate::domain::grant::State::Retrying).
    pub retrying: Count,
    /// See [`State::ConsentNeeded`](crate::domain::grant::State::ConsentNeeded).
    pub consent_needed: Count,
    /// See [`Grant::consent_ends_soon`](crate::domain::grant::Grant::consent_ends_soon). These grants are also counted above.
    pub consent_ending: Count,
}

impl Count {
    /// An exact number.
    #[must_use]
    pub fn exactly(people: u64) -> Self {
        Self { people, or_more: false }
    }
}

impl Count {
    /// The count of rows that were counted up to [`COUNTED`] plus one.
    pub(super) fn up_to(counted: u64) -> Self {
        Self { people: counted.min(COUNTED), or_more: counted > COUNTED }
    }
}

impl Counts {
    /// Splits `alive` grants without failures into fresh and due ones. `due` and `fresh` were counted up to [`COUNTED`] plus
    /// one. If one of them is exact, the other follows from it.
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
