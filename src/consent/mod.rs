//! Consents, from the first click to the stored grant: begin -> URL; finish(code, state) -> stored grant.
//! Also logins that a command waits for, the device grant, and the import of grants.
//!
//! Between the two steps the only state is a sealed ticket that the browser carries. So a restarted process,
//! or another one with the same key, can finish a consent.

mod device;
mod exchange_gate;
mod finish;
mod import;
mod logins;
mod scopes;
mod space;
mod test_hook;
mod used_states;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::domain::allow::AllowList;
use crate::domain::avatar::AvatarUrl;
use crate::domain::exchanges::Hold;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::schedule::Policy;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::TICKET_TTL;
use crate::domain::ticket::Ticket;
use crate::domain::time::UnixTime;
use crate::domain::verdict::client_refused;
use crate::grant_cache::GrantCache;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::tasks::Wake;
pub use crate::webex::NotAdded;
use crate::webex::REVOKE_URL;
pub use crate::webex::Space;
pub use crate::webex::SpaceWidget;
use crate::webex::WIDGET;
use crate::webex::Webex;

pub use crate::consent::device::DeviceLogin;
use crate::consent::device::MAX_DEVICE_LOGINS;
use crate::consent::exchange_gate::ExchangeGate;
pub use crate::consent::import::ImportError;
pub use crate::consent::import::ImportRequest;
pub use crate::consent::import::ImportedGrant;
use crate::consent::import::RotatedTokens;
pub use crate::consent::logins::LoginRecord;
pub use crate::consent::logins::LoginState;
use crate::consent::logins::Logins;
pub use crate::consent::space::SpaceCookie;
use crate::consent::space::SpaceMembers;
pub use crate::consent::test_hook::TestHook;
pub use crate::consent::test_hook::TestHookError;
use crate::consent::used_states::MAX_TRIES;
use crate::consent::used_states::UsedStates;
pub use crate::webex::wire::show as shown;

/// Binds a sealed ticket to its purpose.
const PLACE: &str = "ticket";

/// The consents of one integration.
pub struct ConsentService {
    webex: Arc<Webex>,
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    view: Arc<GrantCache>,
    wake: Wake,
    used_states: UsedStates,
    exchanges: ExchangeGate,
    allow: Option<AllowList>,
    logins: Logins,
    devices: Arc<Semaphore>,
    held: RotatedTokens,
    members: Option<SpaceMembers>,
}

/// What the consent service is built from.
pub struct ConsentServiceParts {
    /// The client for Webex.
    pub webex: Arc<Webex>,
    /// Stores the grants.
    pub store: Arc<dyn Store>,
    /// Seals tickets.
    pub sealer: Arc<Sealer>,
    /// Plans the first refresh of a grant.
    pub policy: Policy,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Notified when a grant was stored.
    pub view: Arc<GrantCache>,
    /// Wakes the event loop when a grant was stored.
    pub wake: Wake,
}

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

/// Number of characters of the state that name a ticket: enough to tell a browser's tabs apart.
const NAME_LEN: usize = 12;

impl ConsentService {
    /// Builds the service without limits, an allow list or a space.
    #[must_use]
    pub fn new(parts: ConsentServiceParts) -> Self {
        Self {
            webex: parts.webex,
            store: parts.store,
            sealer: parts.sealer,
            policy: parts.policy,
            clock: parts.clock,
            view: parts.view,
            wake: parts.wake,
            used_states: UsedStates::default(),
            exchanges: ExchangeGate::new(None),
            allow: None,
            logins: Logins::default(),
            devices: Arc::new(Semaphore::new(MAX_DEVICE_LOGINS)),
            held: RotatedTokens::default(),
            members: None,
        }
    }

    /// Accepts only the persons of `allow`; `None` accepts every person.
    #[must_use]
    pub fn for_persons(self, allow: Option<AllowList>) -> Self {
        Self { allow, ..self }
    }

    /// Keeps failing code exchanges well below `per_second`, the rate limit of refreshes. `None`: no limit.
    #[must_use]
    pub fn with_refresh_pause(self, per_second: Option<f64>) -> Self {
        Self { exchanges: ExchangeGate::new(per_second), ..self }
    }

    /// The scopes that consents request.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.webex.integration().scopes
    }

    /// The Webex page where a person revokes a consent.
    #[must_use]
    pub fn revoke_at(&self) -> &'static str {
        REVOKE_URL
    }

    /// Webex's Space widget.
    #[must_use]
    pub fn widget(&self) -> &'static SpaceWidget {
        &WIDGET
    }

    /// Starts a consent; `hint` preselects the account at Webex.
    ///
    /// # Errors
    /// [`ConsentError::NoTicket`] if the system has no random bytes.
    pub fn begin(&self, hint: Option<&Email>) -> Result<BegunConsent, ConsentError> {
        self.begin_with(hint, None)
    }

    fn begin_with(&self, hint: Option<&Email>, login: Option<LoginId>) -> Result<BegunConsent, ConsentError> {
        let ticket = Ticket::new(random_token()?, random_token()?, self.clock.now());
        let ticket = match login {
            Some(login) => ticket.for_login(login),
            None => ticket,
        };
        let sealed = self.sealer.seal(&ticket.to_text(), PLACE).map_err(|_| ConsentError::NoTicket)?;
        Ok(BegunConsent {
            url: self.webex.authorize_url(&ticket, hint),
            name: cookie_suffix(ticket.state()),
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            keep: TICKET_TTL,
        })
    }

    fn open(&self, sealed: &str) -> Option<Ticket> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Ticket::from_text(&self.sealer.open(&bytes, PLACE).ok()?)
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

/// The short name of the ticket with this state.
#[must_use]
pub fn cookie_suffix(state: &Secret) -> String {
    state
        .expose()
        .chars()
        .take(NAME_LEN)
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

fn random_token<const N: usize>() -> Result<[u8; N], ConsentError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ConsentError::NoTicket)?;
    Ok(bytes)
}
