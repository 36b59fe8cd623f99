//! Why an operation of a store failed.

use std::path::Path;
use std::path::PathBuf;

use crate::domain::person::PersonId;

/// Why an operation of the store failed, and what the operator can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error(
        "the store {0} is in use by another webex-tokend; stop that one, or set TOKEND_STORE_URL to another file"
    )]
    InUse(PathBuf),
    /// A later version of this program wrote the file.
    #[error(
        "the store {path} has version {found}, this program knows up to {known}; run a newer webex-tokend"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest version that this program knows.
        known: i64,
    },
    /// The file is a database of another program.
    #[error("{0} is a database of another program; set TOKEND_STORE_URL to a file of its own")]
    Foreign(PathBuf),
    /// The store exists, but its key file does not.
    #[error(
        "the store {store} is sealed, but its key file {key} is missing; restore the key from your backup \
             (to start anew instead, move the store away: every person must then consent again)"
    )]
    KeyMissing {
        /// The store.
        store: PathBuf,
        /// The path of the missing key file.
        key: PathBuf,
    },
    /// The key is not the one that sealed the store.
    #[error(
        "the key {key} does not open the store {store}; restore the key that belongs to it, nothing was changed"
    )]
    WrongKey {
        /// The store.
        store: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key file cannot be used.
    #[error("key file {path}: {why}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        why: String,
    },
    /// A directory or file cannot be created or opened.
    #[error(
        "{path}: {why}; let this user write there, or set TOKEND_STATE_DIR or TOKEND_STORE_URL to another place"
    )]
    File {
        /// The directory or file.
        path: PathBuf,
        /// The error of the operating system.
        why: String,
    },
    /// The file beside the store that keeps an outage of the store over a restart cannot be read or written.
    #[error(
        "the file {path}, which keeps an outage of the store over a restart, cannot be {used}: {why}; let this user read \
             and write it, and keep disk space free"
    )]
    OutageFile {
        /// The file.
        path: PathBuf,
        /// What was tried: `read` or `written`.
        used: &'static str,
        /// The error of the operating system.
        why: String,
    },
    /// The disk is full.
    #[error(
        "the store cannot be written, its disk is full; free some space (refreshes then continue by themselves)"
    )]
    Full,
    /// The file or its disk is read-only.
    #[error("the store cannot be written, its file or disk is read-only; make it writable")]
    ReadOnly,
    /// The operating system refused to read or write, for instance because of a quota, a limit on the size of files, or a
    /// failing disk.
    #[error(
        "the store's disk cannot be read or written ({0}); look for a used-up quota or a failing disk in the system's log"
    )]
    Disk(String),
    /// The path names another file than the one that was opened, or none.
    #[error(
        "the store {0} was moved, replaced or removed while in use, and nothing is stored any more; put it back, or restart"
    )]
    Moved(PathBuf),
    /// The write-ahead log exists, but its database does not.
    #[error(
        "{log} belongs to a store, but {path} is missing or empty; put that back (to start anew instead, move the log \
             away, too: every person must then consent again)"
    )]
    LogAlone {
        /// The store.
        path: PathBuf,
        /// Its write-ahead log.
        log: PathBuf,
    },
    /// Another program holds a lock on the file.
    #[error("the store is locked by another program (a backup, a shell?); end it")]
    Locked,
    /// The file is damaged.
    #[error("the store's file is damaged ({0}); stop the daemon, keep a copy, restore your latest backup")]
    Corrupt(String),
    /// The record of this person does not open with the key.
    #[error(
        "the record of {0} does not open: it was changed, or comes from another store; a new consent replaces it"
    )]
    Unreadable(PersonId),
    /// The outbox or the history alone.
    #[error(
        "the store's file is damaged where notices are kept ({0}); tokens are still refreshed; \
             stop the daemon when convenient and restore your latest backup"
    )]
    Outbox(String),
    /// The store is closing.
    #[error("the store is closing")]
    Closed,
    /// Any other error.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether the whole store is affected, as opposed to one record. The store logs such errors itself, once at the start
    /// and once at the end, so callers should not.
    #[must_use]
    pub fn affects_whole_store(&self) -> bool {
        use StoreError::Corrupt;
        use StoreError::Disk;
        use StoreError::Failed;
        use StoreError::Full;
        use StoreError::Locked;
        use StoreError::Moved;
        use StoreError::ReadOnly;
        matches!(self, Full | ReadOnly | Disk(_) | Moved(_) | Locked | Corrupt(_) | Failed(_))
    }

    /// The level at which a caller logs this error. It is `DEBUG` for errors that the store logs itself: errors of the whole
    /// store, and records that do not open.
    #[must_use]
    pub fn log_level(&self) -> log::Level {
        let is_told = self.affects_whole_store() || matches!(self, Self::Unreadable(_) | Self::Outbox(_));
        if is_told { log::Level::Debug } else { log::Level::Error }
    }

    /// The same error with the store's path, if the operator has to copy or replace the file.
    #[must_use]
    pub(crate) fn with_path(self, path: &Path) -> Self {
        let name = path.display().to_string();
        match self {
            Self::Corrupt(why) if !why.contains(&name) => Self::Corrupt(format!("{name}: {why}")),
            other => other,
        }
    }
}
