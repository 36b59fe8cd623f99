//! The place of a due grant behind many others.

use crate::domain::grant::Grant;
use crate::domain::time::UnixTime;
use crate::domain::why;

/// The place of a due grant, if more are due than can be sent within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePlace {
    /// About how many refreshes are sent before it.
    pub ahead: u64,
    /// About when it is sent. `None` if the rate is unknown.
    pub at: Option<UnixTime>,
}

impl QueuePlace {
    /// Summarizes why a grant waits, in one sentence.
    #[must_use]
    pub fn summary(&self, grant: &Grant, now: UnixTime) -> String {
        let Self { ahead, at } = self;
        let turn = at.map(|at| format!("; its turn comes at about {at}")).unwrap_or_default();
        let (due_at, token) = (grant.next.due_at, why::token(grant, now));
        format!(
            "A refresh has been due since {due_at}, and about {ahead} others are sent before it{turn}; {token}."
        )
    }
}
