//! Parses the query of the redirect URI into one of four cases.

use std::collections::BTreeMap;

use crate::domain::person::Email;
use crate::domain::secret::Secret;

/// Parameters that must not be repeated (RFC 6749, 3.1).
const SINGLE_PARAMETERS: [&str; 8] =
    ["code", "state", "error", "error_description", "trackingId", "trackingID", "person", "login"];

/// The parsed query of the redirect URI. Other parameters are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// A consent should begin.
    Begin {
        /// The account to preselect at Webex.
        hint: Option<Email>,
        /// The login that waits for this consent.
        login: Option<String>,
    },
    /// Webex sends the browser back without a code. Any client can make such a link, so the content is for
    /// the log only.
    Declined {
        /// Webex's error code.
        error: String,
        /// Webex's description of the error.
        description: Option<String>,
        /// Webex's tracking id of the call.
        tracking_id: Option<String>,
        /// The consent's state. Webex does not promise to send it.
        state: Option<Secret>,
    },
    /// Webex sends the browser back with a code.
    Granted {
        /// The authorization code; never empty.
        code: Secret,
        /// The state that the ticket must contain.
        state: Secret,
    },
    /// Neither Webex nor the daemon sends this: code or state is missing, or a parameter is repeated.
    Stale,
}

impl Callback {
    /// Parses a query, without its question mark.
    #[must_use]
    pub fn read(query: &str) -> Self {
        let Some(mut asked) = parameters(query) else { return Self::Stale };
        let mut secret = |name: &str| asked.remove(name).map(Secret::new);
        let (code, state) = (secret("code"), secret("state"));
        if let Some(error) = asked.remove("error") {
            let description = asked.remove("error_description");
            let tracking_id = asked.remove("trackingId").or_else(|| asked.remove("trackingID"));
            return Self::Declined { error, description, tracking_id, state };
        }
        match (code, state) {
            (None, None) => Self::Begin {
                hint: asked.get("person").and_then(|text| Email::parse(text).ok()),
                login: asked.remove("login"),
            },
            (Some(code), Some(state)) if !code.expose().is_empty() => Self::Granted { code, state },
            _ => Self::Stale,
        }
    }
}

/// `None` if one of the known parameters is repeated.
fn parameters(query: &str) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if SINGLE_PARAMETERS.contains(&&*name) && all.insert(name.into_owned(), value.into_owned()).is_some()
        {
            return None;
        }
    }
    Some(all)
}
