//! Opens a store: takes the locks, reads the key, checks the canary and runs the migrations. A store that is refused is not
//! changed.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::OpenFlags;

use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::key_file;
use crate::store::seal::Sealer;
use crate::store::sqlite::canary;
use crate::store::sqlite::canary::WITH_MACS;
use crate::store::sqlite::file_identity::FileIdentity;
use crate::store::sqlite::generation::GenerationFile;
use crate::store::sqlite::meta;
use crate::store::sqlite::migrations::APPLICATION_ID;
use crate::store::sqlite::migrations::MIGRATIONS;
use crate::store::sqlite::migrations::migrate;
use crate::store::sqlite::permissions;
use crate::store::sqlite::permissions::with_suffix;

const READERS: usize = 2;

/// Size in bytes to which the write-ahead log is cut after a checkpoint. A backup that reads for long makes it grow.
const WAL_SIZE_LIMIT: i64 = 32 * 1024 * 1024;

/// Makes grants due that an ended process left claimed.
pub(super) const END_OPEN_CLAIMS: &str =
    "UPDATE grants SET claim_owner = NULL, due_at = ?1, wake_at = ?1 WHERE claim_owner IS NOT NULL";

/// Deliveries of a process that is gone are due again.
const FREE_DELIVERIES: &str =
    "UPDATE deliveries SET claimed = 0, next_at = ?1 WHERE state = 'waiting' AND claimed = 1";

/// How long to wait for another program's lock before it is an error.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct OpenedConnections {
    pub(super) owner: StoreLock,
    pub(super) writer: Connection,
    pub(super) readers: Vec<Connection>,
    pub(super) place: FileIdentity,
    pub(super) sealer: Arc<Sealer>,
    pub(super) last_seen: GenerationFile,
}

pub(super) fn open(path: &Path, key_file: &Path, now: UnixTime) -> Result<OpenedConnections, StoreError> {
    let path = &resolve_links(path)?;
    let mut owner = take_lock(path)?;
    if is_fresh(path)? {
        // The key comes first, because a store without a key cannot be opened.
        sealer(path, key_file, true)?;
        make_private(path)?;
    }
    // Locked before SQLite opens the file, and closed after SQLite has closed it. Closing any descriptor of a file ends all
    // locks that SQLite holds on it.
    owner.database = Some(lock_database(path)?);
    permissions::make_side_files_writable(path);
    let mut writer = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let version = version(&writer, path)?;
    let sealer = Arc::new(sealer(path, key_file, version == 0)?);
    if version > 0 {
        canary::check(&writer, path, key_file, (version, &sealer))?;
    }
    if (1..WITH_MACS).contains(&version) {
        canary::refuse_old_copy(&writer, path, key_file)?;
    }
    // Only now, because a store that is refused must not be changed.
    permissions::make_files_private(path);
    prepare(&mut writer, version, &sealer, now)?;
    let last_seen = GenerationFile::new(key_file, &meta::store_id(&writer)?);
    last_seen.start(&writer, path);
    // Savepoints and statements with triggers copy the pages that they change. In temporary files those copies would be most
    // of what is written. Set after the migrations, which may sort a whole table.
    writer.pragma_update(None, "temp_store", "MEMORY")?;
    let readers =
        (0..READERS).map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)).collect::<Result<_, _>>()?;
    Ok(OpenedConnections { owner, writer, readers, place: FileIdentity::open(path)?, sealer, last_seen })
}

/// The canonical path of the store, which is the same in all processes and after a change of the working directory. Creates
/// the directory.
fn resolve_links(path: &Path) -> Result<PathBuf, StoreError> {
    let path = std::path::absolute(path).map_err(|e| file_error(path, &e))?;
    make_parent(&path)?;
    match fs::canonicalize(&path) {
        Ok(true_path) => Ok(true_path),
        // Otherwise two processes could lock two names of one file.
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            Err(StoreError::File { path, why: "is a link to a file that is not there".to_owned() })
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(e) => Err(file_error(&path, &e)),
    }
}

/// The locks that prevent two processes from using one store. The system releases them however the process ends.
pub(super) struct StoreLock {
    /// A file beside the database. Its lock exists before the database does, and stays if the database is replaced.
    beside: File,
    /// The database itself, which may have other names: a hard link, or a mount of this file alone.
    database: Option<File>,
}

/// Releases the locks explicitly. A child process that is just being started holds a copy of every open file for a moment,
/// and with it the locks.
impl Drop for StoreLock {
    fn drop(&mut self) {
        for file in self.database.iter().chain([&self.beside]) {
            let _ = file.unlock();
        }
    }
}

fn take_lock(path: &Path) -> Result<StoreLock, StoreError> {
    let lock = with_suffix(path, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock)
        .map_err(|e| file_error(&lock, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(StoreLock { beside: file, database: None }),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(e)) => Err(file_error(&lock, &e)),
    }
}

/// Locks the database with `flock`, which does not conflict with SQLite's own locks.
fn lock_database(path: &Path) -> Result<File, StoreError> {
    let file = File::open(path).map_err(|e| file_error(path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
        Err(TryLockError::Error(e)) => Err(file_error(path, &e)),
    }
}

fn file_error(path: &Path, error: &io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), why: error.to_string() }
}

fn make_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| file_error(dir, &e))
        }
        _ => Ok(()),
    }
}

/// Whether the file is missing, or empty because a start was interrupted.
///
/// # Errors
/// [`StoreError::LogAlone`] if a write-ahead log lies beside it. SQLite would remove that log, and with it the changes that
/// are not in the database yet.
fn is_fresh(path: &Path) -> Result<bool, StoreError> {
    if size(path)? > 0 {
        return Ok(false);
    }
    let log = with_suffix(path, "-wal");
    if size(&log)? > 0 { Err(StoreError::LogAlone { path: path.to_owned(), log }) } else { Ok(true) }
}

fn size(path: &Path) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(file_error(path, &e)),
    }
}

/// Creates the database file with mode 0600 before SQLite does, because its journal files inherit the mode.
fn make_private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop).map_err(|e| file_error(path, &e))
}

fn sealer(path: &Path, key_file: &Path, fresh: bool) -> Result<Sealer, StoreError> {
    let key = match key_file::read(key_file)? {
        Some(key) => key,
        None if fresh => {
            make_parent(key_file)?;
            key_file::generate(key_file)?
        }
        None => return Err(StoreError::KeyMissing { store: path.to_owned(), key: key_file.to_owned() }),
    };
    Sealer::new(&key).map_err(|e| StoreError::BadKey { path: key_file.to_owned(), why: e.to_string() })
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|e| StoreError::File { path: path.to_owned(), why: e.to_string() })?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT)?;
    Ok(db)
}

/// The version of the store's tables; 0 if it has none.
///
/// # Errors
/// [`StoreError`] if the file belongs to another program or to a later version of this one.
fn version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mark: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if mark != APPLICATION_ID && (mark != 0 || tables > 0 || version != 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if version > known {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known });
    }
    Ok(version)
}

fn prepare(db: &mut Connection, version: i64, sealer: &Sealer, now: UnixTime) -> Result<(), StoreError> {
    db.pragma_update(None, "journal_mode", "WAL")?;
    migrate(db, version, sealer)?;
    db.execute(END_OPEN_CLAIMS, [now.0])?;
    // A damaged outbox must not keep the daemon from starting.
    if let Err(why) = db.execute(FREE_DELIVERIES, [now.0]) {
        log::error!("notices that were being sent when the last process ended are sent later: {why}");
    }
    Ok(())
}
