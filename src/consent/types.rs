//! A started consent, a stored one, and why a consent was not stored.

use std::time::Duration;

use crate::domain::avatar::AvatarUrl;
use crate::domain::code_exchange_limits::Hold;
use crate::domain::person::Person;
use crate::domain::time::UnixTime;
use crate::domain::verdict::client_refused;
use crate::store::Saved;
use crate::store::StoreError;

/// Maximum number of requests to Webex for one state.
pub(super) const MAX_TRIES: u32 = 3;

/// A started consent.
#[derive(Clone, Debug)]
pub struct BegunConsent {
    /// The URL that the browser opens.
    pub url: String,
    /// Tells the ticket from those of other tabs: the first characters of its state.
    pub name: String,
    /// The sealed ticket, which the browser may carry.
    pub sealed: String,
    /// How long the browser should keep the ticket.
    pub keep: Duration,
}

/// A stored consent.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The person who consented.
    pub person: Person,
    /// The granted scopes if Webex reported them, otherwise the requested ones.
    pub scopes: Vec<String>,
    /// When the person consented.
    pub obtained_at: UnixTime,
    /// When the access token expires.
    pub expires_at: UnixTime,
    /// When the access ends without further refreshes: with the refresh token, as far as Webex reports it,
    /// and never before the access token.
    pub lasts_until: UnixTime,
    /// The person's picture.
    pub picture: Option<AvatarUrl>,
    /// Whether the person was stored before.
    pub saved: Saved,
    /// Whether the browser returned with the same state again, and an earlier request stored the consent.
    pub is_repeated: bool,
}

/// Why a consent was not stored. Nothing was changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsentError {
    /// The ticket is missing, belongs to another browser, has expired, or was used before.
    #[error("this consent was not started in this browser, took too long, or was finished already")]
    Stale,
    /// Webex rejects the code, or its response is unusable.
    #[error("Webex did not accept it: {why}")]
    Refused {
        /// An explanation for people.
        why: String,
        /// The tracking id of Webex's response.
        tracking_id: Option<String>,
    },
    /// Webex rejects the client id or secret. Only the operator can fix this.
    #[error("{}", client_refused(why))]
    ClientRefused {
        /// An explanation for people.
        why: String,
        /// The tracking id of Webex's response.
        tracking_id: Option<String>,
    },
    /// Webex cannot be reached, or has an outage. The same link may work a moment later.
    #[error("Webex cannot be reached: {why}")]
    Unreachable {
        /// An explanation for people.
        why: String,
        /// The tracking id of Webex's response.
        tracking_id: Option<String>,
    },
    /// Webex asks to wait. The same link may work afterwards.
    #[error("Webex asks to wait for {wait:?}: {why}")]
    Busy {
        /// How long to wait.
        wait: Duration,
        /// An explanation for people.
        why: String,
        /// The tracking id of Webex's response.
        tracking_id: Option<String>,
    },
    /// Webex was asked several times without a final answer. This code is not tried again.
    #[error("no usable answer from Webex in {MAX_TRIES} attempts: {why}")]
    GivenUp {
        /// An explanation for people.
        why: String,
        /// The tracking id of Webex's response.
        tracking_id: Option<String>,
    },
    /// Too many codes wait for their exchange, or were rejected. The same link may work later.
    #[error("too many code exchanges are waiting or have failed")]
    TooMany {
        /// How long to wait before another try.
        wait: Duration,
    },
    /// The allow list does not contain the person. The tokens are dropped.
    #[error(
        "{0} may not consent here: TOKEND_ALLOW names neither the address nor its domain nor the organization"
    )]
    NotAllowed(Person),
    /// The limit of pending logins is reached.
    #[error("too many logins are pending")]
    Crowded,
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system has no random bytes, or sealing failed.
    #[error("cannot create a ticket")]
    NoTicket,
}

impl From<Hold> for ConsentError {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Asked(wait) => {
                Self::Busy { wait, why: "no request was sent in the meantime".to_owned(), tracking_id: None }
            }
            Hold::Crowded(wait) => Self::TooMany { wait },
        }
    }
}

/// The log message about a person that the allow list does not contain.
#[must_use]
pub fn not_listed(person: &Person) -> String {
    let (id, organization) = (&person.id, person.org_id.as_deref().unwrap_or("unknown"));
    format!(
        "{person}: signed in at Webex, but TOKEND_ALLOW does not list this person: nothing was stored, id {id}, \
         organization {organization}"
    )
}
