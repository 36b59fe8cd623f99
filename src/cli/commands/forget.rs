//! `forget`: removes a grant after a confirmation.

use crate::api_types::Person;
use crate::cli::arguments::Forget;
use crate::cli::client::Handle;
use crate::cli::commands::person;
use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::cli::print;
use crate::cli::show;

pub(super) fn run(handle: &mut Handle, asked: &Forget) -> Result<(), Failure> {
    let path = person::path(handle, &asked.subject)?;
    // Shows whose grant it is, if an id was given.
    let person: Person = handle.get(&path)?;
    let who = show::who_line(&person);
    if !asked.yes {
        match print::ask(&format!("Remove the tokens of {who}? Only a new consent can restore the access.")) {
            Some(true) => {}
            Some(false) => return Err(Failure::new(Exit::Failed, format!("{who} was not removed"))),
            None => {
                let line = format!(
                    "{who} was not removed, because there is no terminal for a confirmation; confirm with --yes"
                );
                return Err(Failure::new(Exit::Usage, line));
            }
        }
    }
    handle.delete(&path)?;
    print::line(&format!("{who}: forgotten"))
}
