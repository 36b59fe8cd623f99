//! A table of what each reply of Webex's token endpoint means for a grant.

use std::fmt;
use std::time::Duration;

use strum::EnumString;
use strum::IntoStaticStr;
use strum::VariantArray;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// The reply to a token request, before it is interpreted.
#[derive(Clone, Debug)]
pub struct TokenReply {
    /// When the request was sent. Lifetimes count from here, so that a slow reply cannot make a token look newer.
    pub sent_at: UnixTime,
    /// Webex's tracking id of this call, for questions to Webex support.
    pub tracking_id: Option<String>,
    /// The `Retry-After` header, if it could be parsed.
    pub retry_after: Option<Duration>,
    /// The response itself.
    pub fact: TokenResponse,
}

/// The kinds of response.
#[derive(Clone, Debug)]
pub enum TokenResponse {
    /// 200 with an access token.
    Granted(TokenSet),
    /// An error status, with the error text from either of Webex's two body formats.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The whole error text. It is used only for classification and never displayed (see `shown`).
        text: String,
        /// The error text for display: short, printable, and without anything that could be a token.
        shown: String,
    },
    /// 200 without a token: HTML of a captive portal, invalid JSON, or a missing field.
    Unreadable(String),
    /// No response: the connection failed, timed out or was reset.
    Unreachable(String),
}

/// The tokens in a response. Webex may omit everything but the access token (webex-api, "Token response").
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token.
    pub access_token: Secret,
    /// The refresh token. `None`: the old one stays valid.
    pub refresh_token: Option<Secret>,
    /// Lifetime of the access token, counted from when the request was sent.
    pub expires_in: Duration,
    /// Reported lifetime of the refresh token. It is used only for warnings.
    pub refresh_token_expires_in: Option<Duration>,
    /// The token type. `None` means `Bearer`.
    pub token_type: Option<String>,
    /// The granted scopes, separated by spaces.
    pub scope: Option<String>,
}

/// What a reply means for the grant.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A new access token.
    Renewed(TokenSet),
    /// Success with the same access token, as in the no-op window.
    Unchanged(TokenSet),
    /// Webex does not renew this grant, so the person must consent again. The circuit breaker decides whether this
    /// is final.
    ConsentNeeded(String),
    /// Webex refused this grant. The refusal is not confirmed yet, so the refresh is tried again.
    Refused(String),
    /// Webex rejects our client id or secret. The operator must act, not the person.
    ClientRefused(String),
    /// The person already has as many live tokens as Webex allows.
    TokenLimit,
    /// Webex asks to wait (429).
    Busy(String),
    /// Webex asks to wait for this person only (423).
    Locked(String),
    /// A failure that may end without any action.
    Transient(String),
}

/// Whether Webex accepts the client id and secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// Webex accepts them.
    Known,
    /// Webex rejects them; with Webex's error text.
    Refused(String),
    /// The response allows no conclusion; with the reason.
    Unclear(String),
}

/// The message for operators when Webex refuses the client. `why` is Webex's reason.
#[must_use]
pub fn client_refused(why: &str) -> String {
    format!(
        "Webex refuses MY_APP_CLIENT_ID or MY_APP_SECRET_ID ({why}); compare both with the integration at \
         developer.webex.com/my-apps"
    )
}

/// The kind of a [`Verdict`], as stored, logged and returned by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// See [`Verdict::Renewed`]; a consent counts as one.
    Renewed,
    /// See [`Verdict::Unchanged`].
    Unchanged,
    /// See [`Verdict::ConsentNeeded`].
    ConsentNeeded,
    /// See [`Verdict::Refused`].
    Refused,
    /// See [`Verdict::ClientRefused`].
    ClientRefused,
    /// See [`Verdict::TokenLimit`].
    TokenLimit,
    /// See [`Verdict::Busy`] and [`Verdict::Locked`].
    Busy,
    /// See [`Verdict::Transient`].
    Transient,
}

impl Outcome {
    /// The name of the outcome.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the outcome is more likely about the grant than about Webex. A grant with such an outcome is the last choice
    /// for a probe.
    #[must_use]
    pub fn is_personal(self) -> bool {
        matches!(self, Self::ClientRefused | Self::Busy | Self::Refused | Self::TokenLimit)
    }

    /// The outcome with this name.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verdict {
    /// Interprets a response to a refresh. `held` is the access token of the grant that the refresh was sent for.
    #[must_use]
    pub fn from_response(fact: TokenResponse, held: &Secret) -> Self {
        match fact {
            TokenResponse::Granted(issued) if issued.access_token == *held => Self::Unchanged(issued),
            TokenResponse::Granted(issued) => Self::Renewed(issued),
            TokenResponse::Refused { status, text, shown } => {
                Self::from_refusal(status, &text.to_lowercase(), shown)
            }
            TokenResponse::Unreadable(why) | TokenResponse::Unreachable(why) => Self::Transient(why),
        }
    }

    /// Whether Webex accepts the client, judged by its response to a code or to a refresh token that does not exist.
    #[must_use]
    pub fn client_verdict(fact: TokenResponse) -> ClientVerdict {
        let verdict = match fact {
            TokenResponse::Granted(_) => return ClientVerdict::Known,
            TokenResponse::Refused { status, text, shown } => {
                Self::from_refusal(status, &text.to_lowercase(), shown)
            }
            TokenResponse::Unreadable(why) | TokenResponse::Unreachable(why) => Self::Transient(why),
        };
        match verdict {
            Self::ConsentNeeded(_) => ClientVerdict::Known,
            Self::ClientRefused(why) => ClientVerdict::Refused(why),
            other => ClientVerdict::Unclear(other.detail().to_owned()),
        }
    }

    /// Looks at the status first and at the text second: Webex's texts are not stable (webex-api, "Errors").
    fn from_refusal(status: u16, text: &str, shown: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match status {
            400 | 403 if says(&["tokenlimit_reached"]) => Self::TokenLimit,
            401 => Self::ClientRefused(shown),
            400 | 403 if says(&["invalid_client", "unauthorized_client", "client id is invalid"]) => {
                Self::ClientRefused(shown)
            }
            // Here `refresh_token` is the name of a grant type, not this person's token.
            400 if says(&["unsupported_grant_type"]) => Self::Transient(shown),
            400 if says(&[
                "refresh token",
                "refresh_token",
                "invalid_grant",
                "requested scope",
                "invalid_scope",
            ]) =>
            {
                Self::ConsentNeeded(shown)
            }
            429 => Self::Busy(shown),
            423 => Self::Locked(shown),
            _ => Self::Transient(shown),
        }
    }

    /// The kind of this verdict.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Renewed(_) => Outcome::Renewed,
            Self::Unchanged(_) => Outcome::Unchanged,
            Self::ConsentNeeded(_) => Outcome::ConsentNeeded,
            Self::Refused(_) => Outcome::Refused,
            Self::ClientRefused(_) => Outcome::ClientRefused,
            Self::TokenLimit => Outcome::TokenLimit,
            Self::Busy(_) | Self::Locked(_) => Outcome::Busy,
            Self::Transient(_) => Outcome::Transient,
        }
    }

    /// The reason, for the log and the operator; empty after success.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Renewed(_) | Self::Unchanged(_) => "",
            Self::TokenLimit => {
                "the person has as many live tokens as Webex allows and can revoke some at https://idbroker.webex.com/idb/profile"
            }
            Self::ConsentNeeded(why)
            | Self::Refused(why)
            | Self::ClientRefused(why)
            | Self::Busy(why)
            | Self::Locked(why)
            | Self::Transient(why) => why,
        }
    }
}

#[cfg(test)]
mod tests;
