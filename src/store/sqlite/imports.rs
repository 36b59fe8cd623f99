//! Which refresh tokens were imported, in SQL. Each function runs inside a transaction of the writer, or on a reader.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::person::PersonId;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::queries;

pub(super) fn note(
    db: &Connection,
    context: &QueryContext,
    person: &PersonId,
    token_hash: &[u8],
) -> Result<(), StoreError> {
    let Some(found) = queries::one(db, context, person)? else { return Ok(()) };
    let sql = "INSERT OR REPLACE INTO imports (token_hash, serial) VALUES (?1, ?2)";
    db.prepare_cached(sql)?.execute(params![token_hash, found.fence.serial])?;
    Ok(())
}

pub(super) fn find(
    db: &Connection,
    context: &QueryContext,
    token_hash: &[u8],
) -> Result<Option<PersonId>, StoreError> {
    let sql =
        "SELECT person_id FROM imports JOIN grants USING (serial) WHERE token_hash = ?1 AND integration = ?2";
    let id: Option<String> = db
        .prepare_cached(sql)?
        .query_row(params![token_hash, context.integration], |row| row.get(0))
        .optional()?;
    Ok(id.and_then(|id| PersonId::parse(&id).ok()))
}
