//! The client: consent URLs, the exchange of codes, refreshes, and `people/me`.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::secret::Secret;
use crate::domain::ticket::Ticket;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::TokenReply;
use crate::domain::verdict::TokenResponse;
use crate::domain::verdict::Verdict;
use crate::webex::owner::OwnerUnknown;
use crate::webex::owner::TokenOwner;
use crate::webex::transport::HttpTransport;
use crate::webex::transport::Payload;
use crate::webex::transport::PingResponse;
use crate::webex::transport::RawResponse;
use crate::webex::transport::ResponseError;
use crate::webex::transport::Transport;
use crate::webex::transport::WebexRequest;
use crate::webex::wire;

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
    pub(super) integration: Integration,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The page where a person sees and revokes the access of programs to their Webex account (webex-api,
/// "Introspection, listing, revocation": "Users").
pub const REVOKE_URL: &str = "https://idbroker.webex.com/idb/profile#/tokens";

/// Replaces the refresh token in a request that only tests the client id and secret.
const NO_TOKEN: &str = "no-refresh-token-only-the-client-is-tried";

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

    pub(super) async fn call(&self, path: &str, payload: Payload) -> Result<RawResponse, ResponseError> {
        let url = Secret::new(format!("{}{path}", self.integration.base));
        self.transport.send(WebexRequest { url, payload }).await
    }

    pub(super) async fn send_token_request(&self, path: &str, payload: Payload) -> TokenReply {
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
