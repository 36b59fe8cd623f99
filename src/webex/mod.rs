//! What Webex says: the only place that knows its addresses, parameters and JSON.
//!
//! [`Webex`] speaks in domain types; below it, [`transport`] carries one call and knows nothing of OAuth, and
//! [`wire`] reads what came back. A simulator can stand in the transport's place.

mod device;
mod picture;
mod proxy;
mod space;
pub mod transport;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::picture::Picture;
use crate::domain::secret::Secret;
use crate::domain::ticket::Ticket;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::Fact;
use crate::domain::verdict::Reply;
use crate::domain::verdict::Verdict;
pub use crate::webex::device::DeviceCode;
pub use crate::webex::device::Poll;
pub use crate::webex::device::Polled;
pub use crate::webex::proxy::Proxy;
pub use crate::webex::space::NotAdded;
pub use crate::webex::space::Space;
pub use crate::webex::space::WIDGET;
pub use crate::webex::space::Widget;
use crate::webex::transport::Call;
use crate::webex::transport::HttpTransport;
use crate::webex::transport::Knocked;
use crate::webex::transport::NoAnswer;
use crate::webex::transport::Payload;
use crate::webex::transport::Raw;
use crate::webex::transport::Transport;

/// What the operator registered at Webex, and where Webex is.
#[derive(Clone, Debug)]
pub struct Integration {
    /// Public; every URL of a consent carries it.
    pub client_id: String,
    /// Goes into request bodies to Webex only.
    pub client_secret: Secret,
    /// As registered, to the letter.
    pub redirect_uri: String,
    /// Asked for at consent.
    pub scopes: Vec<String>,
    /// Without a slash at its end: `https://webexapis.com/v1`.
    pub base: String,
}

/// Webex as this integration meets it.
pub struct Webex {
    integration: Integration,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

/// What `people/me` says of the owner of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub person: Person,
    /// What kind of account it is.
    pub kind: Kind,
    /// Their picture, if it lies with Webex.
    pub picture: Option<Picture>,
}

/// Where a person sees which programs have access to their Webex account, and takes it back (webex-api,
/// "Introspection, listing, revocation": "Users").
pub const OWN_ACCESSES: &str = "https://idbroker.webex.com/idb/profile#/tokens";

/// Stands in a refresh token's place where only the client is to be tried.
const NO_TOKEN: &str = "no-refresh-token-only-the-client-is-tried";

/// The kinds of account that own tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A human being, or whatever else can consent.
    Person,
    /// A bot: its token lives for ever, and cannot be refreshed.
    Bot,
    /// A guest (`appuser`): its token is made by an application and cannot be refreshed.
    Guest,
}

/// Why `people/me` gave nobody, or a device grant did not begin.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// Fit for people; holds no secret.
    pub why: String,
    /// Webex's name for the call.
    pub tracking_id: Option<String>,
    /// It may go better at once.
    pub transient: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// How long Webex asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl Unknown {
    /// For this reason, of which nothing else is known.
    pub(crate) fn because(why: String) -> Self {
        Self { why, tracking_id: None, transient: false, status: None, retry_after: None }
    }

    /// Whether Webex does not take the access token.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.status == Some(401) && !self.transient
    }

    /// Whether the grant's scopes do not allow the question.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        self.status == Some(403) && !self.transient
    }
}

/// Asks Webex at `base` for `people/me` without a token: a 401 says that it is there.
///
/// # Errors
/// [`NoAnswer`] when nobody answers.
pub async fn knock(base: &str, transport: &HttpTransport) -> Result<Knocked, NoAnswer> {
    transport.knock(&format!("{base}/people/me")).await
}

impl Webex {
    /// Speaks for `integration` through `transport`.
    #[must_use]
    pub fn new(integration: Integration, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { integration, transport, clock }
    }

    /// What was registered.
    #[must_use]
    pub fn integration(&self) -> &Integration {
        &self.integration
    }

    /// Where a person consents again: our own address, which asks Webex for this account.
    #[must_use]
    pub fn consent_url(&self, person: &Person) -> String {
        let base = &self.integration.redirect_uri;
        person.email.as_ref().map_or_else(
            || base.clone(),
            |email| {
                let encoded: String =
                    url::form_urlencoded::byte_serialize(email.as_str().as_bytes()).collect();
                format!("{base}?person={encoded}")
            },
        )
    }

    /// Where the browser goes to consent (RFC 6749, 4.1.1, with PKCE by RFC 7636). `hint` preselects the account.
    #[must_use]
    pub fn authorize_url(&self, ticket: &Ticket, hint: Option<&Email>) -> String {
        let scopes = self.integration.scopes.join(" ");
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("client_id", &self.integration.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &self.integration.redirect_uri)
            .append_pair("scope", &scopes)
            .append_pair("state", ticket.state().expose())
            .append_pair("code_challenge", &ticket.challenge())
            .append_pair("code_challenge_method", "S256");
        if let Some(email) = hint {
            query.append_pair("login_hint", email.as_str());
        }
        // `+` for a space is form encoding; in a URL's query `%20` is the one that everybody reads alike.
        format!("{}/authorize?{}", self.integration.base, query.finish().replace('+', "%20"))
    }

    /// Changes a code into tokens (RFC 6749, 4.1.3).
    pub async fn exchange(&self, code: &Secret, verifier: &Secret) -> Reply {
        let redirect_uri = Secret::new(self.integration.redirect_uri.clone());
        let grant = [
            ("grant_type", Secret::new("authorization_code".to_owned())),
            ("code", code.clone()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.clone()),
        ];
        self.ask_for_tokens(grant.to_vec()).await
    }

    /// Changes a refresh token into a fresh access token (RFC 6749, 6).
    pub async fn refresh(&self, refresh_token: &Secret) -> Reply {
        let grant = [
            ("grant_type", Secret::new("refresh_token".to_owned())),
            ("refresh_token", refresh_token.clone()),
        ];
        self.ask_for_tokens(grant.to_vec()).await
    }

    /// Whether Webex takes the client id and secret: asks for a refresh with a token that is none, so that nothing changes.
    pub async fn introduce(&self) -> ClientVerdict {
        Verdict::of_client(self.refresh(&Secret::new(NO_TOKEN.to_owned())).await.fact)
    }

    /// Client id and secret go into the body: what every public sample does (webex-api, "Endpoints").
    async fn ask_for_tokens(&self, mut form: Vec<(&'static str, Secret)>) -> Reply {
        form.push(("client_id", Secret::new(self.integration.client_id.clone())));
        form.push(("client_secret", self.integration.client_secret.clone()));
        self.token_call("/access_token", Payload::Form(form)).await
    }

    async fn call(&self, path: &str, payload: Payload) -> Result<Raw, NoAnswer> {
        self.transport.send(Call { url: format!("{}{path}", self.integration.base), payload }).await
    }

    async fn token_call(&self, path: &str, payload: Payload) -> Reply {
        let sent_at = self.clock.now();
        match self.call(path, payload).await {
            Ok(raw) => {
                // A clock set back meanwhile must not date the answer into the future.
                let now = self.clock.now();
                wire::token_reply(&raw, sent_at.min(now), now)
            }
            Err(why) => Reply {
                sent_at,
                tracking_id: None,
                retry_after: None,
                fact: Fact::Unreachable(why.to_string()),
            },
        }
    }

    /// Who an access token belongs to.
    ///
    /// # Errors
    /// [`Unknown`] when Webex does not say.
    pub async fn me(&self, access_token: &Secret) -> Result<Owner, Unknown> {
        match self.call("/people/me", Payload::Bearer(access_token.clone())).await {
            Ok(raw) => wire::owner(&raw, &self.integration.base).map_err(|unknown| {
                let wait = |text: &String| wire::retry_after(text, self.clock.now());
                Unknown { retry_after: raw.retry_after.as_ref().and_then(wait), ..unknown }
            }),
            Err(why) => Err(Unknown { transient: true, ..Unknown::because(why.to_string()) }),
        }
    }
}
