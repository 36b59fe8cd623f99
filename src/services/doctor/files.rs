//! Checks of the store file and the key file, without opening the store.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::Access;
use rustix::fs::AtFlags;
use rustix::fs::CWD;
use rustix::fs::accessat;

use crate::api_types::Finding;
use crate::api_types::FindingStatus;
use crate::config::StoreConfig;

/// The finding for a store that does not exist yet; `None` if it exists.
#[must_use]
pub fn store_to_be(path: &Path) -> Option<Finding> {
    let name = path.display();
    let finding = |mark, says: String| Some(Finding::new(mark, "store", says));
    match has_store(path) {
        Ok(true) => None,
        Ok(false) => match obstacle(path) {
            None => finding(FindingStatus::Ok, format!("{name} will be created at the first start")),
            Some(why) => finding(FindingStatus::Bad, format!("{name} cannot be created: {why}")),
        },
        Err(why) => finding(FindingStatus::Bad, why),
    }
}

/// Why this user cannot create a file here. The directories above it may be missing, too.
fn obstacle(path: &Path) -> Option<String> {
    let there = path.ancestors().skip(1).find(|dir| fs::symlink_metadata(dir).is_ok())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let name = there.display();
    if !there.is_dir() {
        return Some(format!("{name} is not a directory; set TOKEND_STATE_DIR to a directory"));
    }
    let may = accessat(CWD, there, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS);
    may.err().map(|e| format!("{name}: {e}; set TOKEND_STATE_DIR to a directory that this user may write"))
}

pub(super) fn key(store: &StoreConfig) -> Option<Finding> {
    let (path, key_file) = kept(store)?;
    let name = key_file.display();
    let (mark, says) = match (fs::metadata(key_file), has_store(path)) {
        (Ok(found), _) => key_found(key_file, found.len(), found.permissions().mode() & 0o777),
        (Err(e), _) if e.kind() != ErrorKind::NotFound => (FindingStatus::Bad, unseen(key_file, &e)),
        (Err(_), Ok(false)) => (FindingStatus::Ok, format!("{name} will be created with the store")),
        (Err(e), Ok(true)) => (
            FindingStatus::Bad,
            format!("{name}: {e}; the store cannot be opened without it, restore it from your backup"),
        ),
        (Err(_), Err(why)) => (FindingStatus::Bad, why),
    };
    Some(Finding::new(mark, "key file", says))
}

fn key_found(path: &Path, length: u64, mode: u32) -> (FindingStatus, String) {
    let name = path.display();
    if length != 32 {
        return (
            FindingStatus::Bad,
            format!("{name} has {length} bytes, not 32; restore it from your backup"),
        );
    }
    if mode & 0o077 != 0 {
        return (
            FindingStatus::Bad,
            format!("{name} has mode {mode:04o}, so other users may access it; run chmod 600 on it"),
        );
    }
    (FindingStatus::Ok, format!("{name}; back it up separately from the store"))
}

/// Whether the store exists; an error if this user may not check.
fn has_store(path: &Path) -> Result<bool, String> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len() > 0),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(unseen(path, &e)),
    }
}

fn unseen(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be checked: {error}; run this as the daemon's user", path.display())
}

/// The paths of the store and its key file; `None` for a store in memory.
fn kept(store: &StoreConfig) -> Option<(&Path, &Path)> {
    match store {
        StoreConfig::Sqlite { path, key_file } => Some((path, key_file)),
        StoreConfig::Memory => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_others_can_read_are_bad() {
        let mark = |length, mode| key_found(Path::new("key"), length, mode).0;
        assert_eq!(
            [mark(32, 0o600), mark(32, 0o640), mark(31, 0o600)],
            [FindingStatus::Ok, FindingStatus::Bad, FindingStatus::Bad]
        );
    }

    #[test]
    fn a_store_below_a_file_cannot_be_created() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
        let mark = |path: &Path| store_to_be(path).map(|finding| finding.mark);
        assert_eq!(mark(&file.join("tokend.db")), Some(FindingStatus::Bad));
        assert_eq!(mark(&link.join("below/tokend.db")), Some(FindingStatus::Bad));
        assert_eq!(mark(&dir.path().join("deep/below/tokend.db")), Some(FindingStatus::Ok));
        fs::write(&file, "something").unwrap();
        assert_eq!(mark(&file), None);
    }
}
