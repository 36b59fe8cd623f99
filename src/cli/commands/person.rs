//! Finds the person that a command is about.

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use crate::api_types::People;
use crate::api_types::PersonView;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::segment;
use crate::cli::arguments::PersonArgument;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::domain::person::PersonQuery;

/// Maximum number of persons named when the user must choose one.
const NAMED: usize = 5;

/// Page size for long lists.
pub(super) const PART: usize = 200;

/// The person's path in the API. If the command names no person, it is the only stored one, provided that it
/// is the first one the store has ever held. So a script that omits the person can never affect another
/// person later.
pub(super) fn path(handle: &mut ApiClient, subject: &PersonArgument) -> Result<String, CommandError> {
    let name = match &subject.person {
        Some(text) => PersonQuery::parse(text.trim())
            .map_err(|e| CommandError::new(Exit::Usage, format!("{text:?} is not a PERSON: {e}")))?
            .to_string(),
        None => only(handle)?,
    };
    Ok(format!("{API}/people/{}", segment(&name)))
}

fn only(handle: &mut ApiClient) -> Result<String, CommandError> {
    let list: People = handle.get(&format!("{API}/people?limit={}", NAMED + 1))?;
    match list.people.as_slice() {
        [] => Err(CommandError::new(Exit::Usage, "no person is stored; `webex-tokend login` gets a consent")),
        [person] if list.sole == Some(true) => Ok(person.person_id.clone()),
        [person] if list.next.is_none() => {
            let line = format!(
                "{} is the only person stored, but not the first one ever stored: name the person you mean, or set \
                 TOKEND_DEFAULT_PERSON",
                format::person_name(person)
            );
            Err(CommandError::new(Exit::Usage, line))
        }
        several => {
            let names: Vec<String> = several.iter().take(NAMED).map(format::person_name).collect();
            let more = if several.len() > NAMED || list.next.is_some() { ", …" } else { "" };
            let line = format!(
                "several persons are stored, name one (or set TOKEND_DEFAULT_PERSON): {}{more}",
                names.join(", ")
            );
            Err(CommandError::new(Exit::Usage, line))
        }
    }
}

/// Calls `each` for the persons that match `filter`, a part of a query such as `&state=due`, page by page,
/// until `each` returns that it has enough.
pub(super) fn among(
    handle: &mut ApiClient,
    filter: &str,
    mut each: impl FnMut(&mut ApiClient, PersonView) -> Result<ControlFlow<()>, CommandError>,
) -> Result<(), CommandError> {
    pages(handle, filter, |handle, people| {
        for person in people {
            if each(handle, person)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// As [`among`], but calls `each` once for each page. So no more than a page is in memory.
pub(super) fn pages(
    handle: &mut ApiClient,
    filter: &str,
    mut each: impl FnMut(&mut ApiClient, Vec<PersonView>) -> Result<ControlFlow<()>, CommandError>,
) -> Result<(), CommandError> {
    let path = format!("{API}/people?limit={PART}{filter}");
    let next = |part: &mut People| part.next.take();
    parts(handle, &path, next, |handle, part| each(handle, part.people))
}

/// Calls `each` for every part of the list at `path`, which has a query, until `each` returns that it has enough. `next` takes
/// the position of the following part out of a part.
pub(super) fn parts<T: DeserializeOwned>(
    handle: &mut ApiClient,
    path: &str,
    next: impl Fn(&mut T) -> Option<String>,
    mut each: impl FnMut(&mut ApiClient, T) -> Result<ControlFlow<()>, CommandError>,
) -> Result<(), CommandError> {
    let mut after: Option<String> = None;
    loop {
        let from = after.as_deref().map(|after| format!("&after={}", segment(after))).unwrap_or_default();
        let mut part: T = handle.get(&format!("{path}{from}"))?;
        let following = next(&mut part);
        if each(handle, part)?.is_break() {
            return Ok(());
        }
        match following {
            None => return Ok(()),
            Some(next) => after = Some(forward(after.as_deref(), next)?),
        }
    }
}

/// Fails on a cursor that does not advance, which would cause an endless loop.
pub(super) fn forward(before: Option<&str>, next: String) -> Result<String, CommandError> {
    if before == Some(next.as_str()) {
        return Err(CommandError::new(Exit::Failed, "the daemon's list does not end; look at its log"));
    }
    Ok(next)
}
