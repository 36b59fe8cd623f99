//! Files that others may use: a restored copy, a directory that was there before. The store's own are made private, and
//! it is said that they were not; a directory is only remarked, since others may have their business in it.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::store::sqlite::with_suffix;

/// Lets SQLite write the files that it has left beside the database at `path`, if it may write the database: it makes
/// them with the database's mode of that time, and a read-only one would keep the store closed for ever.
pub(super) fn free_side_files(path: &Path) {
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

/// Takes the store's files at `path` away from everybody but their owner.
pub(super) fn tighten(path: &Path) {
    for file in ["", "-wal", "-shm", ".lock"].map(|suffix| with_suffix(path, suffix)) {
        let Some(mode) = mode_of(&file).filter(|mode| mode & 0o077 != 0) else { continue };
        let name = file.display();
        match fs::set_permissions(&file, Permissions::from_mode(0o600)) {
            Ok(()) => log::warn!("{name}: its mode was {mode:04o}, others could use it; it is 0600 now"),
            Err(why) => log::warn!("{name}: its mode is {mode:04o}, others may use it; chmod 600 it ({why})"),
        }
    }
    if fs::metadata(path).is_ok_and(|found| found.nlink() > 1) {
        log::warn!(
            "{}: the file has another name, too (a hard link): under that, what is not yet worked off in {}-wal would be \
             missing; remove it",
            path.display(),
            path.display()
        );
    }
    let Some(dir) = path.parent() else { return };
    // Where the sticky bit is set, nobody replaces what is another's.
    if let Some(mode) = mode_of(dir).filter(|mode| mode & 0o022 != 0 && mode & 0o1000 == 0) {
        let name = dir.display();
        log::warn!("{name}: its mode is {mode:04o}, others may replace the store in it; chmod 700 it");
    }
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o7777)
}
