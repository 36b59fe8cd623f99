//! `refresh`: refreshes one person now.

use crate::api_types::PersonView;
use crate::api_types::RefreshRequest;
use crate::api_types::Refreshed;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::RefreshArgs;
use crate::cli::commands::person;
use crate::cli::commands::token;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;

pub(super) fn run(handle: &mut ApiClient, asked: &RefreshArgs) -> Result<(), CommandError> {
    let how = RefreshRequest { force: asked.force, bulk: false };
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

pub(super) fn line(refreshed: &Refreshed) -> String {
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

pub(super) fn exit_of(person: &PersonView) -> Exit {
    match (person.state.as_str(), person.last_outcome.as_str()) {
        ("consent_needed", _) => Exit::ConsentNeeded,
        (_, "transient" | "busy") => Exit::WebexUnreachable,
        _ => Exit::Failed,
    }
}
