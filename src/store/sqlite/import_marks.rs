//! Imported grants and the marks of their refresh tokens, in SQL. Each function runs inside a transaction of the writer, or on a
//! reader.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::grant::Grant;
use crate::domain::person::PersonId;
use crate::store::ImportedToken;
use crate::store::Saved;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::queries;

/// Stores an imported grant unless the stored one covers it. A stored grant that cannot be decrypted covers
/// none.
pub(super) fn save_import(
    db: &Connection,
    context: &QueryContext,
    grant: &Grant,
    token: &ImportedToken,
) -> Result<Saved, StoreError> {
    let kept = queries::one(db, context, &grant.person.id)?.and_then(|read| read.grant.ok());
    let stays = !token.replaces_even_if_covered && kept.is_some_and(|kept| kept.covers(grant, grant.last.at));
    let saved = if stays { Saved::Kept } else { queries::save_consent(db, context, grant)? };
    if token.must_be_marked(saved) {
        let sql = "INSERT OR REPLACE INTO imports (token_hash, serial) \
             SELECT ?1, serial FROM grants WHERE integration = ?2 AND person_id = ?3";
        let marked = params![token.sha256, context.integration, grant.person.id.as_str()];
        db.prepare_cached(sql)?.execute(marked)?;
    }
    Ok(saved)
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
