//! A consent, from the first click to the kept grant: begin -> URL; finish(code, state) -> kept grant.
//! Beside it the other ways in: logins that somebody waits for, the device grant, and grants taken over.
//!
//! Nothing is remembered between the two but what the browser brings back, sealed: a restart, or another process with
//! the same key, can finish what this one began.

mod device;
mod hook;
mod logins;
mod redeemed;
mod space;
mod takeover;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::domain::grant::Grant;
use crate::domain::grant::Tokens;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::picture::Picture;
use crate::domain::schedule::Policy;
use crate::domain::secret::Secret;
use crate::domain::ticket::LoginId;
use crate::domain::ticket::PATIENCE;
use crate::domain::ticket::Ticket;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Fact;
use crate::domain::verdict::Issued;
use crate::store::Saved;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::tasks::Wake;
use crate::tokens::LiveView;
pub use crate::webex::NotAdded;
use crate::webex::OWN_ACCESSES;
use crate::webex::Owner;
pub use crate::webex::Space;
use crate::webex::Unknown;
use crate::webex::WIDGET;
use crate::webex::Webex;
pub use crate::webex::Widget;

use crate::consent::device::DEVICES;
pub use crate::consent::device::DeviceLogin;
pub use crate::consent::hook::Hook;
pub use crate::consent::hook::Hooked;
pub use crate::consent::logins::Login;
pub use crate::consent::logins::LoginState;
use crate::consent::logins::Logins;
use crate::consent::redeemed::Redeemed;
use crate::consent::space::Guests;
pub use crate::consent::space::Invitation;
use crate::consent::takeover::Held;
pub use crate::consent::takeover::Offered;
pub use crate::consent::takeover::TakeOverError;
pub use crate::consent::takeover::Taken;

/// Exchanges under way at once. Each comes from a browser that Webex sent back, so more are no honest crowd.
const EXCHANGES: usize = 64;

/// Binds a sealed ticket to its use.
const PLACE: &str = "ticket";

/// A code is spent by the time Webex is asked whose it is; a hiccup there must not waste the person's consent.
const ASK_AGAIN: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1500), Duration::from_secs(4)];

/// Nor must a hiccup of the store.
const KEEP_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// The consents of one integration.
pub struct Consents {
    webex: Arc<Webex>,
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    policy: Policy,
    clock: Arc<dyn Clock>,
    view: Arc<LiveView>,
    wake: Wake,
    redeemed: Redeemed,
    exchanges: Semaphore,
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
    /// Webex cannot be reached, or is in trouble. The same link may work a moment later.
    #[error("Webex cannot be reached: {why}")]
    Unreachable {
        /// Fit for people.
        why: String,
        /// To quote to Webex.
        tracking_id: Option<String>,
    },
    /// Too many at once.
    #[error("too many consents are being finished at this moment")]
    Crowded,
    /// The grant could not be kept.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The system has no random bytes, or sealing failed.
    #[error("no ticket can be made")]
    NoTicket,
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
            redeemed: Redeemed::default(),
            exchanges: Semaphore::new(EXCHANGES),
            logins: Logins::default(),
            devices: Arc::new(Semaphore::new(DEVICES)),
            held: Held::default(),
            guests: None,
        }
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

    /// Finishes a consent with what the browser brought back. Must run to its end even if the browser leaves: a code
    /// works once.
    ///
    /// # Errors
    /// [`ConsentError`] says what stood in the way; nothing is kept then.
    pub async fn finish(
        &self,
        code: Secret,
        state: Secret,
        sealed: Option<&str>,
    ) -> Result<Granted, ConsentError> {
        let _exchange = self.exchanges.try_acquire().map_err(|_| ConsentError::Crowded)?;
        let now = self.clock.now();
        let ticket = sealed.and_then(|text| self.open(text)).filter(|ticket| ticket.admits(&state, now));
        let ticket = ticket.ok_or(ConsentError::Stale)?;
        if !self.redeemed.redeem(&state, ticket.deadline(), now) {
            return Err(ConsentError::Stale);
        }
        let finished = self.exchange(&code, &ticket).await;
        if matches!(finished, Err(ConsentError::Unreachable { .. })) {
            self.redeemed.give_back(&state, ticket.deadline());
        }
        if let Some(login) = ticket.login() {
            self.tell(login, &finished);
        }
        finished
    }

    fn announce(&self, granted: &Granted) {
        let (person, id, until) = (&granted.person, &granted.person.id, granted.expires_at);
        let what = match granted.saved {
            Saved::New => "consent kept, a new person",
            Saved::Replaced => "consent kept, in the place of an older one",
            Saved::Older => "consent put aside, a newer one stays",
        };
        log::info!("{person}: {what}, id {id}, expires {until}");
        let missing: Vec<&str> = self
            .scopes()
            .iter()
            .filter(|scope| !granted.scopes.contains(scope))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            log::warn!("{person}: asked for but not granted: {}", missing.join(" "));
        }
    }

    async fn exchange(&self, code: &Secret, ticket: &Ticket) -> Result<Granted, ConsentError> {
        let reply = self.webex.exchange(code, ticket.verifier()).await;
        let tracking_id = reply.tracking_id;
        let issued = match reply.fact {
            Fact::Granted(issued) => issued,
            Fact::Refused { status: 408 | 423 | 429 | 500.., shown: why, .. }
            | Fact::Unreadable(why)
            | Fact::Unreachable(why) => {
                return Err(ConsentError::Unreachable { why, tracking_id });
            }
            Fact::Refused { shown: why, .. } => return Err(ConsentError::Refused { why, tracking_id }),
        };
        self.keep(issued, reply.sent_at, tracking_id).await
    }

    /// The code is spent: from here on only a definite no ends it.
    async fn keep(
        &self,
        issued: Issued,
        sent_at: UnixTime,
        tracking_id: Option<String>,
    ) -> Result<Granted, ConsentError> {
        let owner = self.whose(&issued.access_token).await.map_err(|unknown| ConsentError::Refused {
            why: format!("people/me: {}", unknown.why),
            tracking_id: unknown.tracking_id,
        })?;
        let Owner { person, picture, .. } = owner;
        let no_refresh_token =
            || ConsentError::Refused { why: "the answer has no refresh token".to_owned(), tracking_id };
        let tokens = Tokens::first(issued, sent_at).ok_or_else(no_refresh_token)?;
        let expires_at = tokens.expires_at;
        let lasts_until = tokens.refresh_token_expires_at.unwrap_or(expires_at).max(expires_at);
        let granted =
            tokens.scope.as_deref().map(|scope| scope.split_whitespace().map(str::to_owned).collect());
        let saved = self.save(person.clone(), tokens, sent_at).await?;
        let scopes = granted.unwrap_or_else(|| self.scopes().to_vec());
        let granted =
            Granted { person, scopes, obtained_at: sent_at, expires_at, lasts_until, picture, saved };
        self.announce(&granted);
        Ok(granted)
    }

    /// The newest grant of a person wins, as the store decides.
    async fn save(&self, person: Person, tokens: Tokens, sent_at: UnixTime) -> Result<Saved, StoreError> {
        let id = person.id.clone();
        let grant = Grant::consented(person, tokens, sent_at, &self.policy, self.clock.now());
        let mut saved = self.store.save_consent(grant.clone()).await;
        for pause in KEEP_AGAIN {
            let Err(why) = &saved else { break };
            log::log!(why.level(), "{id}: the consent cannot be kept yet: {why}");
            sleep(pause).await;
            saved = self.store.save_consent(grant.clone()).await;
        }
        // What changed nothing is no news: a claim of the person's that waits is given up for it.
        if let Ok(Saved::New | Saved::Replaced) = saved {
            self.view.publish(&id);
        }
        self.wake.nudge();
        saved
    }

    async fn whose(&self, access_token: &Secret) -> Result<Owner, Unknown> {
        for pause in ASK_AGAIN {
            match self.webex.me(access_token).await {
                Err(unknown) if unknown.transient => sleep(pause).await,
                answer => return answer,
            }
        }
        self.webex.me(access_token).await
    }

    fn open(&self, sealed: &str) -> Option<Ticket> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        Ticket::from_text(&self.sealer.open(&bytes, PLACE).ok()?)
    }
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
