//! Detects that the store's path names another file by now.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use crate::store::StoreError;

/// The identity of the opened file. SQLite continues to write to a file that was moved, replaced or removed, and those writes
/// would be missing at the next start.
#[derive(Clone)]
pub(super) struct FileIdentity {
    path: PathBuf,
    file: (u64, u64),
}

impl FileIdentity {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = identity(path).ok_or_else(|| StoreError::Moved(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// The path of the store.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still names the opened file.
    ///
    /// # Errors
    /// [`StoreError::Moved`] if it does not.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let same = identity(&self.path) == Some(self.file);
        if same { Ok(()) } else { Err(StoreError::Moved(self.path.clone())) }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
