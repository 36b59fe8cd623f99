//! What an examination of the daemon finds.

use serde::Deserialize;
use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// As it should be.
    Ok,
    /// It works, and an operator should look at it.
    Warn,
    /// It must be put right.
    Bad,
    /// Bad, and by Webex's absence alone.
    Unreachable,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub mark: Mark,
    /// What was looked at, in a word or two: `settings`, `client`.
    pub what: String,
    /// What was found, and what to do where it is not right. No secret is in it.
    pub says: String,
}

impl Finding {
    /// A finding.
    pub fn new(mark: Mark, what: &str, says: impl Into<String>) -> Self {
        Self { mark, what: what.to_owned(), says: says.into() }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examination {
    /// In the order in which people read them.
    pub findings: Vec<Finding>,
}
