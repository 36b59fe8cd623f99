//! `people`: lists the persons, in a table or as JSON.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::api_types::BacklogView;
use crate::api_types::BreakerView;
use crate::api_types::PersonView;
use crate::api_types::Status;
use crate::api_types::Topic;
use crate::api_types::attention;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::PeopleArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::json_stream::JsonStream;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::table::Cell;
use crate::cli::table::Color;
use crate::cli::table::Column;
use crate::cli::table::TableStream;
use crate::domain::why::failed;

const COLUMNS: [Column; 7] = [
    ("who", 0),
    ("state", 0),
    ("age", 5),
    ("expires in", 0),
    ("refresh token", 3),
    ("next refresh", 2),
    ("last outcome", 4),
];

pub(super) fn run(
    handle: &mut ApiClient,
    asked: &PeopleArgs,
    terminal: Terminal,
) -> Result<(), CommandError> {
    if asked.list.json.json {
        let mut list = JsonStream::new(&[], "people")?;
        matching(handle, asked, |people| Ok(list.write(&people)?))?;
        return Ok(list.end()?);
    }
    // A daemon of another version may not support it, and the table is what the user requested.
    let status: Option<Status> = handle.get(&format!("{API}/status")).ok();
    if let Some(line) = status.as_ref().and_then(|status| pause_line(&status.breaker, format::now())) {
        print_stderr(&line);
    }
    if let Some(line) = status.as_ref().and_then(attention_line) {
        print_stderr(&line);
    }
    let backlog = status.and_then(print_backlog);
    let (mut table, mut sums) = (TableStream::new(&COLUMNS, terminal), PeopleSums::default());
    matching(handle, asked, |people| {
        let now = format::now();
        let rows: Vec<Vec<Cell>> = people.iter().map(|person| row(person, backlog.as_ref(), now)).collect();
        people.iter().for_each(|person| sums.count(person));
        if rows.is_empty() { Ok(()) } else { Ok(output::write_line(&table.lines(&rows).join("\n"))?) }
    })?;
    if sums.persons == 0 {
        let filtered = asked.state.is_some() || asked.missing_scope;
        let none = "no person is stored; `webex-tokend login` gets a consent";
        print_stderr(if filtered { "no stored person matches the filter" } else { none });
        return Ok(());
    }
    sums.lines().iter().for_each(|line| print_stderr(line));
    Ok(())
}

/// The backlog, if there is one. It is printed on stderr as well, because it explains the column of next refreshes.
pub(super) fn backlog(handle: &mut ApiClient) -> Option<BacklogView> {
    handle.get(&format!("{API}/status")).ok().and_then(print_backlog)
}

fn print_backlog(status: Status) -> Option<BacklogView> {
    status.backlog.inspect(|backlog| print_stderr(&printable(&backlog.says)))
}

/// What needs attention beside persons who must consent, of which the table itself says more below.
fn attention_line(status: &Status) -> Option<String> {
    let all = attention(status.people.as_ref(), status.notices.as_ref());
    let others = all.into_iter().filter(|one| one.topic != Topic::Consent).map(|one| one.says);
    let others: Vec<String> = others.collect();
    (!others.is_empty()).then(|| printable(&others.join("; ")))
}

/// Calls `each` with the persons that the options ask for, page by page.
fn matching(
    handle: &mut ApiClient,
    asked: &PeopleArgs,
    mut each: impl FnMut(Vec<PersonView>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let filter = asked.state.as_ref().map(|state| format!("&state={state}")).unwrap_or_default();
    let mut left = asked.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    person::pages(handle, &filter, |_, mut people| {
        people.retain(|person| !asked.missing_scope || !person.missing_scopes.is_empty());
        people.truncate(left);
        left -= people.len();
        each(people)?;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// What is said of all listed persons at the end.
#[derive(Default)]
struct PeopleSums {
    persons: u64,
    states: BTreeMap<String, u64>,
    /// The link of the first person who must consent.
    consent_url: Option<String>,
    lacking: MissingScopes,
}

impl PeopleSums {
    fn count(&mut self, person: &PersonView) {
        self.persons += 1;
        *self.states.entry(person.state.clone()).or_default() += 1;
        if person.state == "consent_needed" && self.consent_url.is_none() {
            self.consent_url = Some(person.consent_url.clone());
        }
        self.lacking.count(person);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(url) = &self.consent_url {
            // Each person has a consent URL with the own address in it. The URL without the query works for all
            // persons.
            let needy = self.states.get("consent_needed").copied().unwrap_or_default();
            let url = if needy == 1 { url } else { url.split('?').next().unwrap_or_default() };
            lines.push(format!("{needy} must consent again, at {}", printable(url)));
        }
        if self.lacking.persons > 0 {
            lines.push(self.lacking.line());
        }
        let states = self.states.iter().map(|(state, persons)| format!("{persons} {}", printable(state)));
        let word = if self.persons == 1 { "person" } else { "persons" };
        lines.push(format!("{} {word}: {}", self.persons, states.collect::<Vec<_>>().join(", ")));
        lines
    }
}

/// The number of persons whose grants lack configured scopes, and those scopes.
#[derive(Default)]
pub(super) struct MissingScopes {
    pub(super) persons: usize,
    scopes: BTreeSet<String>,
}

impl MissingScopes {
    pub(super) fn count(&mut self, person: &PersonView) {
        self.persons += usize::from(!person.missing_scopes.is_empty());
        self.scopes.extend(person.missing_scopes.iter().cloned());
    }

    pub(super) fn line(&self) -> String {
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        format!(
            "{} lack a scope of MY_APP_SCOPES ({}); a new consent grants it: `people --missing-scope` lists them",
            self.persons,
            printable(&scopes.join(" "))
        )
    }
}

/// The line about paused refreshes; `None` if they do not pause.
pub(super) fn pause_line(breaker: &BreakerView, now: i64) -> Option<String> {
    let says = breaker.says.as_deref()?;
    let since =
        breaker.since.as_deref().map_or_else(|| "a while".to_owned(), |since| format::age(since, now));
    let next = match format::time_left(breaker.until.as_deref(), now, "") {
        _ if breaker.state == "probing" => "one refresh is being tried".to_owned(),
        past if past.is_empty() => "the next one that is due will be tried".to_owned(),
        left => format!("the next one is tried in {left}"),
    };
    Some(format!("all refreshes have paused for {since}, {next}: {}", printable(says)))
}

/// When a person is refreshed. A due person waits for others while there is a backlog.
pub(super) fn next_refresh(at: Option<&str>, backlog: Option<&BacklogView>, now: i64) -> String {
    let left = format::time_left(at, now, "now");
    match backlog {
        Some(backlog) if left == "now" => match backlog.until.as_deref() {
            Some(until) => format!("within {}", format::time_left(Some(until), now, "a minute")),
            None => "in its turn".to_owned(),
        },
        _ => left,
    }
}

fn row(person: &PersonView, backlog: Option<&BacklogView>, now: i64) -> Vec<Cell> {
    let next = next_refresh(person.next_refresh_at.as_deref(), backlog, now);
    let outcome = match person.failures {
        0 => person.last_outcome.clone(),
        failures => format!("{}, {}", person.last_outcome, failed(failures)),
    };
    let color = if person.failures > 0 { Color::Attention } else { Color::Plain };
    vec![
        format::person_name(person).as_str().into(),
        Cell::new(&person.state, format::state_color(&person.state)),
        format::age(&person.renewed_at, now).into(),
        format::time_left(Some(&person.expires_at), now, "expired").into(),
        format::time_left(person.refresh_token_expires_at.as_deref(), now, "expired").into(),
        next.into(),
        Cell::new(&outcome, color),
    ]
}
