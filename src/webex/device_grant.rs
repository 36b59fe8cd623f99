//! The device grant (RFC 8628): the daemon shows a code, and the person enters it in a browser on any device.

use std::time::Duration;

use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::TokenReply;
use crate::domain::verdict::TokenResponse;
use crate::domain::verdict::TokenSet;
use crate::domain::verdict::Verdict;
use crate::domain::verdict::client_refused;
use crate::webex::client::Webex;
use crate::webex::device_code::DeviceCode;
use crate::webex::owner::OwnerUnknown;
use crate::webex::transport::Payload;
use crate::webex::wire;

/// The grant type's name.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What the operator must have registered. If one of these URIs is missing, Webex shows the person "We've
/// encountered an error" and never tells the daemon (webex-api, "Device grant").
const HELPERS: &str = "the integration must have all four redirect URIs \
    https://oauth-helper-{a,r,k,d}.wbx2.com/helperservice/v1/actions/device/callback registered";

/// The response to one poll.
#[derive(Clone, Debug)]
pub struct DevicePoll {
    /// When the request was sent; lifetimes count from here.
    pub sent_at: UnixTime,
    /// The tracking id of the response.
    pub tracking_id: Option<String>,
    /// The `Retry-After` header, if it is valid.
    pub retry_after: Option<Duration>,
    /// What the response means.
    pub polled: DevicePollResult,
}

/// The meaning of a poll's response.
#[derive(Clone, Debug)]
pub enum DevicePollResult {
    /// The person consented.
    Issued(TokenSet),
    /// The person has not decided yet.
    Pending,
    /// The person has not decided yet, and the poll came too early.
    SlowDown,
    /// A temporary failure.
    Trouble(String),
    /// The grant failed for good; the text says what to do.
    Ended(String),
}

impl Webex {
    /// Starts a device grant (RFC 8628, 3.1).
    ///
    /// # Errors
    /// When Webex rejects the request or cannot be reached.
    pub async fn device_authorize(&self) -> Result<DeviceCode, OwnerUnknown> {
        let form = vec![
            ("client_id", Secret::new(self.integration.client_id.clone())),
            ("scope", Secret::new(self.integration.scopes.join(" "))),
        ];
        let raw = self
            .call("/device/authorize", Payload::Form(form))
            .await
            .map_err(|why| OwnerUnknown { transient: true, ..OwnerUnknown::permanent(why.to_string()) })?;
        wire::device_code(&raw).map_err(|unknown| {
            if unknown.transient {
                return unknown;
            }
            let why = format!("{}; check MY_APP_CLIENT_ID and MY_APP_SCOPES; {HELPERS}", unknown.why);
            OwnerUnknown { why, ..unknown }
        })
    }

    /// Polls whether the person has consented (RFC 8628, 3.4).
    pub async fn device_token(&self, device_code: &Secret) -> DevicePoll {
        let payload = Payload::BasicForm {
            user: self.integration.client_id.clone(),
            password: self.integration.client_secret.clone(),
            fields: vec![
                ("grant_type", Secret::new(GRANT.to_owned())),
                ("device_code", device_code.clone()),
                ("client_id", Secret::new(self.integration.client_id.clone())),
            ],
        };
        let TokenReply { sent_at, tracking_id, retry_after, fact } =
            self.send_token_request("/device/token", payload).await;
        DevicePoll { sent_at, tracking_id, retry_after, polled: DevicePollResult::of(fact) }
    }
}

impl DevicePollResult {
    fn of(fact: TokenResponse) -> Self {
        match fact {
            TokenResponse::Granted(issued) => Self::Issued(issued),
            TokenResponse::Refused { status, text, shown } => {
                Self::of_refusal(status, &text.to_lowercase(), shown)
            }
            TokenResponse::Unreadable(why) | TokenResponse::Unreachable(why) => Self::Trouble(why),
        }
    }

    /// Checks the statuses with a meaning of their own (428) first, then OAuth's error codes, then the rest.
    /// A response without an error text may come from a proxy, so it does not end the grant.
    fn of_refusal(status: u16, text: &str, shown: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match status {
            428 => Self::Pending,
            429 => Self::SlowDown,
            408 | 423 | 500.. => Self::Trouble(shown),
            401 => Self::Ended(client_refused(&shown)),
            400 | 403 if says(&["slow_down"]) => Self::SlowDown,
            400 | 403 if says(&["authorization_pending"]) => Self::Pending,
            400 | 403 if says(&["access_denied"]) => Self::Ended("the person declined at Webex".to_owned()),
            400 | 403 if says(&["tokenlimit_reached"]) => {
                Self::Ended(Verdict::TokenLimit.detail().to_owned())
            }
            400 | 403 if says(&["expired_token", "invalid_grant"]) => Self::Ended(Self::expired()),
            400 | 403 if says(&["invalid_client", "unauthorized_client", "client id is invalid"]) => {
                Self::Ended(client_refused(&shown))
            }
            400..=499 if !text.is_empty() => {
                Self::Ended(format!("Webex rejects the device grant: {shown}; {HELPERS}"))
            }
            _ => Self::Trouble(shown),
        }
    }

    /// The text for an expired device code.
    #[must_use]
    pub fn expired() -> String {
        format!(
            "the code was not confirmed in time, or was used before: start again; if Webex showed an error to the \
             person, {HELPERS}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the variant, and its text.
    fn read(status: u16, text: &str) -> (&'static str, String) {
        match DevicePollResult::of_refusal(status, text, format!("HTTP {status}: {text}")) {
            DevicePollResult::Issued(_) => ("issued", String::new()),
            DevicePollResult::Pending => ("pending", String::new()),
            DevicePollResult::SlowDown => ("slow down", String::new()),
            DevicePollResult::Trouble(why) => ("trouble", why),
            DevicePollResult::Ended(why) => ("ended", why),
        }
    }

    #[test]
    fn a_grant_ends_only_by_a_definite_answer() {
        let table = [
            (428, "", "pending"),
            (428, "authorization_pending", "pending"),
            (400, "post failed: http/1.1 400 (error = 'authorization_pending')", "pending"),
            (400, "slow_down", "slow down"),
            (429, "", "slow down"),
            (423, "", "trouble"),
            (502, "bad gateway", "trouble"),
            (302, "", "trouble"),
            (403, "", "trouble"),
            (400, "access_denied", "ended"),
            (400, "expired_token", "ended"),
            (400, "invalid_grant", "ended"),
            (400, "invalid_client", "ended"),
            (401, "", "ended"),
            (400, "tokenlimit_reached", "ended"),
            (400, "unsupported_grant_type", "ended"),
            (400, "invalid_request", "ended"),
        ];
        for (status, text, kind) in table {
            assert_eq!(read(status, text).0, kind, "{status} {text:?}");
        }
    }

    #[test]
    fn the_texts_say_what_to_do() {
        assert!(read(401, "").1.contains("MY_APP_SECRET_ID"));
        assert!(read(400, "invalid_request").1.contains("oauth-helper-{a,r,k,d}.wbx2.com"));
        assert!(read(400, "invalid_grant").1.contains("oauth-helper-{a,r,k,d}.wbx2.com"));
        assert!(read(400, "access_denied").1.contains("declined"));
    }
}
