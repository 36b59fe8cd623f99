//! `import`: imports grants of other programs. The whole file is read and parsed before the first grant is
//! sent. The same file may be imported again.

mod env;
mod failed_file;
mod jsonl;
mod parsed_file;
mod send;
mod token_app;
mod wtr;

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::arguments::ImportArgs;
use crate::cli::arguments::ImportFormat;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::import::parsed_file::SQLITE;
use crate::cli::import::parsed_file::text;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::config::SettingsSource;

pub(super) use crate::cli::import::send::run;

pub use crate::cli::import::parsed_file::ImportFileError;
pub use crate::cli::import::parsed_file::ParsedFile;

/// Maximum size of a file, which is read as a whole: some million grants.
const BYTES_MAX: u64 = 1024 * 1024 * 1024;

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
    let parsed = understand(origin, &asked.file, &bytes, format::now());
    let mut parsed = parsed.map_err(|e| match e.problems() {
        [_] => broken(&e),
        several => {
            several.iter().for_each(|problem| print_stderr(&format!("{name}: {problem}")));
            broken(&format!("{} places are wrong, see above", several.len()))
        }
    })?;
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

fn load(path: &Path) -> Result<Zeroizing<Vec<u8>>, ImportFileError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let unreadable = |e: io::Error| ImportFileError::new(format!("the file cannot be read: {e}"));
    let read = if path == Path::new("-") {
        io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).map_err(unreadable)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    let read = read.map_err(unreadable)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(ImportFileError::new(format!(
            "the file is longer than {} MiB; split it",
            BYTES_MAX >> 20
        )));
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
