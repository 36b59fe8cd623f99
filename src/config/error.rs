//! Errors in the settings.

use std::fmt;

/// An error in a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable.
    pub variable: &'static str,
    /// What was found, without secrets.
    pub found: String,
    /// What is expected.
    pub expected: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.variable, self.found, self.expected)
    }
}

/// All errors in the settings, and hints at possible reasons, such as unknown variables and values that are
/// ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).chain(.1.iter().cloned()).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>, pub Vec<String>);

impl ConfigErrors {
    /// Errors without hints.
    pub(super) fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors, Vec::new())
    }
}
