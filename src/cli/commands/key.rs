//! `key`: manages API keys.

use std::ops::ControlFlow;

use crate::api_types::CreateKeyRequest;
use crate::api_types::CreatedKey;
use crate::api_types::KeyList;
use crate::api_types::KeyView;
use crate::api_types::PersonView;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::segment;
use crate::cli::arguments::KeyCommand;
use crate::cli::arguments::KeyCreateArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::json_stream::JsonStream;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::table::Cell;
use crate::cli::table::Column;
use crate::cli::table::TableStream;

/// Maximum number of persons named for a key.
const NAMED: usize = 2;

const COLUMNS: [Column; 7] =
    [("name", 0), ("id", 2), ("can", 0), ("persons", 0), ("age", 4), ("ends in", 1), ("last used", 3)];

pub(super) fn run(handle: &mut ApiClient, asked: KeyCommand, terminal: Terminal) -> Result<(), CommandError> {
    match asked {
        KeyCommand::Create(asked) => create(handle, asked),
        KeyCommand::List(asked) => list(handle, asked.json.json, terminal),
        KeyCommand::Revoke(asked) => {
            handle.delete(&format!("{API}/keys/{}", segment(&asked.name)))?;
            Ok(output::write_line(&format!("{}: revoked", printable(&asked.name)))?)
        }
    }
}

fn create(handle: &mut ApiClient, asked: KeyCreateArgs) -> Result<(), CommandError> {
    let KeyCreateArgs { name, persons, can, days, .. } = asked;
    let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let asked = CreateKeyRequest { name, persons: given(persons), can: given(can), days };
    let made: CreatedKey = handle.post(&format!("{API}/keys"), &asked)?;
    output::write_line(&made.secret)?;
    let whose = match &made.key.persons {
        None => "all persons".to_owned(),
        Some(persons) => format::counted(persons.len(), "person", "persons"),
    };
    let (name, can) = (printable(&made.key.name), printable(&made.key.can.join(",")));
    print_stderr(&format!("key {name} ({can}, for {whose}): it is shown only once, so store it now"));
    Ok(())
}

fn list(handle: &mut ApiClient, json: bool, terminal: Terminal) -> Result<(), CommandError> {
    if json {
        let mut list = JsonStream::new(&[], "keys")?;
        pages(handle, |_, keys| Ok(list.write(&keys)?))?;
        return Ok(list.end()?);
    }
    let (mut table, mut any) = (TableStream::new(&COLUMNS, terminal), false);
    pages(handle, |handle, keys| {
        let now = format::now();
        let rows: Vec<Vec<Cell>> = keys.iter().map(|key| row(key, &owner_text(handle, key), now)).collect();
        any |= !rows.is_empty();
        if rows.is_empty() { Ok(()) } else { Ok(output::write_line(&table.lines(&rows).join("\n"))?) }
    })?;
    if !any {
        print_stderr("there is no key; `webex-tokend key create NAME` creates one");
    }
    Ok(())
}

/// Calls `each` with the keys of every page.
fn pages(
    handle: &mut ApiClient,
    mut each: impl FnMut(&mut ApiClient, Vec<KeyView>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let next = |list: &mut KeyList| list.next.take();
    let path = format!("{API}/keys?limit={}", person::PART);
    person::parts(handle, &path, next, |handle, list| each(handle, list.keys).map(ControlFlow::Continue))
}

/// The persons that a key is limited to, by e-mail address if known.
fn owner_text(handle: &mut ApiClient, key: &KeyView) -> String {
    let Some(persons) = key.persons.as_deref() else { return "all persons".to_owned() };
    let mut name = |id: &String| {
        // The person may have been removed since the key was created.
        let person: Option<PersonView> = handle.get(&format!("{API}/people/{}", segment(id))).ok();
        person.and_then(|person| person.email).unwrap_or_else(|| id.chars().take(40).collect())
    };
    let names: Vec<String> = persons.iter().take(NAMED).map(&mut name).collect();
    let more = persons.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

fn row(key: &KeyView, persons: &str, now: i64) -> Vec<Cell> {
    let used = key
        .last_used_at
        .as_deref()
        .map_or_else(|| "never".to_owned(), |at| format!("{} ago", format::age(at, now)));
    vec![
        key.name.as_str().into(),
        key.id.as_str().into(),
        key.can.join(",").into(),
        persons.into(),
        format::age(&key.created_at, now).into(),
        format::time_left(key.expires_at.as_deref(), now, "ended").into(),
        used.into(),
    ]
}
