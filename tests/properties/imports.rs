//! Files to import.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;
use webex_tokend::cli::arguments::ImportFormat;
use webex_tokend::cli::import::guess;
use webex_tokend::cli::import::understand;

use super::harness::SECRET_MARK;

const NOW: i64 = 1_790_000_000;

/// A file is accepted as a whole or not at all, accepted texts look like tokens, and errors quote nothing of it.
pub(super) fn holds(data: &[u8]) -> String {
    let all = [ImportFormat::Jsonl, ImportFormat::Wtr, ImportFormat::Env];
    let mut came = Vec::new();
    for origin in guess(data).into_iter().chain(all) {
        let place = file();
        if origin == ImportFormat::TokenApp {
            fs::write(&place, data).unwrap();
        }
        match understand(origin, &place, data, NOW) {
            Err(broken) => {
                let told = broken.to_string();
                assert!(!told.is_empty() && !told.contains(SECRET_MARK), "{told}");
                came.push(format!("no {origin:?}"));
            }
            Ok(parsed) => {
                assert!(parsed.grants().count() > 0);
                for grant in parsed.grants() {
                    let tokens: Vec<&String> =
                        [&grant.refresh_token, &grant.access_token].into_iter().flatten().collect();
                    let fit =
                        |token: &&String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
                    assert!(!tokens.is_empty() && tokens.iter().all(fit));
                }
                assert!(!parsed.remarks().iter().any(|remark| remark.contains(SECRET_MARK)));
                if origin == ImportFormat::Jsonl {
                    whole(data, parsed.grants().count());
                }
                assert_eq!(understand(origin, &place, data, NOW).as_ref(), Ok(&parsed));
                came.push(format!("{origin:?} of {}", parsed.grants().count()));
            }
        }
    }
    came.join(", ")
}

/// Every object is a grant, on a line of its own or not; one object that is not makes the file invalid.
fn whole(data: &[u8], grants: usize) {
    let text = std::str::from_utf8(data).unwrap();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_object = |line: &&str| serde_json::from_str(line).is_ok_and(|value: Value| value.is_object());
    if lines.iter().all(is_object) {
        assert_eq!(lines.len(), grants);
    } else {
        assert!(text.matches('{').count() >= grants);
    }
    for spoilt in ["{\"refresh_token\":", "{}", "{\"refresh_token\":\"a b\"}"] {
        let more = format!("{text}\n{spoilt}");
        assert!(understand(ImportFormat::Jsonl, Path::new("-"), more.as_bytes(), NOW).is_err());
    }
}

/// One file for all calls: no other program uses this directory.
fn file() -> PathBuf {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().unwrap()).path().join("to-import")
}
