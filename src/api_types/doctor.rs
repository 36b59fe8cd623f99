//! The findings of `doctor`.

use serde::Deserialize;
use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingStatus {
    /// The check passed.
    Ok,
    /// It works, but an operator should look at it.
    Warn,
    /// It must be fixed.
    Bad,
    /// It must be fixed, and the only reason is that Webex cannot be reached.
    Unreachable,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The severity.
    pub mark: FindingStatus,
    /// What was checked, in a word or two: `settings`, `client`.
    pub what: String,
    /// What was found, and the remedy if there is a problem. Contains no secret.
    pub says: String,
}

impl Finding {
    /// Builds a finding.
    pub fn new(mark: FindingStatus, what: &str, says: impl Into<String>) -> Self {
        Self { mark, what: what.to_owned(), says: says.into() }
    }
}

/// The results of all checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// In the order in which they are shown.
    pub findings: Vec<Finding>,
}
