//! Authenticates the readable columns that say whose grant a row is, and what an API key may do.
//!
//! Dates, states and counters are not authenticated, because a program that can write them can also remove the row. The
//! tokens are sealed for their integration and person.

use std::borrow::Cow;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::RowIndex;
use rusqlite::params;
use rusqlite::types::ValueRef;

use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::store::StoreError;
use crate::store::seal::SealError;
use crate::store::seal::Sealer;

const PERSON: &str = "grants person";
const KEY: &str = "keys";

/// The columns of the table `keys` that are authenticated, in this order.
const KEY_COLUMNS: [&str; 7] = ["id", "name", "hash", "persons", "rights", "created_at", "expires_at"];

/// The MAC of a grant's person.
pub(super) fn of_person(sealer: &Sealer, integration: &str, person: &Person) -> Vec<u8> {
    let columns = [
        Some(integration),
        Some(person.id.as_str()),
        person.email.as_ref().map(Email::as_str),
        person.display_name.as_deref(),
        person.org_id.as_deref(),
    ];
    sealer.mac(PERSON, &columns.map(|column| column.map(str::as_bytes)))
}

/// Checks the MAC of a row of `grants`. `columns` are the indexes of `person_id`, `email`, `display_name`, `org_id` and
/// `person_mac` in the row.
pub(super) fn verify_person<I: RowIndex + Copy>(
    sealer: &Sealer,
    integration: &str,
    row: &Row<'_>,
    columns: [I; 5],
) -> Result<(), SealError> {
    let [id, email, name, org, mac] = columns.map(|column| value(row, column));
    let columns = [Some(Cow::Borrowed(integration.as_bytes())), id?, email?, name?, org?];
    let mac = mac?.ok_or(SealError)?;
    sealer.verify(&mac, PERSON, &columns.each_ref().map(Option::as_deref))
}

/// Writes the MAC of the API key with this id.
pub(super) fn renew_key(db: &Connection, sealer: &Sealer, id: &str) -> Result<(), StoreError> {
    let mac = db.query_row("SELECT * FROM keys WHERE id = ?1", [id], |row| {
        Ok(key_columns(row).map(|columns| sealer.mac(KEY, &columns.each_ref().map(Option::as_deref))))
    });
    let mac = mac.optional()?.transpose().map_err(|e| StoreError::Failed(e.to_string()))?;
    db.execute("UPDATE keys SET mac = ?2 WHERE id = ?1", params![id, mac])?;
    Ok(())
}

/// Checks the MAC of a row of `keys`.
pub(super) fn verify_key(sealer: &Sealer, row: &Row<'_>) -> Result<(), SealError> {
    let mac = value(row, "mac")?.ok_or(SealError)?;
    sealer.verify(&mac, KEY, &key_columns(row)?.each_ref().map(Option::as_deref))
}

fn key_columns<'a>(row: &'a Row<'_>) -> Result<[Option<Cow<'a, [u8]>>; 7], SealError> {
    let [id, name, hash, persons, rights, created_at, expires_at] =
        KEY_COLUMNS.map(|column| value(row, column));
    Ok([id?, name?, hash?, persons?, rights?, created_at?, expires_at?])
}

/// A column as bytes; `None` where it has no value.
fn value<'a>(row: &'a Row<'_>, column: impl RowIndex) -> Result<Option<Cow<'a, [u8]>>, SealError> {
    Ok(match row.get_ref(column).map_err(|_| SealError)? {
        ValueRef::Null => None,
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(Cow::Borrowed(bytes)),
        ValueRef::Integer(number) => Some(Cow::Owned(number.to_be_bytes().to_vec())),
        ValueRef::Real(number) => Some(Cow::Owned(number.to_be_bytes().to_vec())),
    })
}

/// Adds MACs to a store of a version without them. The existing rows are trusted this once.
pub(super) fn fill(db: &Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let sql =
        "SELECT serial, integration, person_id, email, display_name, org_id FROM grants ORDER BY serial";
    let (mut grants, mut keep) =
        (db.prepare(sql)?, db.prepare("UPDATE grants SET person_mac = ?2 WHERE serial = ?1")?);
    let mut rows = grants.query([])?;
    while let Some(row) = rows.next()? {
        let serial: i64 = row.get(0)?;
        let columns = [1, 2, 3, 4, 5].map(|column| value(row, column).unwrap_or_default());
        let mac = sealer.mac(PERSON, &columns.each_ref().map(Option::as_deref));
        keep.execute(params![serial, mac])?;
    }
    let mut keys = db.prepare("SELECT id FROM keys")?;
    let ids = keys.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    ids.iter().try_for_each(|id| renew_key(db, sealer, id))
}
