//! Numbers of grants that wait for a refresh.

use crate::domain::time::UnixTime;

/// What `GrantQueries::backlog` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogRequest {
    /// The time at which grants are due or expired.
    pub now: UnixTime,
    /// Each number is counted up to this limit, because the cost grows with it.
    pub limit: u64,
    /// When the access token of one person expires, whose place in the queue is wanted.
    pub ahead_of: Option<UnixTime>,
}

/// Numbers of living grants. Claimed grants are not due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogCounts {
    /// Those that are due.
    pub due: u64,
    /// Whether more may be due.
    pub or_more: bool,
    /// Those whose access token has expired, whether they are due or not.
    pub expired: u64,
    /// About how many due grants the event loop claims before the one of [`BacklogRequest::ahead_of`]; 0 without it. Living
    /// tokens go first, by the least life left, and then expired ones, oldest first.
    pub ahead: u64,
}

impl BacklogCounts {
    /// Those of `ahead` whose access token lives.
    #[must_use]
    pub fn living_ahead(&self) -> u64 {
        self.ahead.min(self.due.saturating_sub(self.expired))
    }

    /// The numbers of one request. `due` was counted up to its limit plus one. `expiring_before` counts living grants whose
    /// access token expires in the half-open range from the first time to the second.
    ///
    /// # Errors
    /// Those of `expiring_before`.
    pub(super) fn of<E>(
        ask: &BacklogRequest,
        due: u64,
        expiring_before: impl Fn(UnixTime, UnixTime) -> Result<u64, E>,
    ) -> Result<Self, E> {
        let (or_more, due) = (due > ask.limit, due.min(ask.limit));
        let first_living = UnixTime(ask.now.0.saturating_add(1));
        let expired = expiring_before(UnixTime(i64::MIN), first_living)?.min(ask.limit);
        let ahead = match ask.ahead_of {
            None => 0,
            Some(expires_at) if expires_at > ask.now => expiring_before(first_living, expires_at)?.min(due),
            Some(expires_at) => {
                let older = expiring_before(UnixTime(i64::MIN), expires_at)?;
                due.saturating_sub(expired).saturating_add(older).min(due)
            }
        };
        Ok(Self { due, or_more, expired, ahead })
    }
}
