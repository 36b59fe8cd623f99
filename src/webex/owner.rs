//! The owner of a token, and why it is unknown.

use std::time::Duration;

use crate::domain::avatar::AvatarUrl;
use crate::domain::person::Person;

/// The owner of a token, as `people/me` reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOwner {
    /// The person.
    pub person: Person,
    /// The kind of account.
    pub kind: OwnerKind,
    /// The person's picture, if Webex hosts it.
    pub picture: Option<AvatarUrl>,
}

/// The kinds of accounts that own tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// A person, or any other account that can consent.
    Person,
    /// A bot. Its token never expires and cannot be refreshed.
    Bot,
    /// A guest (`appuser`). An application issues its token, which cannot be refreshed.
    Guest,
}

/// Why the owner of a token is unknown, or why a device grant did not start.
#[derive(Clone, Debug)]
pub struct OwnerUnknown {
    /// An explanation for people; contains no secret.
    pub why: String,
    /// The tracking id of the response.
    pub tracking_id: Option<String>,
    /// Whether the failure is temporary.
    pub transient: bool,
    /// The HTTP status, if there was a response.
    pub status: Option<u16>,
    /// How long Webex asks to wait.
    pub retry_after: Option<Duration>,
}

impl OwnerUnknown {
    /// A permanent failure without a response.
    pub(crate) fn permanent(why: String) -> Self {
        Self { why, tracking_id: None, transient: false, status: None, retry_after: None }
    }

    /// Whether Webex rejects the access token.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.status == Some(401) && !self.transient
    }

    /// Whether the grant's scopes do not allow the request.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.status == Some(403) && !self.transient
    }
}
