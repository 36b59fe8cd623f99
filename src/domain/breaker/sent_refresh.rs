//! What is known about a refresh besides its response.

use std::time::Duration;

use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;

/// Why a refresh was sent, which determines what its response says about all persons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was sent while the breaker was closed.
    Ordinary,
    /// It was sent to find out whether the failure is over.
    Probe,
    /// It was requested for a grant that had failed before, while the breaker was open. A success closes the breaker; a
    /// failure is ignored.
    Doubtful,
}

/// What is known about a refresh that was sent, besides its response.
#[derive(Clone, Debug)]
pub struct SentRefresh {
    /// The person of the grant.
    pub person: PersonId,
    /// Why it was sent.
    pub role: Role,
    /// Whether a reader or an operator waits for it.
    pub on_demand: bool,
    /// The outcome of the previous attempt.
    pub previous: Outcome,
    /// When the previous attempt was judged.
    pub previous_at: UnixTime,
    /// When Webex first refused the grant, or the client for it, since its last success.
    pub refused_since: Option<UnixTime>,
    /// Whether the grant had ended before.
    pub ended: bool,
    /// Whether the access token is dead.
    pub token_dead: bool,
    /// The time after which another refusal confirms the first one.
    pub confirm_after: Duration,
    /// True if there is known to be no other living grant. False for an ordinary refresh, where the count is
    /// read after its response if needed.
    pub only_person: bool,
}
