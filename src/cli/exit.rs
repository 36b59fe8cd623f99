//! Exit codes, and the one line on stderr that goes with them.

use std::fmt;
use std::process::ExitCode;

/// How a command can end other than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was tried and did not work.
    Failed = 1,
    /// Wrong usage or settings; nothing was opened.
    Usage = 2,
    /// The daemon cannot be reached, or the store is in use.
    Unavailable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Tells people what went wrong, on stderr, and gives the exit code.
#[expect(clippy::print_stderr, reason = "the one place that writes errors")]
pub fn fail(exit: Exit, why: &dyn fmt::Display) -> ExitCode {
    eprintln!("webex-tokend: {why}");
    exit.into()
}
