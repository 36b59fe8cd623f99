//! Removals of many grants.

use crate::domain::grant::GrantState;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// Which grants [`GrantCommands::forget_all`](crate::store::GrantCommands::forget_all) removes.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Whose grants. They are removed in one transaction, so callers ask for a few hundred at most.
    pub persons: Vec<PersonId>,
    /// Only grants in this state at `now`. A grant that has left the state, for instance by a new consent, stays. `None`: in
    /// any state.
    pub only_in: Option<GrantState>,
    /// The current time.
    pub now: UnixTime,
}

impl Removal {
    /// Whether a grant in this state is removed.
    #[must_use]
    pub fn takes(&self, state: GrantState) -> bool {
        self.only_in.is_none_or(|only| only == state)
    }
}
