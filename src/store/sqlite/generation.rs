//! Detects that the store is a restored backup.
//!
//! The store has a generation: a number that grows at every start, and whenever an API key is created or revoked or a
//! person is forgotten. The latest generation is also written to a file beside the key, which is not part of a restored
//! database. The file is written after the database is durable. So a crash between the two leaves an older number in the
//! file, never a newer one.
//!
//! This protects against accidents only. Another program that can write the database can write any number into it.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::sqlite::meta;
use crate::store::sqlite::permissions::with_suffix;

/// The file with the latest generation of one store. Stores that share a key file have a file each.
#[derive(Debug)]
pub(super) struct GenerationFile {
    path: PathBuf,
    /// The lowest generation that must be written to the file.
    wanted: AtomicI64,
}

impl GenerationFile {
    /// `id` is the id of the store.
    pub(super) fn new(key_file: &Path, id: &str) -> Self {
        let path = with_suffix(key_file, &format!(".last-seen-{id}"));
        Self { path, wanted: AtomicI64::new(0) }
    }

    /// The path of the file.
    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Compares the store at `store` with the file, and begins a generation that is later than both. Errors are logged, and
    /// the daemon starts all the same.
    pub(super) fn start(&self, db: &Connection, store: &Path) {
        let (kept, noted) = match meta::generation(db).map(|kept| (kept, self.read())) {
            Ok((kept, Ok(noted))) => (kept, noted.unwrap_or(0)),
            Ok((kept, Err(why))) => {
                self.cannot("read", &why);
                (kept, 0)
            }
            Err(why) => return log::warn!("cannot check whether the store is a restored backup: {why}"),
        };
        if noted > kept {
            log::warn!(
                "the store {} is older than the one that was here last (generation {kept}, last seen {noted}): a \
                 backup was restored, it seems. API keys revoked since then are valid again, and persons forgotten \
                 since then are back: compare `webex-tokend key list` and `webex-tokend people` with what you expect",
                store.display()
            );
        }
        match meta::begin_generation(db, noted) {
            Ok(begun) => {
                self.want(begun);
                self.note(begun);
            }
            Err(why) => {
                log::warn!("cannot store the generation, so a restored backup would go unnoticed: {why}")
            }
        }
    }

    /// `generation` is durable in the store and will be written to the file.
    pub(super) fn want(&self, generation: i64) {
        self.wanted.fetch_max(generation, Ordering::AcqRel);
    }

    /// Writes a durable generation to the file, unless a later one will follow soon.
    pub(super) fn note(&self, generation: i64) {
        if generation >= self.wanted.load(Ordering::Acquire)
            && let Err(why) = self.write(generation)
        {
            self.cannot("written", &why);
        }
    }

    fn cannot(&self, what: &str, why: &io::Error) {
        let name = self.path.display();
        log::info!("{name} cannot be {what} ({why}): a restored backup may go unnoticed");
    }

    fn read(&self) -> io::Result<Option<i64>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| io::Error::other("it contains no number")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes a temporary file and renames it, so that a crash leaves the old number or the new one.
    fn write(&self, generation: i64) -> io::Result<()> {
        let beside = with_suffix(&self.path, ".new");
        let _ = fs::remove_file(&beside);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{generation}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        File::open(dir.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

/// Adds the generation that a change began to its result, if it began one.
pub(super) fn after<T>(
    db: &Connection,
    changed: T,
    counts: impl FnOnce(&T) -> bool,
) -> Result<(T, Option<i64>), StoreError> {
    let begun = if counts(&changed) { Some(meta::begin_generation(db, 0)?) } else { None };
    Ok((changed, begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_private_and_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let seen = GenerationFile::new(&dir.path().join("key"), "1a2b");
        assert_eq!(seen.read().unwrap(), None);
        fs::write(dir.path().join("key.last-seen-1a2b.new"), "cut sho").unwrap();
        for generation in [1, 2, 40] {
            seen.write(generation).unwrap();
            assert_eq!(seen.read().unwrap(), Some(generation));
        }
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files, [dir.path().join("key.last-seen-1a2b")]);
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn of_many_generations_on_their_way_the_latest_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let seen = GenerationFile::new(&dir.path().join("key"), "1a2b");
        [3, 4, 5].iter().for_each(|generation| seen.want(*generation));
        seen.note(3);
        seen.note(4);
        assert_eq!(seen.read().unwrap(), None);
        seen.note(5);
        assert_eq!(seen.read().unwrap(), Some(5));
    }
}
