//! The file beside the database that keeps a short text while the database cannot be written.
//!
//! The file has a fixed length and is overwritten in place, so that a full disk does not refuse a later write.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

use crate::store::StoreError;
use crate::store::sqlite::permissions::with_suffix;

const LENGTH: usize = 4096;

pub(super) fn path(database: &Path) -> PathBuf {
    with_suffix(database, ".outage")
}

/// Replaces the text. A text that is too long for the file is an error.
pub(super) fn write(path: &Path, text: &str) -> Result<(), StoreError> {
    let write = || {
        if text.len() > LENGTH {
            return Err(io::Error::other("the text is too long"));
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all(format!("{text:<LENGTH$}").as_bytes())?;
        file.sync_data()
    };
    write().map_err(|why| failed(path, "written", &why))
}

pub(super) fn read(path: &Path) -> Result<Option<String>, StoreError> {
    // Bounded, whatever the file has become.
    let read = File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(LENGTH as u64).read_to_string(&mut text).map(|_| text)
    });
    match read {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            // Now, while the disk may have room for it.
            write(path, "").map(|()| None)
        }
        Err(why) => Err(failed(path, "read", &why)),
    }
}

fn failed(path: &Path, used: &'static str, why: &io::Error) -> StoreError {
    StoreError::OutageFile { path: path.to_owned(), used, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_text_is_kept_in_a_file_of_fixed_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir.path().join("tokend.db"));
        assert_eq!(read(&path), Ok(None));
        for text in ["{\"reason\":\"Ä\"}", "short"] {
            write(&path, text).unwrap();
            assert_eq!(read(&path), Ok(Some(text.to_owned())));
        }
        assert!(write(&path, &"x".repeat(LENGTH + 1)).is_err());
        assert_eq!(read(&path), Ok(Some("short".to_owned())));
        write(&path, "").unwrap();
        assert_eq!(read(&path), Ok(None));
        assert!(fs::metadata(&path).unwrap().len() >= 4096);
    }

    #[test]
    fn an_error_of_the_file_names_it_and_does_not_call_the_store_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let missing = path(&dir.path().join("missing/tokend.db"));
        let directory = path(&dir.path().join("tokend.db"));
        fs::create_dir(&directory).unwrap();
        for (path, failed, used) in [
            (&missing, write(&missing, "x").unwrap_err(), "written"),
            (&missing, read(&missing).unwrap_err(), "written"),
            (&directory, read(&directory).unwrap_err(), "read"),
        ] {
            let text = failed.to_string();
            assert!(text.contains(path.to_str().unwrap()), "{text}");
            assert!(text.contains(&format!("cannot be {used}: ")) && !text.contains("damaged"), "{text}");
            assert!(text.contains("let this user read and write it"), "{text}");
        }
    }
}
