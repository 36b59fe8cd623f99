//! Reading a file of settings, if only its owner and root can have written it.

use std::fs;
use std::fs::File;
use std::fs::Metadata;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

/// No file of settings is nearly as long.
const BYTES_MAX: u64 = 1024 * 1024;

/// What the others of the owner's group, and all others, may not do.
const WRITE_BY_OTHERS: u32 = 0o022;

/// In a directory with this bit only the owner of a file can rename or remove it.
const STICKY: u32 = 0o1000;

/// The content of the file at `path`, `None` if there is none. Only this process's user, root and `also` may be able to
/// change it: by writing to it, by putting another file or link in its place, or by owning it.
///
/// # Errors
/// What is wrong with it, and what to do.
pub(super) fn read(path: &Path, also: Option<u32>) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let named = match fs::symlink_metadata(path) {
        Ok(named) => named,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(e.to_string()),
    };
    // The directory first: while others cannot write to it, what was looked at is what is opened.
    check_directory(path, also)?;
    check_owner("it", &named, also)?;
    if named.is_symlink() {
        check_directory(&fs::canonicalize(path).map_err(|e| e.to_string())?, also)?;
    }
    // To open a pipe is to wait for its writer.
    let is_file =
        |found: &Metadata| if found.is_file() { Ok(()) } else { Err("it is no regular file".to_owned()) };
    is_file(&fs::metadata(path).map_err(|e| e.to_string())?)?;
    let file = File::open(path).map_err(|e| e.to_string())?;
    let found = file.metadata().map_err(|e| e.to_string())?;
    is_file(&found)?;
    check_owner("it", &found, also)?;
    if found.mode() & WRITE_BY_OTHERS != 0 {
        return Err(format!(
            "its mode is {:04o}, so others can write it: chmod go-w it",
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
            "its directory has mode {:04o}, so others can put another file in its place: chmod go-w {}",
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
        "{what} belongs to the user with id {owner}, who can change it: only yours (id {us}) or root's is read"
    ))
}
