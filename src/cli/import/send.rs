//! Sends the grants of a file to the API.

use std::time::Duration;

use crate::api_types::Imported;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::ImportArgs;
use crate::cli::bulk;
use crate::cli::bulk::BulkCommand;
use crate::cli::bulk::BulkEnd;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::import::failed_file::FailedFile;
use crate::cli::import::parsed_file::ImportRecord;
use crate::cli::import::parsed_file::ParsedFile;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::progress::Progress;

/// The outcomes in the order in which they are counted.
const OUTCOMES: [&str; 4] = ["new", "replaced", "kept", "older"];

/// The reason that the file gives for a grant that was not sent.
const NOT_SENT: &str = "not sent: the import ended early";

/// Sends the grants, and prints the outcome of each as it comes: failures on stderr, others on stdout. Then prints a summary.
pub(in crate::cli) fn run(
    handle: &mut ApiClient,
    asked: &ImportArgs,
    parsed: ParsedFile,
) -> Result<(), CommandError> {
    let failed_file = asked.failed_to.as_deref().map(FailedFile::create).transpose()?;
    let (api, total) = (handle.share(), parsed.records.len());
    let at_once = if total > 1 { bulk::requests_at_once(api) } else { 1 };
    let mut import = Import {
        records: parsed.records.into_iter(),
        progress: Progress::new("imported", Some(total)),
        counts: [0; OUTCOMES.len()],
        failed: 0,
        unanswered: 0,
        failed_file,
    };
    let ended = bulk::run(api, at_once, &mut import, |api, record: &ImportRecord| {
        api.post(&format!("{API}/import"), &record.asked, IMPORT_TIME)
    });
    import.finish(total, ended)
}

struct Import {
    records: std::vec::IntoIter<ImportRecord>,
    progress: Progress,
    counts: [usize; OUTCOMES.len()],
    failed: usize,
    /// Sent to a daemon that did not answer.
    unanswered: usize,
    failed_file: Option<FailedFile>,
}

/// How much longer than other requests the import of one grant may take: the daemon asks Webex three times, and repeats requests
/// that fail. One person's slow answers must not end the import of all others.
const IMPORT_TIME: Duration = Duration::from_secs(360);

impl BulkCommand for Import {
    type Item = ImportRecord;
    type Reply = Result<Imported, CommandError>;

    fn next(&mut self) -> Result<Option<ImportRecord>, CommandError> {
        Ok(self.records.next())
    }

    fn has_more(&self) -> bool {
        self.records.len() > 0
    }

    fn answered(
        &mut self,
        record: ImportRecord,
        reply: Self::Reply,
    ) -> Result<Option<Duration>, CommandError> {
        let failed = |why| Imported {
            outcome: "failed".to_owned(),
            detail: Some(why),
            person: None,
            retry_after: None,
        };
        match reply {
            Ok(imported) => self.count(&record, &imported),
            Err(CommandError::Told(Exit::Unavailable, why)) => {
                let place = &record.place;
                let file =
                    self.failed_file.as_ref().map(|file| printable(&file.path().display().to_string()));
                let file = file.unwrap_or_else(|| "the file again".to_owned());
                let line = format!("stopped at {place}: {why}; when the daemon runs again, import {file}");
                self.unanswered += 1;
                self.keep(&record, &why)?;
                Err(CommandError::new(Exit::Unavailable, line))
            }
            Err(CommandError::Told(_, why)) => self.count(&record, &failed(why)),
            Err(other) => Err(other),
        }
    }
}

impl Import {
    /// Answers how long Webex asks to wait.
    fn count(
        &mut self,
        record: &ImportRecord,
        imported: &Imported,
    ) -> Result<Option<Duration>, CommandError> {
        let known = OUTCOMES.iter().zip(&mut self.counts).find(|(name, _)| **name == imported.outcome);
        let failed = known.is_none();
        match known {
            Some((_, count)) => *count += 1,
            None => self.failed += 1,
        }
        self.progress.clear();
        let line = line(&record.place, imported);
        if failed {
            print_stderr(&line);
            self.keep(record, imported.detail.as_deref().unwrap_or(&imported.outcome))?;
        } else {
            output::write_line(&line)?;
        }
        self.progress.step(failed);
        Ok(imported.retry_after.map(|seconds| Duration::from_secs(seconds.max(1))))
    }

    /// Writes a grant to the file of failed ones.
    fn keep(&mut self, record: &ImportRecord, why: &str) -> Result<(), CommandError> {
        self.failed_file.as_mut().map_or(Ok(()), |file| file.add(&record.asked, why))
    }

    /// Prints the summary.
    fn finish(mut self, total: usize, ended: Result<BulkEnd, CommandError>) -> Result<(), CommandError> {
        self.progress.clear();
        let left = self.records.len() + self.unanswered;
        for record in std::mem::take(&mut self.records) {
            self.keep(&record, NOT_SENT)?;
        }
        let nothing = left == total;
        if nothing && ended.is_err() {
            return ended.map(|_| ());
        }
        let counted: Vec<String> =
            OUTCOMES.iter().zip(self.counts).map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let failed = self.failed;
        let sent = if left > 0 { format!(", {left} not sent or not answered") } else { String::new() };
        let grants = format::counted(total, "grant", "grants");
        print_stderr(&format!("{grants}: {}, {failed} not imported{sent}", counted.join(", ")));
        let file = self.failed_file.as_ref().map(|file| file.path().display());
        match ended? {
            BulkEnd::Interrupted if left > 0 => {
                let file = file.map_or_else(|| "the file again".to_owned(), |file| file.to_string());
                let line =
                    format!("interrupted: {left} of {grants} were not imported; import {file} to continue");
                Err(CommandError::new(Exit::Failed, line))
            }
            _ if failed > 0 => {
                let advice = file.map_or_else(
                    || "the file may be imported again".to_owned(),
                    |file| format!("import {file} later"),
                );
                let line = format!("{failed} of {total} were not imported; {advice}");
                Err(CommandError::new(Exit::Failed, line))
            }
            _ => Ok(()),
        }
    }
}

fn line(place: &str, imported: &Imported) -> String {
    let who = imported
        .person
        .as_ref()
        .map(|person| format!(" {}", format::person_line(person)))
        .unwrap_or_default();
    let detail = imported.detail.as_deref().map(|text| format!(" ({})", printable(text))).unwrap_or_default();
    format!("{place}: {}{who}{detail}", printable(&imported.outcome))
}
