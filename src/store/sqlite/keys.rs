//! API keys in SQL.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;

use crate::domain::key::KeyRecord;
use crate::domain::key::Rights;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;

pub(super) fn add(db: &Connection, key: &KeyRecord) -> Result<bool, StoreError> {
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
    Ok(added > 0)
}

pub(super) fn all(db: &Connection) -> Result<Vec<KeyRecord>, StoreError> {
    let sql = "SELECT id, name, hash, persons, rights, created_at, expires_at, last_used_at FROM keys ORDER BY rowid";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(read(row)?);
    }
    Ok(keys)
}

fn read(row: &Row<'_>) -> Result<KeyRecord, StoreError> {
    let corrupt = |what: String| StoreError::Corrupt(format!("a key record: {what}"));
    let (rights, persons): (String, Option<String>) = (row.get("rights")?, row.get("persons")?);
    let ids = |text: String| text.lines().map(PersonId::parse).collect::<Result<Vec<_>, _>>();
    let (expires_at, last_used_at): (Option<i64>, Option<i64>) =
        (row.get("expires_at")?, row.get("last_used_at")?);
    Ok(KeyRecord {
        id: row.get("id")?,
        name: row.get("name")?,
        hash: row.get("hash")?,
        persons: persons.map(ids).transpose().map_err(|e| corrupt(e.to_string()))?,
        rights: Rights::parse(&rights).map_err(corrupt)?,
        created_at: UnixTime(row.get("created_at")?),
        expires_at: expires_at.map(UnixTime),
        last_used_at: last_used_at.map(UnixTime),
    })
}

pub(super) fn revoke(db: &Connection, name: &str) -> Result<bool, StoreError> {
    Ok(db.prepare_cached("DELETE FROM keys WHERE name = ?1")?.execute([name])? > 0)
}

pub(super) fn touch(db: &Connection, id: &str, at: UnixTime) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE keys SET last_used_at = ?2 WHERE id = ?1")?.execute(params![id, at.0])?;
    Ok(())
}
