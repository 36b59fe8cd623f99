//! Numbers of grants. They cost the same with a million grants as with ten.

/// Grants are counted up to this number. Beyond it, only "or more" is known.
pub const COUNT_LIMIT: u64 = 10_000;

/// Numbers of grants in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantTotals {
    /// Grants of this integration.
    pub people: u64,
    /// Those of them that need a new consent.
    pub consent_needed: u64,
    /// Grants of other client ids in the same store. They are not refreshed.
    pub other_apps: u64,
}

/// A number of grants, exact or at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoundedCount {
    /// The number.
    pub people: u64,
    /// Whether there may be more.
    pub or_more: bool,
}

/// Numbers of grants in each state. A count may be a lower bound: that of consents that end soon if it is large, and those of
/// fresh and due grants if both are large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// All grants.
    pub people: u64,
    /// See [`GrantState::Fresh`](crate::domain::grant::GrantState::Fresh).
    pub fresh: BoundedCount,
    /// See [`GrantState::Due`](crate::domain::grant::GrantState::Due).
    pub due: BoundedCount,
    /// See [`GrantState::Retrying`](crate::domain::grant::GrantState::Retrying).
    pub retrying: BoundedCount,
    /// See [`GrantState::ConsentNeeded`](crate::domain::grant::GrantState::ConsentNeeded).
    pub consent_needed: BoundedCount,
    /// See [`Grant::consent_ends_soon`](crate::domain::grant::Grant::consent_ends_soon). These grants are also counted above.
    pub consent_ending: BoundedCount,
}

impl BoundedCount {
    /// An exact number.
    #[must_use]
    pub fn exact(people: u64) -> Self {
        Self { people, or_more: false }
    }
}

impl BoundedCount {
    /// The count of rows that were counted up to [`COUNT_LIMIT`] plus one.
    pub(crate) fn limited(counted: u64) -> Self {
        Self { people: counted.min(COUNT_LIMIT), or_more: counted > COUNT_LIMIT }
    }
}

impl StateCounts {
    /// Splits `alive` grants without failures into fresh and due ones. `due` and `fresh` were counted up to [`COUNT_LIMIT`] plus
    /// one. If one of them is exact, the other follows from it.
    pub(crate) fn split_fresh_and_due(
        alive: u64,
        due: u64,
        fresh: impl FnOnce() -> u64,
    ) -> (BoundedCount, BoundedCount) {
        if due <= COUNT_LIMIT {
            return (BoundedCount::exact(alive.saturating_sub(due)), BoundedCount::exact(due));
        }
        let fresh = fresh();
        if fresh <= COUNT_LIMIT {
            return (BoundedCount::exact(fresh), BoundedCount::exact(alive.saturating_sub(fresh)));
        }
        let many = BoundedCount { people: COUNT_LIMIT, or_more: true };
        (many, many)
    }
}
