//! `forget`: removes grants after a confirmation.

use crate::api_types::PersonView;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::arguments::ForgetArgs;
use crate::cli::commands::forget_all;
use crate::cli::commands::forget_all::PersonLines;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::output;

pub(super) fn run(context: &CommandContext, asked: &ForgetArgs) -> Result<(), CommandError> {
    // Read before anything is opened, because a wrong line is a wrong usage.
    let file = asked.file.as_deref().map(PersonLines::read).transpose()?;
    let handle = &mut ApiClient::open(context, StoreAccess::Existing)?;
    match (&asked.state, &file) {
        (Some(state), _) => forget_all::in_state(handle, state, asked.yes),
        (None, Some(persons)) => forget_all::of_file(handle, persons, asked.yes),
        (None, None) => one(handle, asked),
    }
}

fn one(handle: &mut ApiClient, asked: &ForgetArgs) -> Result<(), CommandError> {
    let path = person::path(handle, &asked.subject)?;
    // Shows whose grant it is, if an id was given.
    let person: PersonView = handle.get(&path)?;
    let who = format::person_line(&person);
    if !asked.yes {
        forget_all::confirm(&who, "a new consent")?;
    }
    handle.delete(&path)?;
    Ok(output::write_line(&format!("{who}: forgotten"))?)
}
