//! `refresh`: refreshes one person or all persons now.

use crate::api_types::PersonView;
use crate::api_types::RefreshRequest;
use crate::api_types::Refreshed;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::segment;
use crate::cli::arguments::RefreshArgs;
use crate::cli::commands::person;
use crate::cli::commands::token;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::progress::Progress;

pub(super) fn run(handle: &mut ApiClient, asked: &RefreshArgs) -> Result<(), CommandError> {
    let how = RefreshRequest { force: asked.force };
    if asked.all {
        return all(handle, how, asked.output.json);
    }
    let path = person::path(handle, &asked.subject)?;
    let refreshed: Refreshed = handle.post(&format!("{path}/refresh"), &how)?;
    if refreshed.outcome == "failed" {
        return Err(failed(&refreshed));
    }
    if !asked.output.output && !asked.output.json {
        return Ok(output::write_line(&line(&refreshed))?);
    }
    print_stderr(&line(&refreshed));
    token::print(handle, &path, asked.output.json)
}

/// Refreshes one person after another, because the daemon limits the rate, and so that each line is current
/// when it is printed.
fn all(handle: &mut ApiClient, how: RefreshRequest, json: bool) -> Result<(), CommandError> {
    let mut progress = Progress::new("refreshed", None);
    let mut everything = Vec::new();
    let mut worst: Option<Exit> = None;
    person::all_persons(handle, |handle, person| {
        let path = format!("{API}/people/{}/refresh", segment(&person.person_id));
        let refreshed = match handle.post(&path, &how) {
            Ok(refreshed) => refreshed,
            Err(failure) => instead(failure, person)?,
        };
        if refreshed.outcome == "failed" {
            // Several kinds of failure count as one: the command was tried and failed.
            let exit = exit_of(&refreshed.person);
            worst = Some(worst.filter(|before| *before != exit).map_or(exit, |_| Exit::Failed));
        }
        progress.step();
        if json {
            everything.push(refreshed);
            return Ok(());
        }
        progress.clear();
        Ok(output::write_line(&line(&refreshed))?)
    })?;
    drop(progress);
    if json {
        output::write_json(&everything)?;
    }
    worst.map_or(Ok(()), |exit| Err(CommandError::Silent(exit)))
}

/// A rejection is the outcome of this person. A daemon that no longer answers ends the command.
fn instead(failure: CommandError, person: PersonView) -> Result<Refreshed, CommandError> {
    match failure {
        CommandError::Told(Exit::Unavailable, _) | CommandError::OutputClosed => Err(failure),
        CommandError::Told(_, detail) => {
            Ok(Refreshed { outcome: "failed".to_owned(), detail: Some(detail), person })
        }
        CommandError::Silent(_) => Ok(Refreshed { outcome: "failed".to_owned(), detail: None, person }),
    }
}

fn line(refreshed: &Refreshed) -> String {
    let person = &refreshed.person;
    let left = match format::time_left(Some(&person.expires_at), format::now(), "expired").as_str() {
        "expired" => "its access token is expired".to_owned(),
        left => format!("expires in {left}"),
    };
    let detail =
        refreshed.detail.as_deref().map(|detail| format!(" ({})", printable(detail))).unwrap_or_default();
    format!("{}: {}{detail}, {left}", format::person_line(person), printable(&refreshed.outcome))
}

fn failed(refreshed: &Refreshed) -> CommandError {
    let person = &refreshed.person;
    let exit = exit_of(person);
    let advice = match exit {
        Exit::ConsentNeeded => format!("; the person consents at {}", person.consent_url),
        _ => format!("; `webex-tokend why {}` shows when it is tried again", person.person_id),
    };
    CommandError::new(exit, format!("{}{advice}", line(refreshed)))
}

fn exit_of(person: &PersonView) -> Exit {
    match (person.state.as_str(), person.last_outcome.as_str()) {
        ("consent_needed", _) => Exit::ConsentNeeded,
        (_, "transient" | "busy") => Exit::WebexUnreachable,
        _ => Exit::Failed,
    }
}
