//! `forget`: removes a grant, after asking.

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
    // Also says whose grant it is where an id was given.
    let person: Person = handle.get(&path)?;
    let who = show::who_line(&person);
    if !asked.yes {
        match print::ask(&format!(
            "Remove the tokens of {who} for good? Only a new consent brings them back."
        )) {
            Some(true) => {}
            Some(false) => return Err(Failure::new(Exit::Failed, format!("{who} is kept"))),
            None => {
                let line = format!("nobody is there to ask whether to forget {who}; say --yes");
                return Err(Failure::new(Exit::Usage, line));
            }
        }
    }
    handle.delete(&path)?;
    print::line(&format!("{who}: forgotten"))
}
