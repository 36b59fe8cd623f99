//! What is known about a refresh beside its answer.

use std::time::Duration;

use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;

/// Why a refresh was sent, and so what its answer says about all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It was sent while the breaker was closed.
    Ordinary,
    /// It was sent to find out whether the trouble is over.
    Probe,
    /// It was requested for a grant that had failed before, while the breaker was open. A success closes the breaker; a
    /// failure says nothing new.
    Doubtful,
}

/// What is known about a refresh that was sent, beside its answer.
#[derive(Clone, Debug)]
pub struct SentRefresh {
    /// Whose grant.
    pub person: PersonId,
    /// Why it was sent.
    pub role: Role,
    /// A reader or an operator waits for it.
    pub on_demand: bool,
    /// The outcome of the attempt before.
    pub previous: Outcome,
    /// When the attempt before was judged.
    pub previous_at: UnixTime,
    /// When Webex first refused the grant, or the client for it, since its last success.
    pub refused_since: Option<UnixTime>,
    /// The grant had ended before.
    pub ended: bool,
    /// The access token is dead.
    pub token_dead: bool,
    /// A refusal is confirmed by another one after this time.
    pub confirm_after: Duration,
    /// There is no other living grant.
    pub only_person: bool,
}
