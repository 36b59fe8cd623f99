//! Claims: what the event loop asks for, and what it gets.

use crate::domain::grant::Grant;
use crate::domain::notice::OutboxEntries;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;

/// The owner of a claim, and when the claim ends.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The present time.
    pub now: UnixTime,
    /// The owner: a name of the process.
    pub owner: String,
    /// When other callers may claim the grant.
    pub end: UnixTime,
}

/// Which grants to claim.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The lease of the claims.
    pub lease: Lease,
    /// Grants due at or before this time are claimed; not after the current time.
    pub due_by: UnixTime,
    /// At most so many.
    pub limit: usize,
    /// Persons to leave out, because the caller is still refreshing their grants.
    pub except: Vec<PersonId>,
    /// Which of the due grants come first.
    pub order: ClaimOrder,
}

/// Which of the due grants are claimed first. Of two equal ones the one that was stored first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimOrder {
    /// Living tokens, the least life left first; then expired ones in the order in which they expired.
    LeastLife,
    /// As `LeastLife`, but living tokens of grants without failures before all others.
    NoFailures,
    /// As `LeastLife`, but before all others living tokens of failing grants, those that have been due the longest first.
    LongestFailing,
    /// For a probe: grants that have ended last, before them those refused or asked to wait themselves; the fewest
    /// failures in a row first, so that probes that fail go round; the most life left first, since persons of one tenant
    /// often have as much life left as each other.
    Healthiest,
}

/// The claimed grants.
#[derive(Debug, Default)]
pub struct Claims {
    /// To be refreshed.
    pub claims: Vec<Claim>,
    /// Persons whose record does not open, because it was tampered with or sealed by another key. They become due again after
    /// a day. If even the id is unreadable, it is `row-` with the number of the row.
    pub unreadable: Vec<PersonId>,
    /// Which of those records are told of: the ones that were not known before. The store has written it already.
    pub outbox_entries: OutboxEntries,
}

/// A durable intent to refresh one grant, limited by a lease.
#[derive(Debug)]
pub struct Claim {
    /// The grant as it stood when it was claimed.
    pub grant: Grant,
    /// Identifies this claim in the commit.
    pub fence: Fence,
}

/// Identifies one attempt at one version of one row. A commit is applied only if all three still match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The number of the row, which is never reused, not even after a removal.
    pub serial: i64,
    /// Grows with each write of tokens.
    pub version: i64,
    /// Grows with each claim of the row.
    pub attempt: i64,
}
