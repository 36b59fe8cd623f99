//! Why the breaker opens.

use std::fmt;

use strum::EnumString;
use strum::IntoStaticStr;

use crate::domain::verdict::Outcome;

/// Why the breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// 401, `invalid_client`: the client id or secret is not accepted.
    ClientRefused,
    /// 429: Webex asks to wait.
    Busy,
    /// Different persons' refreshes failed in a row.
    ManyFailing,
    /// Webex called the grants of many persons dead within minutes.
    ManyRefused,
}

impl Cause {
    /// The cause as the store and the API write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// Whether a person's `outcome` only repeats what the log says of all persons.
    #[must_use]
    pub fn explains(self, outcome: Outcome) -> bool {
        match self {
            Self::ClientRefused => outcome == Outcome::ClientRefused,
            Self::Busy => outcome == Outcome::Busy,
            Self::ManyFailing => outcome == Outcome::Transient,
            Self::ManyRefused => outcome == Outcome::Refused,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClientRefused => {
                "Webex refuses the client id or secret; check MY_APP_CLIENT_ID and MY_APP_SECRET_ID and restart"
            }
            Self::Busy => "Webex asks to wait",
            Self::ManyFailing => {
                "refreshes of several persons failed in a row; Webex or the network has a problem"
            }
            Self::ManyRefused => {
                "Webex refuses the grants of many persons at once; check WEBEX_API_BASE_URL and Webex's status page; \
                 no person is asked to consent again before another refresh succeeds or a day has passed"
            }
        })
    }
}
