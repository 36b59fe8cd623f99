//! Facts about the whole store, one row each: the time of the latest change, the texts of the event loop, the generation.

use aws_lc_rs::digest;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::MetaKey;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;

/// Stores the time of the latest change in the transaction of that change. Each integration has its own, because each
/// corrects its own dates.
pub(super) fn bump_last_write(
    db: &Connection,
    context: &QueryContext,
    at: UnixTime,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
         ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)";
    db.prepare_cached(sql)?.execute(params![name_of("latest", context), at.0])?;
    Ok(())
}

pub(super) fn last_write_at(db: &Connection, context: &QueryContext) -> Result<Option<UnixTime>, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let latest =
        db.prepare_cached(sql)?.query_row([name_of("latest", context)], |row| row.get(0).map(UnixTime));
    Ok(latest.optional()?)
}

pub(super) fn get_meta(
    db: &Connection,
    context: &QueryContext,
    note: MetaKey,
) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([name_of(note.name(), context)], |row| row.get(0)).optional()?)
}

pub(super) fn set_meta(
    db: &Connection,
    context: &QueryContext,
    note: MetaKey,
    text: &str,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.prepare_cached(sql)?.execute(params![name_of(note.name(), context), text])?;
    Ok(())
}

/// The name of a row that each integration has separately.
pub(super) fn name_of(what: &str, context: &QueryContext) -> String {
    format!("{what} {}", context.integration)
}

/// Writes a mark without a meaning, to prove that the store can be written.
pub(super) fn check_writable(db: &Connection) -> Result<(), StoreError> {
    let sql = "INSERT INTO meta (name, value) VALUES ('proof', 1) ON CONFLICT (name) DO UPDATE SET value = 1 - value";
    db.prepare_cached(sql)?.execute([])?;
    Ok(())
}

pub(super) fn check_readable(db: &Connection) -> Result<(), StoreError> {
    // The cache of this connection says nothing about the file.
    db.execute_batch("PRAGMA shrink_memory")?;
    db.prepare_cached("SELECT 1 FROM meta LIMIT 1")?.query_row([], |_| Ok(()))?;
    Ok(())
}

/// The generation: the number of starts, and of changes that a restored backup would undo.
pub(super) fn generation(db: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'generation'";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// Begins a generation that is later than the stored one and `seen`, and answers it.
pub(super) fn begin_generation(db: &Connection, seen: i64) -> Result<i64, StoreError> {
    let begun = generation(db)?.max(seen).saturating_add(1);
    let sql = "INSERT INTO meta (name, value) VALUES ('generation', ?1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.prepare_cached(sql)?.execute([begun])?;
    Ok(begun)
}

/// Sets the id of the store to a hash of `of`, which only the store and its copies contain.
pub(super) fn name_store(db: &Connection, of: &[u8]) -> Result<(), StoreError> {
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('store id', ?1)", [id_of(of)])?;
    Ok(())
}

/// The id that [`name_store`] sets.
pub(super) fn id_of(of: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, of);
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The id of the store.
pub(super) fn store_id(db: &Connection) -> Result<String, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = 'store id'";
    let id: Option<String> = db.query_row(sql, [], |row| row.get(0)).optional()?;
    // The id becomes a part of a file name.
    let id = id.filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    id.ok_or_else(|| StoreError::Corrupt("its id is missing".to_owned()))
}
