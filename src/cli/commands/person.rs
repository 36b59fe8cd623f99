//! Finds the person that a command is about.

use std::ops::ControlFlow;

use crate::api_types::People;
use crate::api_types::Person;
use crate::cli::arguments::PersonArgument;
use crate::cli::client::Handle;
use crate::cli::client::segment;
use crate::cli::commands::API;
use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::cli::show;
use crate::domain::person::Who;

/// Maximum number of persons named when the user must choose one.
const NAMED: usize = 5;

/// Page size for long lists.
const PART: usize = 200;

/// The person's path in the API. If the command names no person, it is the only stored one, provided that it
/// is the first one the store has ever held. So a script that omits the person can never affect another
/// person later.
pub(super) fn path(handle: &mut Handle, subject: &PersonArgument) -> Result<String, Failure> {
    let name = match &subject.person {
        Some(text) => Who::parse(text.trim())
            .map_err(|e| Failure::new(Exit::Usage, format!("{text:?} is not a PERSON: {e}")))?
            .to_string(),
        None => only(handle)?,
    };
    Ok(format!("{API}/people/{}", segment(&name)))
}

fn only(handle: &mut Handle) -> Result<String, Failure> {
    let list: People = handle.get(&format!("{API}/people?limit={}", NAMED + 1))?;
    match list.people.as_slice() {
        [] => Err(Failure::new(Exit::Usage, "no person is stored; `webex-tokend login` gets a consent")),
        [person] if list.sole == Some(true) => Ok(person.person_id.clone()),
        [person] if list.next.is_none() => {
            let line = format!(
                "{} is the only person stored, but not the first one ever stored: name the person you mean, or set \
                 TOKEND_DEFAULT_PERSON",
                show::who(person)
            );
            Err(Failure::new(Exit::Usage, line))
        }
        several => {
            let names: Vec<String> = several.iter().take(NAMED).map(show::who).collect();
            let more = if several.len() > NAMED || list.next.is_some() { ", …" } else { "" };
            let line = format!(
                "several persons are stored, name one (or set TOKEND_DEFAULT_PERSON): {}{more}",
                names.join(", ")
            );
            Err(Failure::new(Exit::Usage, line))
        }
    }
}

/// Calls `each` for all persons, page by page.
pub(super) fn all_persons(
    handle: &mut Handle,
    mut each: impl FnMut(&mut Handle, Person) -> Result<(), Failure>,
) -> Result<(), Failure> {
    among(handle, "", |handle, person| each(handle, person).map(ControlFlow::Continue))
}

/// Calls `each` for the persons that match `filter`, a part of a query such as `&state=due`, page by page,
/// until `each` returns that it has enough.
pub(super) fn among(
    handle: &mut Handle,
    filter: &str,
    mut each: impl FnMut(&mut Handle, Person) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let from = after.as_deref().map(|after| format!("&after={}", segment(after))).unwrap_or_default();
        let part: People = handle.get(&format!("{API}/people?limit={PART}{filter}{from}"))?;
        for person in part.people {
            if each(handle, person)?.is_break() {
                return Ok(());
            }
        }
        match part.next {
            None => return Ok(()),
            Some(next) => after = Some(forward(after.as_deref(), next)?),
        }
    }
}

/// Fails on a cursor that does not advance, which would cause an endless loop.
pub(super) fn forward(before: Option<&str>, next: String) -> Result<String, Failure> {
    if before == Some(next.as_str()) {
        return Err(Failure::new(Exit::Failed, "the daemon's list does not end; look at its log"));
    }
    Ok(next)
}
