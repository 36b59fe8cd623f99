//! `key`: API keys.

use crate::api_types::Key;
use crate::api_types::KeyAsked;
use crate::api_types::KeyList;
use crate::api_types::KeyMade;
use crate::cli::arguments::KeyCommand;
use crate::cli::arguments::KeyCreate;
use crate::cli::client::Handle;
use crate::cli::client::segment;
use crate::cli::commands::API;
use crate::cli::exit::Failure;
use crate::cli::print;
use crate::cli::print::Paper;
use crate::cli::print::note;
use crate::cli::print::printable;
use crate::cli::show;
use crate::cli::table;
use crate::cli::table::Cell;
use crate::cli::table::Column;

const COLUMNS: [Column; 7] =
    [("name", 0), ("id", 2), ("can", 0), ("persons", 0), ("age", 4), ("ends in", 1), ("last used", 3)];

pub(super) fn run(handle: &mut Handle, asked: KeyCommand, paper: Paper) -> Result<(), Failure> {
    match asked {
        KeyCommand::Create(asked) => create(handle, asked),
        KeyCommand::List(asked) => list(handle, asked.json.json, paper),
        KeyCommand::Revoke(asked) => {
            handle.delete(&format!("{API}/keys/{}", segment(&asked.name)))?;
            print::line(&format!("{}: revoked", printable(&asked.name)))
        }
    }
}

fn create(handle: &mut Handle, asked: KeyCreate) -> Result<(), Failure> {
    let KeyCreate { name, persons, can, days, .. } = asked;
    let made: KeyMade = handle.post(&format!("{API}/keys"), &KeyAsked { name, persons, can, days })?;
    print::line(&made.secret)?;
    let whose = match &made.key.persons {
        None => "everybody".to_owned(),
        Some(persons) => format!("{} person(s)", persons.len()),
    };
    let (name, can) = (printable(&made.key.name), printable(&made.key.can.join(",")));
    note(&format!("key {name} ({can}, for {whose}): it is shown this once, keep it now"));
    Ok(())
}

fn list(handle: &mut Handle, json: bool, paper: Paper) -> Result<(), Failure> {
    let list: KeyList = handle.get(&format!("{API}/keys"))?;
    if json {
        return print::json(&list);
    }
    if list.keys.is_empty() {
        note("there is no key; `webex-tokend key create NAME` makes one");
        return Ok(());
    }
    let now = show::now();
    let rows: Vec<Vec<Cell>> = list.keys.iter().map(|key| row(key, now)).collect();
    print::line(&table::lines(&COLUMNS, &rows, paper).join("\n"))
}

fn row(key: &Key, now: i64) -> Vec<Cell> {
    let persons = match key.persons.as_deref() {
        None => "everybody".to_owned(),
        Some([one]) => one.chars().take(40).collect(),
        Some(several) => several.len().to_string(),
    };
    let used = key
        .last_used_at
        .as_deref()
        .map_or_else(|| "never".to_owned(), |at| format!("{} ago", show::age(at, now)));
    vec![
        key.name.as_str().into(),
        key.id.as_str().into(),
        key.can.join(",").into(),
        persons.into(),
        show::age(&key.created_at, now).into(),
        show::left(key.expires_at.as_deref(), now, "ended").into(),
        used.into(),
    ]
}
