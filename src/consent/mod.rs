//! A consent, from the first click to the kept grant: begin -> URL; finish(code, state) -> kept grant.
//! Beside it the other ways in: logins that somebody waits for, the device grant, and grants taken over.
//!
//! Nothing is remembered between the two but what the browser brings back, sealed: a restart, or another process with
//! the same key, can finish what this one began.

mod device;
mod exchange_gate;
mod finish;
mod hook;
mod logins;
mod scopes;
mod space;
mod takeover;
mod used_states;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::domain::allow::Allow;
use crate::domain::exchanges::Hold;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::picture::Picture;
use crate::domain::schedule::Policy;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::PATIENCE;
use crate::domain::ticket::Ticket;
use crate::domain::time::UnixTime;
use crate::domain::verdict::client_refused;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::tasks::Wake;
use crate::tokens::LiveView;
pub use crate::webex::NotAdded;
use crate::webex::OWN_ACCESSES;
pub use crate::webex::Space;
use crate::webex::WIDGET;
use crate::webex::Webex;
pub use crate::webex::Widget;

use crate::consent::device::DEVICES;
pub use crate::consent::device::DeviceLogin;
use crate::consent::exchange_gate::ExchangeGate;
pub use crate::consent::hook::Hook;
pub use crate::consent::hook::Hooked;
pub use crate::consent::logins::Login;
pub use crate::consent::logins::LoginState;
use crate::consent::logins::Logins;
use crate::consent::space::Guests;
pub use crate::consent::space::Invitation;
use crate::consent::takeover::Held;
pub use crate::consent::takeover::Offered;
pub use crate::consent::takeover::TakeOverError;
pub use crate::consent::takeover::Taken;
use crate::consent::used_states::TRIES;
use crate::consent::used_states::UsedStates;
pub use crate::webex::wire::show as shown;

/// Binds a sealed ticket to its use.
const PLACE: &str = "ticket";

/// The consents of one integration.
pub struct Consents {
    webex: Arc<Webex>,
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    view: Arc<LiveView>,
    wake: Wake,
    used_states: UsedStates,
    exchanges: ExchangeGate,
    allow: Option<Allow>,
    logins: Logins,
    devices: Arc<Semaphore>,
    held: Held,
    guests: Option<Guests>,
}

/// The parts that consents are made of.
pub struct Parts {
    /// Who is asked.
    pub webex: Arc<Webex>,
    /// Where grants are kept.
    pub store: Arc<dyn Store>,
    /// Seals tickets.
    pub sealer: Arc<Sealer>,
    /// Plans a grant's first refresh.
    pub policy: Policy,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Told when a grant was kept.
    pub view: Arc<LiveView>,
    /// Nudged when a grant was kept.
    pub wake: Wake,
}

/// A consent that has begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// Names the ticket among those of other tabs; the first characters of its state.
    pub name: String,
    /// The ticket, sealed: safe to be carried by the browser.
    pub sealed: String,
    /// How long the browser should carry it.
    pub keep: Duration,
}

/// A consent that was kept.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Who consented.
    pub person: Person,
    /// What was granted, if Webex said so, else what was asked for.
    pub scopes: Vec<String>,
    /// When the grant says that it was given.
    pub obtained_at: UnixTime,
    /// When the access token dies, if nobody renews it.
    pub expires_at: UnixTime,
    /// When the access ends if nothing is renewed any more: with the refresh token, as far as Webex tells, and never
    /// before the access token.
    pub lasts_until: UnixTime,
    /// A picture of who consented.
    pub picture: Option<Picture>,
    /// Whether the person was known before.
    pub saved: Saved,
    /// Whether the browser came back again, and this was kept the first time.
    pub is_repeated: bool,
}

/// Why a consent was not kept. Nothing was changed then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsentError {
    /// No ticket, another's, an old one, or one used before.
    #[error("this consent was not begun here, took too long, or was finished already")]
    Stale,
    /// Webex refuses the code, or its answer is of no use.
    #[error("Webex did not accept it: {why}")]
    Refused {
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Webex refuses the client id or secret: only the operator can help.
    #[error("{}", client_refused(why))]
    ClientRefused {
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Webex cannot be reached, or is in trouble. The same link may work a moment later.
    #[error("Webex cannot be reached: {why}")]
    Unreachable {
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Webex asks to wait. The same link may work after that.
    #[error("Webex asks to wait for {wait:?}: {why}")]
    Busy {
        /// For how long.
        wait: Duration,
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Webex was asked several times and gave no final answer: it is not asked about this code again.
    #[error("no usable answer from Webex in {TRIES} attempts: {why}")]
    GivenUp {
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Too many codes wait to be exchanged, or were refused. The same link may work later.
    #[error("too many code exchanges are waiting or have failed")]
    TooMany {
        /// When it is worth another try.
        wait: Duration,
    },
    /// The person is not among those who may consent. What Webex gave is dropped.
    #[error(
        "{0} may not consent here: TOKEND_ALLOW names neither the address nor its domain nor the organization"
    )]
    NotAllowed(Person),
    /// Too many logins at once.
    #[error("too many logins wait for their end")]
    Crowded,
    /// The grant could not be kept.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system has no random bytes, or sealing failed.
    #[error("no ticket can be made")]
    NoTicket,
}

impl From<Hold> for ConsentError {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::Asked(wait) => {
                Self::Busy { wait, why: "it was not asked again meanwhile".to_owned(), tracking_id: None }
            }
            Hold::Crowded(wait) => Self::TooMany { wait },
        }
    }
}

/// How many characters of the state name a ticket: enough to tell a browser's tabs apart.
const NAME_LEN: usize = 12;

impl Consents {
    /// Ready to begin.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
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
            devices: Arc::new(Semaphore::new(DEVICES)),
            held: Held::default(),
            guests: None,
        }
    }

    /// The same, for the persons of `allow` alone; `None` allows every person.
    #[must_use]
    pub fn for_persons(self, allow: Option<Allow>) -> Self {
        Self { allow, ..self }
    }

    /// The same, where refreshes have this rate at most: exchanges that fail stay well below it. `None`: no limit.
    #[must_use]
    pub fn beside_refreshes(self, per_second: Option<f64>) -> Self {
        Self { exchanges: ExchangeGate::new(per_second), ..self }
    }

    /// The scopes that are asked for.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.webex.integration().scopes
    }

    /// Where a person takes back at Webex what they granted.
    #[must_use]
    pub fn revoke_at(&self) -> &'static str {
        OWN_ACCESSES
    }

    /// Webex's Space widget.
    #[must_use]
    pub fn widget(&self) -> &'static Widget {
        &WIDGET
    }

    /// Begins a consent; `hint` preselects the account at Webex.
    ///
    /// # Errors
    /// [`ConsentError::NoTicket`] if the system has no random bytes to give.
    pub fn begin(&self, hint: Option<&Email>) -> Result<Begun, ConsentError> {
        self.begin_with(hint, None)
    }

    fn begin_with(&self, hint: Option<&Email>, login: Option<LoginId>) -> Result<Begun, ConsentError> {
        let ticket = Ticket::new(random()?, random()?, self.clock.now());
        let ticket = match login {
            Some(login) => ticket.for_login(login),
            None => ticket,
        };
        let sealed = self.sealer.seal(&ticket.to_text(), PLACE).map_err(|_| ConsentError::NoTicket)?;
        Ok(Begun {
            url: self.webex.authorize_url(&ticket, hint),
            name: name_of(ticket.state()),
            sealed: URL_SAFE_NO_PAD.encode(sealed),
            keep: PATIENCE,
        })
    }

    fn open(&self, sealed: &str) -> Option<Ticket> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Ticket::from_text(&self.sealer.open(&bytes, PLACE).ok()?)
    }
}

/// What the log tells of a person who is not among those who may consent.
#[must_use]
pub fn not_listed(person: &Person) -> String {
    let (id, organization) = (&person.id, person.org_id.as_deref().unwrap_or("unknown"));
    format!(
        "{person}: signed in at Webex, but TOKEND_ALLOW does not list this person: nothing was stored, id {id}, \
         organization {organization}"
    )
}

/// The name of the ticket whose state this is.
#[must_use]
pub fn name_of(state: &Secret) -> String {
    state
        .expose()
        .chars()
        .take(NAME_LEN)
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

fn random<const N: usize>() -> Result<[u8; N], ConsentError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| ConsentError::NoTicket)?;
    Ok(bytes)
}
