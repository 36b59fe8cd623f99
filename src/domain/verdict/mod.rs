//! What a reply of Webex's token endpoint means for a grant: a table.

use std::fmt;
use std::time::Duration;

use crate::domain::grant::Tokens;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;

/// What came back, as facts.
#[derive(Clone, Debug)]
pub struct Reply {
    /// When the request was sent: lifetimes count from here, so that a slow answer cannot make a token look younger.
    pub sent_at: UnixTime,
    /// Webex's name for this call, to quote to its support.
    pub tracking_id: Option<String>,
    /// `Retry-After`, if it was readable.
    pub retry_after: Option<Duration>,
    /// The rest.
    pub fact: Fact,
}

/// The kinds of answer there are.
#[derive(Clone, Debug)]
pub enum Fact {
    /// 200 with an access token.
    Granted(Issued),
    /// An HTTP status that is not success, with what the body says in either of Webex's two shapes.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Everything the body says, for classifying only: it is never shown (see `shown`).
        text: String,
        /// The same made fit for people: short, printable, nothing that could be a token.
        shown: String,
    },
    /// 200 without a token in it: HTML of a captive portal, broken JSON, a missing field.
    Unreadable(String),
    /// No answer: no connection, time-out, reset.
    Unreachable(String),
}

/// A token answer as Webex gave it. All but the access token may be missing (webex-api, "Token response").
#[derive(Clone, Debug)]
pub struct Issued {
    /// The whole bearer token.
    pub access_token: Secret,
    /// Absent: the old one stays good.
    pub refresh_token: Option<Secret>,
    /// Life of the access token from the moment the request was sent.
    pub expires_in: Duration,
    /// Reported life of the refresh token; warned about, never obeyed.
    pub refresh_token_expires_in: Option<Duration>,
    /// `Bearer`, unless Webex says otherwise.
    pub token_type: Option<String>,
    /// Scopes granted, separated by spaces.
    pub scope: Option<String>,
}

/// What a reply means.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// A new access token.
    Renewed(Issued),
    /// The same access token: success, but nothing new (the no-op window).
    Unchanged(Issued),
    /// Webex will not renew this grant: only the person can help. As the table reads it; whether it is final is decided
    /// in [`crate::domain::breaker`].
    ConsentNeeded(String),
    /// Webex refused this grant, and it is not confirmed yet: it is asked again.
    Refused(String),
    /// Webex does not know us, or not our secret: the operator's trouble, not the person's.
    ClientRefused(String),
    /// The person has as many live tokens as Webex allows.
    TokenLimit,
    /// Webex asks to wait (429).
    Busy(String),
    /// Webex asks to wait for this person only (423).
    Locked(String),
    /// It may pass by itself.
    Transient(String),
}

/// Whether Webex takes the client id and secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// It does.
    Known,
    /// It does not, in Webex's words.
    Refused(String),
    /// Its answer says neither.
    Unclear(String),
}

/// What an operator is told when Webex refuses the client, with Webex's reason.
#[must_use]
pub fn client_refused(why: &str) -> String {
    format!(
        "Webex refuses MY_APP_CLIENT_ID or MY_APP_SECRET_ID ({why}); compare both with the integration at \
         developer.webex.com/my-apps"
    )
}

/// The short word for a verdict, as it is stored, logged and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    const WORDS: [(Self, &'static str); 8] = [
        (Self::Renewed, "renewed"),
        (Self::Unchanged, "unchanged"),
        (Self::ConsentNeeded, "consent_needed"),
        (Self::Refused, "refused"),
        (Self::ClientRefused, "client_refused"),
        (Self::TokenLimit, "token_limit"),
        (Self::Busy, "busy"),
        (Self::Transient, "transient"),
    ];

    /// The word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(outcome, _)| *outcome == self).map_or("transient", |(_, word)| word)
    }

    /// Whether it says more about its person than about Webex: such a person is the last to be a probe.
    #[must_use]
    pub fn is_personal(self) -> bool {
        matches!(self, Self::ClientRefused | Self::Busy | Self::Refused | Self::TokenLimit)
    }

    /// The outcome that `word` stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(outcome, _)| *outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Verdict {
    /// Reads the table. `held` are the tokens that the refresh was sent for.
    #[must_use]
    pub fn of(fact: Fact, held: &Tokens) -> Self {
        match fact {
            Fact::Granted(issued) if issued.access_token == held.access_token => Self::Unchanged(issued),
            Fact::Granted(issued) => Self::Renewed(issued),
            Fact::Refused { status, text, shown } => Self::of_refusal(status, &text.to_lowercase(), shown),
            Fact::Unreadable(why) | Fact::Unreachable(why) => Self::Transient(why),
        }
    }

    /// Whether Webex knows the client, by its answer to a code, or to a refresh token that does not exist.
    #[must_use]
    pub fn of_client(fact: Fact) -> ClientVerdict {
        let verdict = match fact {
            Fact::Granted(_) => return ClientVerdict::Known,
            Fact::Refused { status, text, shown } => Self::of_refusal(status, &text.to_lowercase(), shown),
            Fact::Unreadable(why) | Fact::Unreachable(why) => Self::Transient(why),
        };
        match verdict {
            Self::ConsentNeeded(_) => ClientVerdict::Known,
            Self::ClientRefused(why) => ClientVerdict::Refused(why),
            other => ClientVerdict::Unclear(other.detail().to_owned()),
        }
    }

    /// Statuses first, texts second: Webex's texts are not stable (webex-api, "Errors").
    fn of_refusal(status: u16, text: &str, shown: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match status {
            400 | 403 if says(&["tokenlimit_reached"]) => Self::TokenLimit,
            401 => Self::ClientRefused(shown),
            400 | 403 if says(&["invalid_client", "unauthorized_client", "client id is invalid"]) => {
                Self::ClientRefused(shown)
            }
            // It names `refresh_token` as a kind of grant, not as this person's token.
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

    /// The short word.
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

    /// What the log and the operator read beside the word; empty after success.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Renewed(_) | Self::Unchanged(_) => "",
            Self::TokenLimit => {
                "the person has as many live tokens as Webex allows and can end some at https://idbroker.webex.com/idb/profile"
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
