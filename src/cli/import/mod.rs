//! `import`: imports grants of other programs. The whole file is read and parsed before the first grant is
//! sent. The same file may be imported again.

mod env;
mod jsonl;
mod parsed_file;
mod token_app;
mod wtr;

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::api_types::Imported;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::ImportArgs;
use crate::cli::arguments::ImportFormat;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::import::parsed_file::SQLITE;
use crate::cli::import::parsed_file::text;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::progress::Progress;
use crate::config::SettingsSource;

pub use crate::cli::import::parsed_file::ImportFileError;
pub use crate::cli::import::parsed_file::ParsedFile;

/// Maximum size of a file; a hundred thousand grants with long tokens take half of it.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Reads and parses the whole file. Sends nothing.
pub(super) fn read(asked: &ImportArgs, source: &SettingsSource) -> Result<ParsedFile, CommandError> {
    let name = asked.file.display();
    let broken = |why: &dyn std::fmt::Display| {
        CommandError::new(Exit::Failed, format!("{name}: {why}; nothing was imported"))
    };
    let bytes = load(&asked.file).map_err(|e| broken(&e))?;
    let Some(origin) = asked.from.or_else(|| guess(&bytes)) else {
        let line =
            format!("{name}: the format is not recognized; name it with --from jsonl|wtr|token-app|env");
        return Err(CommandError::new(Exit::Usage, line));
    };
    let mut parsed = understand(origin, &asked.file, &bytes, format::now()).map_err(|e| broken(&e))?;
    parsed.records.iter_mut().for_each(|record| record.asked.replace = asked.replace);
    for remark in &parsed.remarks {
        print_stderr(&format!("{name}: {}", printable(remark)));
    }
    if let Some(theirs) = &parsed.client_id
        && source.setting("MY_APP_CLIENT_ID").is_some_and(|ours| ours != theirs)
    {
        let theirs = printable(theirs);
        print_stderr(&format!(
            "{name}: the tokens were issued to the client id {theirs}, not to MY_APP_CLIENT_ID; Webex rejects them here"
        ));
    }
    Ok(parsed)
}

/// Parses the whole file or fails. `bytes` is the content of `file`, and `now` is in Unix seconds.
///
/// # Errors
/// [`ImportFileError`] says what is wrong and where, without quoting the file.
pub fn understand(
    origin: ImportFormat,
    file: &Path,
    bytes: &[u8],
    now: i64,
) -> Result<ParsedFile, ImportFileError> {
    let parsed = match origin {
        ImportFormat::Jsonl => jsonl::parse(bytes),
        ImportFormat::Wtr => wtr::parse(bytes, now),
        ImportFormat::Env => env::parse(bytes),
        ImportFormat::TokenApp => token_app::parse(file, bytes),
    }?;
    if parsed.records.is_empty() {
        return Err(ImportFileError::new("the file contains no grant"));
    }
    Ok(parsed)
}

/// The outcomes in the order in which they are counted.
const OUTCOMES: [&str; 4] = ["new", "replaced", "kept", "older"];

/// Sends one grant after another and prints the outcome of each, and a summary.
pub(super) fn run(handle: &mut ApiClient, parsed: &ParsedFile) -> Result<(), CommandError> {
    let mut progress = Progress::new("imported", Some(parsed.records.len()));
    let (mut counts, mut failed) = ([0_usize; OUTCOMES.len()], 0);
    let mut wait = None;
    for record in &parsed.records {
        if let Some(seconds) = wait.take() {
            progress.clear();
            print_stderr(&format!("Webex asks to wait: the next grant is sent in {seconds} s"));
            pause(Duration::from_secs(seconds));
        }
        let imported = match handle.post::<Imported>("/api/v1/import", &record.asked) {
            Ok(imported) => imported,
            Err(CommandError::Told(exit, why)) if exit != Exit::Unavailable => {
                Imported { outcome: "failed".to_owned(), detail: Some(why), person: None, retry_after: None }
            }
            Err(CommandError::Told(exit, why)) => {
                return Err(CommandError::new(
                    exit,
                    format!("at {}: {why}; then import the file again", record.place),
                ));
            }
            Err(failure) => return Err(failure),
        };
        match OUTCOMES.iter().zip(&mut counts).find(|(outcome, _)| **outcome == imported.outcome) {
            Some((_, count)) => *count += 1,
            None => failed += 1,
        }
        progress.clear();
        output::write_line(&line(&record.place, &imported))?;
        progress.step();
        wait = imported.retry_after.map(|seconds| seconds.max(1));
    }
    drop(progress);
    let counted: Vec<String> =
        OUTCOMES.iter().zip(counts).map(|(outcome, count)| format!("{count} {outcome}")).collect();
    print_stderr(&format!("{} grants: {}, {failed} not imported", parsed.records.len(), counted.join(", ")));
    if failed == 0 {
        return Ok(());
    }
    let line =
        format!("{failed} of {} were not imported; the file may be imported again", parsed.records.len());
    Err(CommandError::new(Exit::Failed, line))
}

#[expect(clippy::disallowed_methods, reason = "no runtime is there to sleep on")]
fn pause(time: Duration) {
    std::thread::sleep(time);
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

fn load(path: &Path) -> Result<Zeroizing<Vec<u8>>, ImportFileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let unreadable = |e: io::Error| ImportFileError(format!("the file cannot be read: {e}"));
    let read = if path == Path::new("-") {
        io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).map_err(unreadable)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    let read = read.map_err(unreadable)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(ImportFileError(format!("the file is longer than {} MiB; split it", BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

/// The format of a file, detected from its content.
#[must_use]
pub fn guess(bytes: &[u8]) -> Option<ImportFormat> {
    if bytes.starts_with(SQLITE) {
        return Some(ImportFormat::TokenApp);
    }
    let text = text(bytes).ok()?;
    if text.trim_start().starts_with('[') {
        return Some(ImportFormat::Jsonl);
    }
    if text.trim_start().starts_with('{') {
        let whole: Option<Value> = serde_json::from_str(text).ok();
        let is_wtr = |value: Value| {
            let names = ["token", "clientid", "expiration", "refresh_expiration", "redirectport"];
            value
                .as_object()
                .is_some_and(|keys| keys.keys().any(|key| names.contains(&key.to_lowercase().as_str())))
        };
        return Some(if whole.is_some_and(is_wtr) { ImportFormat::Wtr } else { ImportFormat::Jsonl });
    }
    let assigns = |line: &str| {
        let line = line.trim_start().trim_start_matches("export ");
        env::names()
            .any(|name| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')))
    };
    text.lines().any(assigns).then_some(ImportFormat::Env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_a_file_is_detected() {
        let table: [(&[u8], Option<ImportFormat>); 11] = [
            (b"SQLite format 3\0rest", Some(ImportFormat::TokenApp)),
            (b"{\"refresh_token\":\"r\"}", Some(ImportFormat::Jsonl)),
            (b"\n{\"refresh_token\":\"r\"}\n{broken", Some(ImportFormat::Jsonl)),
            (b"{\n  \"clientID\": \"C\", \"refresh_token\": \"r\"\n}", Some(ImportFormat::Wtr)),
            (b"\xef\xbb\xbf{\"token\":\"t\"}", Some(ImportFormat::Wtr)),
            (b"# mine\nPORT=1\nexport REFRESH_TOKEN = x\n", Some(ImportFormat::Env)),
            (b"PORT=1\nMY_REFRESH_TOKEN=x", None),
            (b"WEBEX_REFRESH_TOKEN=x", Some(ImportFormat::Env)),
            (b"\n[{\"refreshToken\":\"r\"}]", Some(ImportFormat::Jsonl)),
            (b"{\n  \"access_token\": \"a\",\n  \"refresh_token\": \"r\"\n}\n", Some(ImportFormat::Jsonl)),
            (b"\xff\xfe", None),
        ];
        for (bytes, expected) in table {
            assert_eq!(guess(bytes), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
