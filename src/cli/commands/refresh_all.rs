//! `refresh --all`: refreshes all persons, several at once.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use crate::api_types::People;
use crate::api_types::PersonView;
use crate::api_types::RefreshRequest;
use crate::api_types::Refreshed;
use crate::api_types::StateTally;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::SharedApi;
use crate::cli::api_client::segment;
use crate::cli::bulk;
use crate::cli::bulk::BulkCommand;
use crate::cli::bulk::BulkEnd;
use crate::cli::commands::person::forward;
use crate::cli::commands::refresh::exit_of;
use crate::cli::commands::refresh::line;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::progress::Progress;

/// Page size of the list of persons.
const PAGE: usize = 200;

pub(super) fn run(handle: &mut ApiClient, force: bool, json: bool) -> Result<(), CommandError> {
    let api = handle.share();
    let total = persons(api);
    let mut command = RefreshAll {
        persons: PersonQueue { api, people: Vec::new().into_iter(), after: None, ended: false },
        progress: Progress::new("refreshed", total),
        total,
        printed: if json { Printed::Json(JsonArray::default()) } else { Printed::Lines },
        outcomes: BTreeMap::new(),
        worst: None,
    };
    let how = RefreshRequest { force, bulk: true };
    let ended = bulk::run(api, bulk::requests_at_once(api), &mut command, |api, person: &PersonView| {
        api.post(&format!("{API}/people/{}/refresh", segment(&person.person_id)), &how, Duration::ZERO)
    });
    command.finish(ended)
}

/// The number of stored persons, if the daemon knows it.
fn persons(api: SharedApi<'_>) -> Option<usize> {
    #[derive(Deserialize)]
    struct PeopleStatus {
        people: Option<StateTally>,
    }
    let status: Option<PeopleStatus> = api.get(&format!("{API}/status")).ok();
    let people = status.and_then(|status| status.people)?;
    usize::try_from(people.fresh + people.due + people.retrying + people.consent_needed).ok()
}

struct RefreshAll<'a> {
    persons: PersonQueue<'a>,
    progress: Progress,
    /// The number of persons at the begin, if the daemon knows it.
    total: Option<usize>,
    printed: Printed,
    outcomes: BTreeMap<String, usize>,
    worst: Option<Exit>,
}

enum Printed {
    Lines,
    Json(JsonArray),
}

impl BulkCommand for RefreshAll<'_> {
    type Item = PersonView;
    type Reply = Result<Refreshed, CommandError>;

    fn next(&mut self) -> Result<Option<PersonView>, CommandError> {
        self.persons.next()
    }

    fn has_more(&self) -> bool {
        !self.persons.ended || self.persons.people.len() > 0
    }

    fn answered(&mut self, person: PersonView, reply: Self::Reply) -> Result<Option<Duration>, CommandError> {
        let refreshed = reply.or_else(|failure| instead(failure, person))?;
        let failed = refreshed.outcome == "failed";
        if failed {
            // Several kinds of failure count as one: the command was tried and failed.
            let exit = exit_of(&refreshed.person);
            self.worst = Some(self.worst.filter(|before| *before != exit).map_or(exit, |_| Exit::Failed));
        }
        *self.outcomes.entry(refreshed.outcome.clone()).or_default() += 1;
        self.progress.clear();
        match &mut self.printed {
            Printed::Lines => output::write_line(&line(&refreshed))?,
            Printed::Json(array) => array.write(&refreshed)?,
        }
        self.progress.step(failed);
        Ok(None)
    }
}

impl RefreshAll<'_> {
    /// Ends the output, and prints the sums.
    fn finish(mut self, ended: Result<BulkEnd, CommandError>) -> Result<(), CommandError> {
        self.progress.clear();
        let is_complete = !self.has_more();
        if let Printed::Json(array) = self.printed
            && (array.items > 0 || ended.is_ok())
        {
            array.end()?;
        }
        let persons: usize = self.outcomes.values().sum();
        let outcomes: Vec<String> = self
            .outcomes
            .iter()
            .map(|(outcome, count)| format!("{count} {}", output::printable(outcome)))
            .collect();
        if persons > 1 {
            print_stderr(&format!("{persons} persons: {}", outcomes.join(", ")));
        }
        match ended? {
            BulkEnd::Interrupted if !is_complete => {
                let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                let noun = if self.total.is_none() && persons == 1 { "person" } else { "persons" };
                let line = format!(
                    "interrupted after {persons}{of} {noun}; run `webex-tokend refresh --all` again without --force: \
                     persons just refreshed are skipped"
                );
                Err(CommandError::new(Exit::Failed, line))
            }
            _ => self.worst.map_or(Ok(()), |exit| Err(CommandError::Silent(exit))),
        }
    }
}

/// A rejection is the outcome of this person. A daemon that no longer answers ends the command.
fn instead(failure: CommandError, person: PersonView) -> Result<Refreshed, CommandError> {
    match failure {
        CommandError::Told(Exit::Unavailable, _) | CommandError::OutputClosed => Err(failure),
        CommandError::Told(_, detail) => {
            Ok(Refreshed { outcome: "failed".to_owned(), detail: Some(detail), person })
        }
        CommandError::Silent(_) => Ok(Refreshed { outcome: "failed".to_owned(), detail: None, person }),
    }
}

/// All persons, read page by page when they are needed.
struct PersonQueue<'a> {
    api: SharedApi<'a>,
    people: std::vec::IntoIter<PersonView>,
    after: Option<String>,
    ended: bool,
}

impl PersonQueue<'_> {
    fn next(&mut self) -> Result<Option<PersonView>, CommandError> {
        loop {
            if let Some(person) = self.people.next() {
                return Ok(Some(person));
            }
            if self.ended {
                return Ok(None);
            }
            let from = self.after.as_deref().map(|after| format!("&after={}", segment(after)));
            let path = format!("{API}/people?limit={PAGE}{}", from.unwrap_or_default());
            let page: People = self.api.get(&path)?;
            self.ended = page.next.is_none();
            if let Some(next) = page.next {
                self.after = Some(forward(self.after.as_deref(), next)?);
            }
            self.people = page.people.into_iter();
        }
    }
}

/// An array that is printed as its items come, in the same form as [`output::write_json`] prints a value.
#[derive(Default)]
struct JsonArray {
    items: usize,
}

impl JsonArray {
    fn write(&mut self, item: &impl Serialize) -> io::Result<()> {
        // Line breaks within texts are escaped, so these are all of the layout.
        let item = serde_json::to_string_pretty(item)?.replace('\n', "\n  ");
        let before = if self.items == 0 { "[" } else { "," };
        self.items += 1;
        output::write_bytes(format!("{before}\n  {item}").as_bytes())
    }

    fn end(self) -> io::Result<()> {
        output::write_line(if self.items == 0 { "[]" } else { "\n]" })
    }
}
