//! The canary: a sealed text in every store, which opens only with the store's own key and says whether its rows have MACs.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::secret::Secret;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::store::sqlite::generation::GenerationFile;
use crate::store::sqlite::meta;

/// The migration after which the rows have MACs.
pub(super) const WITH_MACS: i64 = 7;

const CANARY: &str = "webex-tokend canary";

/// The canary of a store whose rows have MACs. It differs from the earlier one. Otherwise a program without the key could set
/// the version back, and the migration would add MACs to rows of that program.
const CANARY_OF_MACS: &str = "webex-tokend canary of a store with MACs";

/// Writes a new canary. The id of the store is derived from the old one, if there is one, because its copies have the same.
pub(super) fn change(db: &Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let sealed = sealer.seal(&Secret::new(CANARY_OF_MACS.to_owned()), CANARY_OF_MACS);
    let sealed = sealed.map_err(|e| StoreError::Failed(e.to_string()))?;
    let old = read(db)?;
    meta::name_store(db, old.as_ref().unwrap_or(&sealed))?;
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('canary', ?1)", params![sealed])?;
    Ok(())
}

/// Refuses a copy without MACs of a store that has them by now. Otherwise the migration would add MACs to its rows, whatever
/// program wrote them.
pub(super) fn refuse_old_copy(db: &Connection, path: &Path, key_file: &Path) -> Result<(), StoreError> {
    let Some(canary) = read(db)? else { return Ok(()) };
    let note = GenerationFile::new(key_file, &meta::id_of(&canary)).into_path();
    if !note.exists() {
        return Ok(());
    }
    let why = format!(
        "is a copy from before its records were authenticated, and the store has been opened since. Restore a later backup; \
         if you trust this copy, remove {} and start again",
        note.display()
    );
    Err(StoreError::File { path: path.to_owned(), why })
}

fn read(db: &Connection) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(db.query_row("SELECT value FROM meta WHERE name = 'canary'", [], |row| row.get(0)).optional()?)
}

/// Checks the canary, a sealed text in every store that opens only with the store's own key.
pub(super) fn check(
    db: &Connection,
    path: &Path,
    key_file: &Path,
    (version, sealer): (i64, &Sealer),
) -> Result<(), StoreError> {
    let sealed = read(db)?.ok_or_else(|| StoreError::Corrupt("its canary is missing".to_owned()))?;
    let opens = |canary| sealer.open(&sealed, canary).is_ok();
    match (opens(CANARY), opens(CANARY_OF_MACS)) {
        (false, false) => Err(StoreError::WrongKey { store: path.to_owned(), key: key_file.to_owned() }),
        (_, with_macs) if with_macs == (version >= WITH_MACS) => Ok(()),
        _ => Err(StoreError::Corrupt(format!("another program has set its version to {version}"))),
    }
}
