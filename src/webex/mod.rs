//! The client for Webex: the only module that knows its URLs, parameters and JSON.
//!
//! [`Webex`] uses domain types. Below it, [`transport`] sends single requests and knows nothing about OAuth,
//! and [`wire`] parses the responses. A simulator can replace the transport.

mod avatar;
mod device;
mod messages;
mod proxy;
mod space;
pub mod transport;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::avatar::AvatarUrl;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::ticket::Ticket;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::TokenReply;
use crate::domain::verdict::TokenResponse;
use crate::domain::verdict::Verdict;
pub use crate::webex::device::DeviceCode;
pub use crate::webex::device::DevicePoll;
pub use crate::webex::device::DevicePollResult;
pub use crate::webex::messages::MessageRecipient;
pub use crate::webex::messages::MessageRefused;
pub use crate::webex::proxy::Proxy;
pub use crate::webex::space::NotAdded;
pub use crate::webex::space::Space;
pub use crate::webex::space::SpaceWidget;
pub use crate::webex::space::WIDGET;
use crate::webex::transport::HttpTransport;
use crate::webex::transport::Payload;
use crate::webex::transport::PingResponse;
use crate::webex::transport::RawResponse;
use crate::webex::transport::ResponseError;
use crate::webex::transport::Transport;
use crate::webex::transport::WebexRequest;

/// The registered integration, and the base URL of Webex.
#[derive(Clone, Debug)]
pub struct Integration {
    /// The client id. It is public and is part of every consent URL.
    pub client_id: String,
    /// The client secret. It is sent to Webex in request bodies only.
    pub client_secret: Secret,
    /// The redirect URI, exactly as registered.
    pub redirect_uri: String,
    /// The scopes that consents request.
    pub scopes: Vec<String>,
    /// The base URL without a trailing slash: `https://webexapis.com/v1`.
    pub base: String,
}

/// The client for Webex of one integration.
pub struct Webex {
    integration: Integration,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

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

/// The page where a person sees and revokes the access of programs to their Webex account (webex-api,
/// "Introspection, listing, revocation": "Users").
pub const REVOKE_URL: &str = "https://idbroker.webex.com/idb/profile#/tokens";

/// Replaces the refresh token in a request that only tests the client id and secret.
const NO_TOKEN: &str = "no-refresh-token-only-the-client-is-tried";

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

/// Requests `people/me` of Webex at `base` without a token. Status 401 shows that Webex is there.
///
/// # Errors
/// When there is no response.
pub async fn ping(base: &str, transport: &HttpTransport) -> Result<PingResponse, ResponseError> {
    transport.ping(&format!("{base}/people/me")).await
}

impl Webex {
    /// A client for `integration` that sends its requests through `transport`.
    #[must_use]
    pub fn new(integration: Integration, transport: Arc<dyn Transport>, clock: Arc<dyn Clock>) -> Self {
        Self { integration, transport, clock }
    }

    /// The registered integration.
    #[must_use]
    pub fn integration(&self) -> &Integration {
        &self.integration
    }

    /// The daemon's URL where this person consents again.
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

    /// The Webex URL where a consent starts (RFC 6749, 4.1.1, with PKCE, RFC 7636). `hint` preselects the
    /// account.
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
        // `+` for a space is form encoding; in a URL's query, only `%20` is unambiguous.
        format!("{}/authorize?{}", self.integration.base, query.finish().replace('+', "%20"))
    }

    /// Exchanges a code for tokens (RFC 6749, 4.1.3).
    pub async fn exchange(&self, code: &Secret, verifier: &Secret) -> TokenReply {
        let redirect_uri = Secret::new(self.integration.redirect_uri.clone());
        let grant = [
            ("grant_type", Secret::new("authorization_code".to_owned())),
            ("code", code.clone()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.clone()),
        ];
        self.token_request(grant.to_vec()).await
    }

    /// Refreshes an access token (RFC 6749, 6).
    pub async fn refresh(&self, refresh_token: &Secret) -> TokenReply {
        let grant = [
            ("grant_type", Secret::new("refresh_token".to_owned())),
            ("refresh_token", refresh_token.clone()),
        ];
        self.token_request(grant.to_vec()).await
    }

    /// Whether Webex accepts the client id and secret. Sends a refresh request with an invalid token, so
    /// nothing changes.
    pub async fn check_client(&self) -> ClientVerdict {
        Verdict::client_verdict(self.refresh(&Secret::new(NO_TOKEN.to_owned())).await.fact)
    }

    /// The client id and secret are sent in the body, as all public samples do (webex-api, "Endpoints").
    async fn token_request(&self, mut form: Vec<(&'static str, Secret)>) -> TokenReply {
        form.push(("client_id", Secret::new(self.integration.client_id.clone())));
        form.push(("client_secret", self.integration.client_secret.clone()));
        self.send_token_request("/access_token", Payload::Form(form)).await
    }

    async fn call(&self, path: &str, payload: Payload) -> Result<RawResponse, ResponseError> {
        self.transport.send(WebexRequest { url: format!("{}{path}", self.integration.base), payload }).await
    }

    async fn send_token_request(&self, path: &str, payload: Payload) -> TokenReply {
        let sent_at = self.clock.now();
        match self.call(path, payload).await {
            Ok(raw) => {
                // If the clock was set back in the meantime, the response must not be dated into the future.
                let now = self.clock.now();
                wire::token_reply(&raw, sent_at.min(now), now)
            }
            Err(why) => TokenReply {
                sent_at,
                tracking_id: None,
                retry_after: None,
                fact: TokenResponse::Unreachable(why.to_string()),
            },
        }
    }

    /// The owner of an access token.
    ///
    /// # Errors
    /// [`OwnerUnknown`] when Webex does not report the owner.
    pub async fn people_me(&self, access_token: &Secret) -> Result<TokenOwner, OwnerUnknown> {
        match self.call("/people/me", Payload::Bearer(access_token.clone())).await {
            Ok(raw) => wire::owner(&raw, &self.integration.base).map_err(|unknown| {
                let wait = |text: &String| wire::retry_after(text, self.clock.now());
                OwnerUnknown { retry_after: raw.retry_after.as_ref().and_then(wait), ..unknown }
            }),
            Err(why) => Err(OwnerUnknown { transient: true, ..OwnerUnknown::permanent(why.to_string()) }),
        }
    }
}
