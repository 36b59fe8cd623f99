//! The errors of the API. The module `error_response` maps them to statuses.

use std::time::Duration;

use crate::consent::ConsentError;
use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::grant_cache::StoreError;
use crate::http::request::request_body::BodyError;
use crate::refresh::TokenError;

/// `Retry-After` if Webex does not give one.
pub(in crate::http) const WEBEX_RETRY: Duration = Duration::from_secs(30);

/// An error of the API, with what the caller needs to correct the request.
#[derive(Debug)]
pub(in crate::http) enum ApiError {
    /// There is no API key, or an invalid one.
    Unauthorized(&'static str),
    /// The key is valid, but does not allow this.
    Forbidden(String),
    /// No grant of this person is stored. Holds the id or address of the request, shortened and without control
    /// characters.
    UnknownPerson(String),
    /// Several persons have this address.
    AmbiguousPerson(Vec<PersonId>),
    /// The path or what it names does not exist.
    NotFound(String),
    /// The path exists, but does not support the method. Holds the methods that it supports.
    MethodNotAllowed(String),
    /// Only the person can resolve this, by a new consent.
    ConsentNeeded {
        /// Where the person consents.
        consent_url: String,
    },
    /// The request is invalid.
    BadRequest(String),
    /// The body is not JSON.
    NotJson,
    /// What should be created exists already, or a limit is reached.
    Taken(String),
    /// The body could not be read.
    Body(BodyError),
    /// Too many invalid keys were sent from one address.
    TooMany {
        /// When the next key is checked.
        retry_after: Duration,
    },
    /// The key has used up its refresh budget.
    OverBudget {
        /// When the key may cause the next refresh.
        retry_after: Duration,
    },
    /// There is no live token, and Webex does not issue one at present.
    WebexUnavailable {
        /// The reason, in a sentence for people.
        why: String,
        /// When a retry makes sense.
        retry_after: Duration,
    },
    /// Webex rejects this service, not the caller.
    WebexRefused(String),
    /// A limit on concurrent work is reached.
    Crowded(&'static str),
    /// The store cannot be read or written. The log has the reason.
    StoreUnavailable,
    /// A defect of the daemon.
    Broken,
}

impl From<StoreError> for ApiError {
    /// Logs the store's error. The response does not contain it, because it names files.
    fn from(why: StoreError) -> Self {
        log::log!(why.log_level(), "a request failed: {why}");
        Self::StoreUnavailable
    }
}

impl ApiError {
    /// Calls `consent_url` only if it is needed.
    pub(in crate::http) fn from_token_error(
        why: TokenError,
        person: &PersonId,
        consent_url: impl FnOnce(&Grant) -> String,
    ) -> Self {
        match why {
            TokenError::UnknownPerson => Self::UnknownPerson(person.to_string()),
            TokenError::ConsentNeeded(grant) => Self::ConsentNeeded { consent_url: consent_url(&grant) },
            TokenError::Unavailable { why, retry_after } => Self::WebexUnavailable { why, retry_after },
            TokenError::Store(why) => Self::from(why),
        }
    }

    /// The error for a consent that cannot begin.
    pub(in crate::http) fn from_consent_error(why: ConsentError) -> Self {
        match why {
            ConsentError::Unreachable { .. } => {
                Self::WebexUnavailable { why: format!("{why}."), retry_after: WEBEX_RETRY }
            }
            ConsentError::Busy { wait, .. } => {
                Self::WebexUnavailable { why: format!("{why}."), retry_after: wait }
            }
            ConsentError::Refused { .. }
            | ConsentError::ClientRefused { .. }
            | ConsentError::GivenUp { .. } => Self::WebexRefused(format!("{why}.")),
            ConsentError::Crowded | ConsentError::TooMany { .. } => {
                Self::Crowded("Too many logins are pending.")
            }
            ConsentError::Store(why) => Self::from(why),
            ConsentError::Stale | ConsentError::NoTicket | ConsentError::NotAllowed(_) => {
                log::error!("cannot begin a login: {why}");
                Self::Broken
            }
        }
    }
}
