//! Reads a settings file, if only its owner and root can have written it.

pub mod syntax;

use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

/// Maximum size of a settings file.
const BYTES_MAX: u64 = 1024 * 1024;

/// The permission bits that let the group or other users write.
const WRITE_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit, only a file's owner can rename or remove it.
const STICKY: u32 = 0o1000;

/// The content of the file at `path`; `None` if there is none. Only this process's user, root and `also` may
/// be able to change it: by writing to it, by replacing it with another file or link, or by owning it.
///
/// # Errors
/// An explanation of the problem, with the remedy.
pub(super) fn read(path: &Path, also: Option<u32>) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let named = match fs::symlink_metadata(path) {
        Ok(named) => named,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e.to_string()),
    };
    // The directory is checked first: if others cannot write to it, the checked file is the one that is
    // opened.
    check_directory(path, also)?;
    check_owner("it", &named, also)?;
    if named.is_symlink() {
        check_directory(&fs::canonicalize(path).map_err(|e| e.to_string())?, also)?;
    }
    // Opening a pipe would wait for its writer.
    let is_file =
        |found: &Metadata| if found.is_file() { Ok(()) } else { Err("it is not a regular file".to_owned()) };
    is_file(&fs::metadata(path).map_err(|e| e.to_string())?)?;
    let file = File::open(path).map_err(|e| e.to_string())?;
    let found = file.metadata().map_err(|e| e.to_string())?;
    is_file(&found)?;
    check_owner("it", &found, also)?;
    if found.mode() & WRITE_BY_OTHERS != 0 {
        return Err(format!(
            "its mode is {:04o}, so other users can write it (run chmod go-w on it)",
            found.mode() & 0o7777
        ));
    }
    let mut text = Zeroizing::new(Vec::new());
    let read = file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    if u64::try_from(read).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(format!("it is longer than {} KiB", BYTES_MAX / 1024));
    }
    Ok(Some(text))
}

fn check_directory(path: &Path, also: Option<u32>) -> Result<(), String> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let found = fs::metadata(dir).map_err(|e| e.to_string())?;
    check_owner("its directory", &found, also)?;
    if found.mode() & WRITE_BY_OTHERS != 0 && found.mode() & STICKY == 0 {
        return Err(format!(
            "its directory has mode {:04o}, so other users can replace the file (run chmod go-w {})",
            found.mode() & 0o7777,
            dir.display()
        ));
    }
    Ok(())
}

fn check_owner(what: &str, found: &Metadata, also: Option<u32>) -> Result<(), String> {
    let (owner, us) = (found.uid(), rustix::process::geteuid().as_raw());
    if owner == us || owner == 0 || also == Some(owner) {
        return Ok(());
    }
    Err(format!(
        "{what} belongs to the user with id {owner}, who can change it: it must belong to you (id {us}) or root"
    ))
}
