//! `forget --state` and `forget --file`: removes the grants of many persons, in steps.
//!
//! Which persons are removed is decided before the confirmation. Each step is durable when the next one begins, so the command
//! can be interrupted at any time.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use crate::api_types::RemovalRequest;
use crate::api_types::RemovalResult;
use crate::api_types::RemovalResults;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::progress::Progress;
use crate::domain::person::PersonQuery;

/// Persons of a request, and the bytes of their names: the API accepts 200 persons, and bodies of 64 KiB.
const STEP: usize = 200;
const STEP_BYTES: usize = 48 * 1024;

/// Maximum size of a file: more than a million persons.
const FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Maximum number of persons that a message names.
const NAMED: usize = 5;

/// Maximum number of wrong lines that a message names. A file of another kind has very many.
const NAMED_LINES: usize = 100;

/// The persons to remove, one on a line. A million of them take less memory in one text than in texts of their own.
#[derive(Debug, Default)]
pub(super) struct PersonLines {
    text: String,
    count: usize,
}

impl PersonLines {
    fn push(&mut self, person: &str) {
        self.text.push_str(person);
        self.text.push('\n');
        self.count += 1;
    }

    /// Reads a file with one person on each line; `-` is stdin. Empty lines and lines that begin with `#` do not count, nor do
    /// repeated persons.
    pub(super) fn read(path: &Path) -> Result<Self, CommandError> {
        let name = path.display();
        let unreadable = |e: io::Error| CommandError::new(Exit::Usage, format!("{name} cannot be read: {e}"));
        let mut text = String::new();
        let limit = FILE_BYTES + 1;
        let read = if path == Path::new("-") {
            io::stdin().lock().take(limit).read_to_string(&mut text)
        } else {
            File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text)
        };
        if u64::try_from(read.map_err(unreadable)?).unwrap_or(u64::MAX) >= limit {
            let line = format!("{name} is longer than {} MiB; split it", FILE_BYTES >> 20);
            return Err(CommandError::new(Exit::Usage, line));
        }
        Self::parse(&text).map_err(|wrong| CommandError::new(Exit::Usage, format!("{name}: {wrong}")))
    }

    /// The persons of a text, or what is wrong with it. A text with a wrong line names no person at all.
    fn parse(text: &str) -> Result<Self, String> {
        let (mut persons, mut seen, mut wrong) = (Self::default(), HashSet::new(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || !seen.insert(line) {
                continue;
            }
            match PersonQuery::parse(line) {
                Ok(_) => persons.push(line),
                Err(why) => wrong.push((number, why)),
            }
        }
        let Some((first, why)) = wrong.first() else { return Ok(persons) };
        let numbers = wrong.iter().take(NAMED_LINES).map(|(number, _): &(usize, _)| number.to_string());
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        let more = wrong.len().saturating_sub(NAMED_LINES);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (lines, them, each) = if wrong.len() == 1 {
            ("line", "it", "is neither a person id nor an e-mail address")
        } else {
            ("lines", "them", "are neither person ids nor e-mail addresses")
        };
        Err(format!(
            "{lines} {numbers}{more} {each} (line {first}: {why}); correct {them}; no grant was removed"
        ))
    }

    /// All persons in this state.
    fn in_state(handle: &mut ApiClient, state: &str) -> Result<Self, CommandError> {
        let mut found = Self::default();
        person::pages(handle, &format!("&state={state}"), |_, people| {
            people.iter().for_each(|person| found.push(&person.person_id));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }
}

/// Removes the grants of all persons in `state`.
pub(super) fn in_state(handle: &mut ApiClient, state: &str, yes: bool) -> Result<(), CommandError> {
    let persons = PersonLines::in_state(handle, state)?;
    if persons.count == 0 {
        print_stderr(&format!("no stored person is in the state {state}"));
        return Ok(());
    }
    let whose = format!("{} in the state {state}", counted(persons.count));
    remove(handle, &persons, Some(state), &whose, yes)
}

/// Removes the grants of these persons, in any state.
pub(super) fn of_file(handle: &mut ApiClient, persons: &PersonLines, yes: bool) -> Result<(), CommandError> {
    if persons.count == 0 {
        print_stderr("the file names no person");
        return Ok(());
    }
    remove(handle, persons, None, &counted(persons.count), yes)
}

/// Asks whether the tokens of `who` are to be removed.
///
/// # Errors
/// [`CommandError`] if the answer is no, or if there is no terminal to ask on.
pub(super) fn confirm(who: &str, remedy: &str) -> Result<(), CommandError> {
    match output::confirm(&format!("Remove the tokens of {who}? Only {remedy} can restore the access.")) {
        Some(true) => Ok(()),
        Some(false) => Err(CommandError::new(Exit::Failed, format!("not removed: {who}"))),
        None => {
            let line = format!(
                "not removed, because there is no terminal for a confirmation: {who}; confirm with --yes"
            );
            Err(CommandError::new(Exit::Usage, line))
        }
    }
}

fn counted(persons: usize) -> String {
    format::counted(persons, "person", "persons")
}

fn remove(
    handle: &mut ApiClient,
    persons: &PersonLines,
    state: Option<&str>,
    whose: &str,
    yes: bool,
) -> Result<(), CommandError> {
    if yes {
        print_stderr(&format!("removing the tokens of {whose}"));
    } else {
        confirm(whose, "new consents")?;
    }
    let (mut report, mut progress) = (Report::default(), Progress::new("removed", Some(persons.count)));
    let mut lines = persons.text.lines().peekable();
    while lines.peek().is_some() {
        let (mut step, mut bytes) = (Vec::new(), 0);
        while step.len() < STEP
            && let Some(line) = lines.next_if(|line| bytes == 0 || bytes + line.len() <= STEP_BYTES)
        {
            bytes += line.len();
            step.push(line.to_owned());
        }
        let asked = RemovalRequest { persons: step, state: state.map(str::to_owned) };
        let removed: RemovalResults = handle.post(&format!("{API}/people/forget"), &asked)?;
        for result in &removed.results {
            report.count(result);
            progress.step(false);
        }
    }
    drop(progress);
    report.print(state)
}

/// What came of all persons.
#[derive(Default)]
struct Report {
    forgotten: usize,
    kept: Kind,
    unknown: Kind,
    ambiguous: Kind,
}

/// Persons with one outcome.
#[derive(Default)]
struct Kind {
    count: usize,
    /// The first of them.
    names: Vec<String>,
}

impl Kind {
    fn push(&mut self, person: &str) {
        self.count += 1;
        if self.names.len() < NAMED {
            self.names.push(printable(person));
        }
    }

    fn print(&self, says: &str) {
        if self.count > 0 {
            let more = if self.count > self.names.len() { ", …" } else { "" };
            print_stderr(&format!("{says} ({}): {}{more}", self.count, self.names.join(", ")));
        }
    }
}

impl Report {
    fn count(&mut self, result: &RemovalResult) {
        match result.outcome.as_str() {
            "forgotten" => self.forgotten += 1,
            "kept" => self.kept.push(&result.person),
            "ambiguous" => self.ambiguous.push(&result.person),
            _ => self.unknown.push(&result.person),
        }
    }

    /// A person who is gone, or has left the state, meanwhile is no failure of a removal by state.
    fn print(&self, state: Option<&str>) -> Result<(), CommandError> {
        self.kept.print("kept, because the state has changed");
        self.unknown.print("not stored");
        self.ambiguous.print("kept, because several persons share the address; name them by id");
        output::write_line(&format!("removed the tokens of {}", counted(self.forgotten)))?;
        match (state, self.ambiguous.count, self.unknown.count) {
            (Some(_), ..) | (None, 0, 0) => Ok(()),
            (None, 0, _) => Err(CommandError::Silent(Exit::UnknownPerson)),
            (None, ..) => Err(CommandError::Silent(Exit::Usage)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_person_on_each_line() {
        let persons = PersonLines::parse("# gone\nada@example.com\n\n Y2lz \r\nada@example.com\n").unwrap();
        assert_eq!((persons.text.as_str(), persons.count), ("ada@example.com\nY2lz\n", 2));
    }

    #[test]
    fn every_wrong_line_is_named() {
        let wrong = PersonLines::parse("ada@example.com\nAda Lovelace\n\nGrace Hopper\n").unwrap_err();
        assert!(
            wrong.starts_with("lines 2, 4 are neither person ids nor e-mail addresses (line 2: ")
                && wrong.ends_with("); correct them; no grant was removed"),
            "{wrong}"
        );
    }

    #[test]
    fn a_file_of_another_kind_does_not_fill_the_screen() {
        let wrong =
            PersonLines::parse(&(0..5000).map(|number| format!("no person {number}\n")).collect::<String>());
        let wrong = wrong.unwrap_err();
        assert!(
            wrong.contains(", 100 and 4900 more are neither person ids nor e-mail addresses (line 1: ")
                && wrong.len() < 1000,
            "{wrong}"
        );
    }
}
