//! `forget`: removes a grant after a confirmation.

use crate::api_types::PersonView;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::ForgetArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;

pub(super) fn run(handle: &mut ApiClient, asked: &ForgetArgs) -> Result<(), CommandError> {
    let path = person::path(handle, &asked.subject)?;
    // Shows whose grant it is, if an id was given.
    let person: PersonView = handle.get(&path)?;
    let who = format::person_line(&person);
    if !asked.yes {
        match output::confirm(&format!(
            "Remove the tokens of {who}? Only a new consent can restore the access."
        )) {
            Some(true) => {}
            Some(false) => return Err(CommandError::new(Exit::Failed, format!("{who} was not removed"))),
            None => {
                let line = format!(
                    "{who} was not removed, because there is no terminal for a confirmation; confirm with --yes"
                );
                return Err(CommandError::new(Exit::Usage, line));
            }
        }
    }
    handle.delete(&path)?;
    Ok(output::write_line(&format!("{who}: forgotten"))?)
}
