//! Restricts the modes of the store's files, which other users may be able to read after a copy was restored.
//!
//! Files of the store are made private, with a warning. A directory causes a warning only, because other users may need it.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

/// `path` with `suffix` appended to its name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the files beside the database at `path` writable if the database is. SQLite created them with the mode that the
/// database had then, and could not open the store while one of them is read-only.
pub(super) fn make_side_files_writable(path: &Path) {
    let read_only = |path: &Path| mode_of(path).filter(|mode| mode & 0o200 == 0);
    if read_only(path).is_some() {
        return;
    }
    for file in ["-wal", "-shm"].map(|suffix| with_suffix(path, suffix)) {
        let Some(mode) = read_only(&file) else { continue };
        let name = file.display();
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Ok(()) => {
                log::warn!(
                    "{name}: was read-only (mode {mode:04o}) beside a writable database; changed to 0600"
                )
            }
            Err(why) => log::warn!(
                "{name}: its mode is {mode:04o}, so that the store cannot be written; chmod 600 it ({why})"
            ),
        }
    }
}

/// Makes the store's files at `path` private to their owner, and warns of a directory that other users can write.
pub(super) fn make_files_private(path: &Path) {
    for file in ["", "-wal", "-shm", ".lock", ".outage"].map(|suffix| with_suffix(path, suffix)) {
        let Some(mode) = mode_of(&file).filter(|mode| mode & 0o077 != 0) else { continue };
        let name = file.display();
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Ok(()) => log::warn!("{name}: its mode was {mode:04o}, others could use it; it is 0600 now"),
            Err(why) => log::warn!("{name}: its mode is {mode:04o}, others may use it; chmod 600 it ({why})"),
        }
    }
    if fs::metadata(path).is_ok_and(|found| found.nlink() > 1) {
        log::warn!(
            "{}: the file has another name (a hard link), under which the changes in {}-wal are missing; remove the other \
             name",
            path.display(),
            path.display()
        );
    }
    let Some(dir) = path.parent() else { return };
    // If the sticky bit is set, users cannot replace the files of others.
    if let Some(mode) = mode_of(dir).filter(|mode| mode & 0o022 != 0 && mode & 0o1000 == 0) {
        let name = dir.display();
        log::warn!("{name}: its mode is {mode:04o}, others may replace the store in it; chmod 700 it");
    }
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o7777)
}
