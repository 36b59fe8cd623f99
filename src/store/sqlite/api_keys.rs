//! API keys in SQL.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;
use rusqlite::types::FromSql;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::api_key::Rights;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::store::sqlite::macs;

pub(super) fn add(db: &Connection, sealer: &Sealer, key: &ApiKeyRecord) -> Result<bool, StoreError> {
    let sql = "INSERT INTO keys (id, name, hash, persons, rights, created_at, expires_at, last_used_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO NOTHING";
    let persons =
        key.persons.as_ref().map(|list| list.iter().map(PersonId::as_str).collect::<Vec<_>>().join("\n"));
    let added = db.prepare_cached(sql)?.execute(params![
        key.id,
        key.name,
        key.hash,
        persons,
        key.rights.to_string(),
        key.created_at.0,
        key.expires_at.map(|at| at.0),
        key.last_used_at.map(|at| at.0),
    ])?;
    if added > 0 {
        macs::renew_key(db, sealer, &key.id)?;
    }
    Ok(added > 0)
}

pub(super) fn all(db: &Connection, sealer: &Sealer) -> Result<Vec<ApiKeyRecord>, StoreError> {
    let mut query = db.prepare_cached("SELECT * FROM keys ORDER BY rowid")?;
    let mut rows = query.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let verified = macs::verify_key(sealer, row);
        let verified = verified.map_err(|_| "another program wrote or changed it".to_owned());
        match verified.and_then(|()| read(row)) {
            Ok(key) => keys.push(key),
            // A key that cannot be read is rejected. The other keys must still work.
            Err(why) => tell_damaged(row, &why),
        }
    }
    Ok(keys)
}

fn tell_damaged(row: &Row<'_>, why: &str) {
    let name = row.get::<_, String>("name").unwrap_or_else(|_| "without a name".to_owned());
    log::error!(
        "the API key {name:?} is rejected, its record is not trusted: {why}; revoke it and create a new one"
    );
}

/// Reads a key. The error says what is wrong with the row.
fn read(row: &Row<'_>) -> Result<ApiKeyRecord, String> {
    let (rights, persons): (String, Option<String>) = (column(row, "rights")?, column(row, "persons")?);
    let ids = |text: String| text.lines().map(PersonId::parse).collect::<Result<Vec<_>, _>>();
    let (expires_at, last_used_at): (Option<i64>, Option<i64>) =
        (column(row, "expires_at")?, column(row, "last_used_at")?);
    Ok(ApiKeyRecord {
        id: column(row, "id")?,
        name: column(row, "name")?,
        hash: column(row, "hash")?,
        persons: persons.map(ids).transpose().map_err(|e| e.to_string())?,
        rights: Rights::parse(&rights).map_err(|word| format!("there is no right {word:?}"))?,
        created_at: UnixTime(column(row, "created_at")?),
        expires_at: expires_at.map(UnixTime),
        last_used_at: last_used_at.map(UnixTime),
    })
}

fn column<T: FromSql>(row: &Row<'_>, name: &str) -> Result<T, String> {
    row.get(name).map_err(|e| e.to_string())
}

/// The id of the key of this name.
pub(super) fn id_of(db: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT id FROM keys WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?)
}

pub(super) fn revoke(db: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("DELETE FROM keys WHERE name = ?1")?.execute([name])? > 0)
}

pub(super) fn touch(db: &Connection, id: &str, at: UnixTime) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE keys SET last_used_at = ?2 WHERE id = ?1")?.execute(params![id, at.0])?;
    Ok(())
}
