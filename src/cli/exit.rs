//! Exit codes, the failures that lead to them, and the line on stderr that explains a failure.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::api_types::ProblemDetails;
use crate::cli::api_client::message::CallError;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;

/// The exit codes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command was tried and failed.
    Failed = 1,
    /// Wrong usage or settings; nothing was changed.
    Usage = 2,
    /// No such person is stored.
    UnknownPerson = 3,
    /// The person must consent.
    ConsentNeeded = 4,
    /// The daemon cannot be reached, or the store is in use.
    Unavailable = 5,
    /// Webex cannot be reached.
    WebexUnreachable = 6,
    /// `exec`: the command exists but cannot be run; shells use the same code.
    NotExecutable = 126,
    /// `exec`: the command does not exist; shells use the same code.
    NoSuchCommand = 127,
}

/// What each code says that a command of ours ends with.
pub const EXIT_CODES: [(u8, &str); 7] = [
    (0, "done"),
    (Exit::Failed as u8, "failed"),
    (Exit::Usage as u8, "wrong usage or settings"),
    (Exit::UnknownPerson as u8, "no such person"),
    (Exit::ConsentNeeded as u8, "consent needed"),
    (Exit::Unavailable as u8, "daemon not reachable or store in use"),
    (Exit::WebexUnreachable as u8, "Webex not reachable"),
];

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// Ends with a line on stderr that says what is wrong and what to do.
    Told(Exit, String),
    /// Everything was printed already.
    Silent(Exit),
    /// The reader of the output has closed it, which is not an error.
    OutputClosed,
}

impl CommandError {
    /// A failure with its line.
    pub fn new(exit: Exit, line: impl Into<String>) -> Self {
        Self::Told(exit, line.into())
    }

    /// Prints the line, if there is one, and returns the exit code.
    #[must_use]
    pub fn print(&self) -> ExitCode {
        match self {
            Self::Told(exit, line) => fail(*exit, &printable(line)),
            Self::Silent(exit) => (*exit).into(),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::new(Exit::Failed, format!("the output cannot be written: {error}")),
        }
    }
}

/// The only mapping of the API's problem codes to exit codes.
impl From<ProblemDetails> for CommandError {
    fn from(problem: ProblemDetails) -> Self {
        let exit = match problem.code.as_str() {
            "unknown_person" => Exit::UnknownPerson,
            "consent_needed" => Exit::ConsentNeeded,
            "bad_request" | "ambiguous_person" => Exit::Usage,
            "webex_unavailable" => Exit::WebexUnreachable,
            _ => Exit::Failed,
        };
        let mut line = match problem.detail.trim() {
            "" => problem.title,
            detail => detail.to_owned(),
        };
        // The detail may contain the URL already.
        if let Some(url) = problem.consent_url.filter(|url| !line.contains(url.as_str())) {
            line = format!("{}; the person consents at {url}", line.trim_end_matches('.'));
        }
        let advice = match exit {
            Exit::WebexUnreachable => "; try again later; `webex-tokend doctor` helps to find the reason",
            _ => "",
        };
        line = format!("{}{advice}", line.trim_end_matches('.'));
        Self::new(exit, line)
    }
}

/// The exit codes of requests without a response.
impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        let exit = match &error {
            CallError::Settings(_) => Exit::Usage,
            CallError::Local(_) => Exit::Failed,
            _ => Exit::Unavailable,
        };
        Self::new(exit, error.to_string())
    }
}

/// Prints the reason of a failure on stderr, and returns the exit code.
pub fn fail(exit: Exit, why: &dyn fmt::Display) -> ExitCode {
    print_stderr(&format!("webex-tokend: {why}"));
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_api_has_its_exit_code() {
        let table = [
            ("unauthorized", 1),
            ("forbidden", 1),
            ("unknown_person", 3),
            ("ambiguous_person", 2),
            ("consent_needed", 4),
            ("bad_request", 2),
            ("too_many_requests", 1),
            ("webex_unavailable", 6),
            ("not_found", 1),
            ("store_unavailable", 1),
            ("a_future_code", 1),
        ];
        for (code, expected) in table {
            let problem = ProblemDetails {
                kind: "about:blank".into(),
                title: "No".into(),
                status: 400,
                detail: "no".into(),
                code: code.into(),
                consent_url: None,
                persons: None,
            };
            let CommandError::Told(exit, _) = problem.into() else { panic!("{code} says nothing") };
            assert_eq!(exit as u8, expected, "{code}");
        }
    }
}
