//! What a browser asks of the redirect URI: one of four things, whatever else its query says.

use std::collections::BTreeMap;

use crate::domain::person::Email;
use crate::domain::secret::Secret;

/// Parameters that may stand there once only (RFC 6749, 3.1).
const ONCE: [&str; 8] =
    ["code", "state", "error", "error_description", "trackingId", "trackingID", "person", "login"];

/// The query of the redirect URI, understood. Nothing else of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// A consent is to begin.
    Begin {
        /// The account to preselect at Webex.
        hint: Option<Email>,
        /// The login that waits for it.
        login: Option<String>,
    },
    /// Webex sends the browser back without a code. Every client can make such a link: what it says is for the log.
    Declined {
        /// Webex's word for why.
        error: String,
        /// More of its words.
        description: Option<String>,
        /// Webex's name for the call.
        tracking_id: Option<String>,
        /// Not promised by Webex.
        state: Option<Secret>,
    },
    /// Webex sends the browser back with a code.
    Granted {
        /// Never empty.
        code: Secret,
        /// What the ticket must hold.
        state: Secret,
    },
    /// Nothing that Webex or we ever send: half of a pair, or something twice.
    Stale,
}

impl Callback {
    /// Reads a query, without its question mark.
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

/// `None` if one of ours stands there twice.
fn parameters(query: &str) -> Option<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if ONCE.contains(&&*name) && all.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(all)
}
