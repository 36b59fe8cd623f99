//! The SQLite file of the token management service sample: each row of `tokens` is a grant.
//!
//! The file is opened as immutable, without a lock or a journal, and nothing is written. So the service may
//! keep running.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::Row;

use crate::cli::import::parsed_file::FileReader;
use crate::cli::import::parsed_file::ImportFileError;
use crate::cli::import::parsed_file::ImportRecord;
use crate::cli::import::parsed_file::ParsedFile;
use crate::cli::import::parsed_file::SQLITE;

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<ParsedFile, ImportFileError> {
    if !bytes.starts_with(SQLITE) {
        return Err(ImportFileError::new("it is not a SQLite file"));
    }
    for suffix in ["-wal", "-journal"] {
        // Changes in this file belong to the database and would be missing.
        if fs::metadata(beside(path, suffix)).is_ok_and(|found| found.len() > 0) {
            return Err(ImportFileError::new(format!(
                "the service is writing to it (there is a {suffix} file); stop the service first"
            )));
        }
    }
    let unreadable =
        |e: rusqlite::Error| ImportFileError::new(format!("it is not a database of the token service: {e}"));
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(address(path)?, flags).map_err(unreadable)?;
    db.pragma_update(None, "trusted_schema", false).map_err(unreadable)?;
    let mut select = db
        .prepare("SELECT id, org_id, cluster_id, access_token, refresh_token FROM tokens ORDER BY id")
        .map_err(unreadable)?;
    let rows = select.query_map([], |row| Ok(record(row))).map_err(unreadable)?;
    let mut reader = FileReader::default();
    for row in rows {
        reader.add(row.map_err(unreadable)?);
    }
    reader.finish()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The path in a URI for SQLite, escaped so that no character becomes an option.
fn address(path: &Path) -> Result<String, ImportFileError> {
    let whole =
        fs::canonicalize(path).map_err(|e| ImportFileError::new(format!("it cannot be found: {e}")))?;
    let mut address = String::from("file:");
    for byte in whole.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => address.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => address.push(char::from(*byte)),
            byte => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address.push_str("?mode=ro&immutable=1");
    Ok(address)
}

fn record(row: &Row<'_>) -> Result<ImportRecord, ImportFileError> {
    let id: i64 = row
        .get("id")
        .map_err(|_| ImportFileError::new("a row of its table tokens has an id that is not a number"))?;
    let place = format!("row {id}");
    let field = |name: &str| -> Result<Option<String>, ImportFileError> {
        row.get(name).map_err(|_| ImportFileError::new(format!("{place}: its {name} is not text")))
    };
    let (access, cluster, org) = (field("access_token")?, field("cluster_id")?, field("org_id")?);
    let refresh = field("refresh_token")?;
    ImportRecord::new(place, refresh, access.map(|access| joined(access, cluster.as_deref(), org.as_deref())))
}

/// Joins the parts of a token: the service stores it split at the underscores.
fn joined(access: String, cluster: Option<&str>, org: Option<&str>) -> String {
    match (cluster, org) {
        (Some(cluster), Some(org)) if !access.is_empty() && !cluster.is_empty() && !org.is_empty() => {
            let tail = format!("_{cluster}_{org}");
            if access.ends_with(&tail) { access } else { access + &tail }
        }
        _ => access,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = "CREATE TABLE `tokens` (`id` INTEGER PRIMARY KEY AUTOINCREMENT, `org_id` VARCHAR(255), \
        `cluster_id` VARCHAR(255), `access_token` VARCHAR(255), `expires_in` INTEGER, `refresh_token` VARCHAR(255), \
        `refresh_token_expires_in` INTEGER, `token_type` VARCHAR(255), `created_at` DATETIME, `updated_at` DATETIME)";

    fn made(dir: &Path, sql: &str) -> (PathBuf, Vec<u8>) {
        let path = dir.join("db #1?x.sqlite");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn tokens_are_joined_and_the_file_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let rows = "INSERT INTO tokens (org_id, cluster_id, access_token, refresh_token) VALUES \
            ('org', 'PF84', 'a1', 'r1'), (NULL, NULL, 'a2', NULL)";
        let (path, before) = made(dir.path(), &format!("{SCHEMA};{rows}"));
        let parsed = parse(&path, &before).unwrap();
        let [first, second] = parsed.records.as_slice() else { panic!("not two") };
        assert_eq!(first.place, "row 1");
        assert_eq!(first.asked.access_token.as_deref(), Some("a1_PF84_org"));
        assert_eq!(first.asked.refresh_token.as_deref(), Some("r1"));
        assert_eq!(second.asked.access_token.as_deref(), Some("a2"));
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no other file was created");
    }

    #[test]
    fn other_files_are_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = made(dir.path(), "CREATE TABLE other (id INTEGER)");
        assert!(parse(&path, &bytes).unwrap_err().to_string().contains("no such table"));
        assert!(parse(&path, b"{}").unwrap_err().to_string().contains("not a SQLite file"));
        fs::write(beside(&path, "-wal"), b"pages").unwrap();
        assert!(parse(&path, &bytes).unwrap_err().to_string().contains("stop the service"));
    }

    #[test]
    fn rows_without_tokens_are_named_by_their_id() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = made(
            dir.path(),
            &format!("{SCHEMA}; INSERT INTO tokens (id, refresh_token) VALUES (7, x'ff00')"),
        );
        assert!(parse(&path, &bytes).unwrap_err().to_string().contains("row 7"));
        let more = "INSERT INTO tokens (id, refresh_token) VALUES (8, 'r'), (9, 'a b')";
        let (_, bytes) = made(dir.path(), more);
        let told = parse(&path, &bytes).unwrap_err();
        assert!(told.problems().len() == 2 && told.problems()[1].starts_with("row 9"), "{told}");
        let (path, bytes) =
            made(dir.path(), "DELETE FROM tokens WHERE id > 7; UPDATE tokens SET refresh_token = ''");
        assert!(parse(&path, &bytes).unwrap_err().to_string().contains("row 7 has neither"));
    }
}
