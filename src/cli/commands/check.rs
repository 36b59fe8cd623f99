//! `check`: one line for monitoring, in the form of monitoring plug-ins: `STATE - text | performance data`.

use std::ops::ControlFlow;

use crate::api_types::Status;
use crate::api_types::Topic;
use crate::api_types::attention;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::arguments::CheckArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::printable;

/// The severity of a finding, the worst last: what is not known hides nothing that is. Each level has the exit code that
/// monitoring plug-ins use for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Ends the command with the level's exit code. In other commands the codes 1 to 3 mean what the names of [`Exit`] say.
    fn end(self) -> Result<(), CommandError> {
        match self {
            Self::Ok => Ok(()),
            Self::Warning => Err(CommandError::Silent(Exit::Failed)),
            Self::Critical => Err(CommandError::Silent(Exit::Usage)),
            Self::Unknown => Err(CommandError::Silent(Exit::UnknownPerson)),
        }
    }
}

/// The findings and the performance data. The line begins with the worst finding.
#[derive(Default)]
struct Findings {
    found: Vec<(Level, String)>,
    data: Vec<String>,
}

pub(super) fn run(surroundings: &CommandContext, asked: &CheckArgs) -> Result<(), CommandError> {
    let mut findings = Findings::default();
    match ApiClient::connect(surroundings) {
        Err(why) => findings.add(Level::Critical, &format!("the daemon cannot be reached: {why}")),
        Ok(mut handle) => match handle.get::<Status>(&format!("{API}/status")) {
            Ok(status) => {
                findings.look_at(&status, asked.warn_consent);
                if let Some(days) = asked.warn_expiring
                    && findings.count_expiring(&mut handle, days).is_err()
                {
                    findings.add(Level::Unknown, "the daemon did not list the consents that end soon");
                }
            }
            Err(_) => findings.add(Level::Unknown, "the daemon did not report its status"),
        },
    }
    let level = findings.found.iter().map(|(level, _)| *level).max().unwrap_or_default();
    output::write_line(&findings.line(level))?;
    level.end()
}

impl Findings {
    fn add(&mut self, level: Level, text: &str) {
        self.found.push((level, printable(text).replace('|', "/")));
    }

    fn measure(&mut self, name: &str, value: u64) {
        self.data.push(format!("{name}={value}"));
    }

    fn look_at(&mut self, status: &Status, warn_consent: bool) {
        if !status.ready {
            self.add(Level::Critical, "the store cannot be read or written");
        }
        if let Some(says) = &status.breaker.says {
            self.add(Level::Critical, &format!("refreshes pause: {says}"));
        }
        if let Some(trouble) = status.certificate.as_ref().and_then(|one| one.trouble.as_ref()) {
            self.add(Level::Warning, trouble);
        }
        for one in attention(status.people.as_ref(), status.notices.as_ref()) {
            let counts = match one.topic {
                Topic::Consent => warn_consent,
                // [`Findings::count_expiring`] counts them, for the number of days in the arguments.
                Topic::Expiring => false,
                Topic::Notices => true,
            };
            if counts {
                self.add(Level::Warning, &one.says);
            }
        }
        if let Some(people) = &status.people {
            for (name, value) in [
                ("fresh", people.fresh),
                ("due", people.due),
                ("retrying", people.retrying),
                ("consent_needed", people.consent_needed),
                ("consent_ending", people.consent_ending),
            ] {
                self.measure(name, value);
            }
        }
        if let Some(notices) = &status.notices {
            self.measure("notices_waiting", notices.waiting);
            self.measure("notices_given_up", notices.given_up);
        }
    }

    /// Counts the persons whose consent ends within `days`, if refreshes do not extend it.
    fn count_expiring(&mut self, handle: &mut ApiClient, days: u32) -> Result<(), CommandError> {
        let end = format::now() + i64::from(days) * 86_400;
        let mut expiring = 0;
        person::among(handle, "", |_, person| {
            let ends_at = person.refresh_token_expires_at.as_deref().and_then(format::seconds);
            let is_counting_down = person.refresh_token_end_moves == Some(false);
            expiring += u64::from(is_counting_down && ends_at.is_some_and(|at| at <= end));
            Ok(ControlFlow::Continue(()))
        })?;
        if expiring > 0 {
            self.add(Level::Warning, &format!("{expiring} consents end within {days} days"));
        }
        self.measure("consent_expiring", expiring);
        Ok(())
    }

    fn line(&mut self, level: Level) -> String {
        self.found.sort_by_key(|(level, _)| std::cmp::Reverse(*level));
        let texts: Vec<&str> = self.found.iter().map(|(_, text)| text.as_str()).collect();
        let text = if texts.is_empty() { "nothing needs an operator".to_owned() } else { texts.join("; ") };
        let data = if self.data.is_empty() { String::new() } else { format!(" | {}", self.data.join(" ")) };
        format!("{} - {text}{data}", level.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_worst_first_and_the_data_behind_a_bar() {
        let mut findings = Findings::default();
        findings.add(Level::Warning, "2 must consent again");
        findings.add(Level::Critical, "refreshes pause: a | b");
        findings.measure("fresh", 7);
        assert_eq!(
            findings.line(Level::Critical),
            "CRITICAL - refreshes pause: a / b; 2 must consent again | fresh=7"
        );
        assert_eq!(Findings::default().line(Level::Ok), "OK - nothing needs an operator");
    }
}
