//! Why a request of the API is refused, in the API's words. The statuses are in `respond`.

use std::time::Duration;

use crate::consent::ConsentError;
use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::http::body::BodyError;
use crate::refresh::NoToken;
use crate::tokens::StoreError;

/// When Webex is worth asking again, if it does not say.
const WEBEX_RETRY: Duration = Duration::from_secs(30);

/// A refusal, with what a person needs to know to do better.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No key, or one that opens nothing.
    Unauthorized(&'static str),
    /// The key is good, but not for this.
    Forbidden(String),
    /// Nobody of this name is kept.
    UnknownPerson,
    /// Several persons have this address.
    AmbiguousPerson(Vec<PersonId>),
    /// There is nothing at this address.
    NotFound(String),
    /// There is something, but it does not do that; the methods it does.
    MethodNotAllowed(String),
    /// Only the person can help.
    ConsentNeeded {
        /// Where.
        consent_url: String,
    },
    /// Something of the request does not fit.
    BadRequest(String),
    /// A body that is not JSON.
    NotJson,
    /// What is to be made is there already.
    Taken(String),
    /// The body could not be taken.
    Body(BodyError),
    /// Too many wrong keys from one address.
    TooMany {
        /// When the next one is looked at.
        retry_after: Duration,
    },
    /// The key has caused as many refreshes as one key may.
    OverBudget {
        /// When it may cause the next one.
        retry_after: Duration,
    },
    /// No live token, and Webex gives none at present.
    WebexUnavailable {
        /// Fit for people.
        why: String,
        /// When it is worth asking again.
        retry_after: Duration,
    },
    /// Webex says no to us, not to the asker.
    WebexRefused(String),
    /// Too much is under way already.
    Crowded(&'static str),
    /// The store cannot say or keep it. The log says why.
    StoreUnavailable,
    /// A mistake of ours.
    Broken,
}

impl Refusal {
    /// The store's trouble: its words name files, which are the operator's business.
    pub(super) fn store(why: &StoreError) -> Self {
        log::log!(why.level(), "a request could not be answered: {why}");
        Self::StoreUnavailable
    }

    /// `consent_url` is asked for only when it is needed.
    pub(super) fn no_token(why: NoToken, consent_url: impl FnOnce(&Grant) -> String) -> Self {
        match why {
            NoToken::UnknownPerson => Self::UnknownPerson,
            NoToken::ConsentNeeded(grant) => Self::ConsentNeeded { consent_url: consent_url(&grant) },
            NoToken::Unavailable { why, retry_after } => Self::WebexUnavailable { why, retry_after },
            NoToken::Store(why) => Self::store(&why),
        }
    }

    /// Why a consent could not even begin.
    pub(super) fn no_consent(why: ConsentError) -> Self {
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
                Self::Crowded("Too many logins wait for their end.")
            }
            ConsentError::Store(why) => Self::store(&why),
            ConsentError::Stale | ConsentError::NoTicket | ConsentError::NotAllowed(_) => {
                log::error!("a login cannot begin: {why}");
                Self::Broken
            }
        }
    }
}
