//! The texts that a search may find, stored beside the grants. They are updated with the person, whose address and name
//! change rarely.

use std::collections::BTreeSet;

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::search;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;

/// The person of a row, and the number of the row.
pub(super) struct StoredPerson {
    pub(super) serial: i64,
    /// A column that cannot be read is `None`. The id is always known.
    pub(super) person: Person,
}

/// The row of this person, if there is one.
pub(super) fn find_person(
    db: &Connection,
    context: &QueryContext,
    id: &PersonId,
) -> Result<Option<StoredPerson>, StoreError> {
    let sql =
        "SELECT serial, email, display_name, org_id FROM grants WHERE integration = ?1 AND person_id = ?2";
    let read =
        |row: &Row<'_>| Ok(StoredPerson { serial: row.get("serial")?, person: person(row, id.clone()) });
    Ok(db.prepare_cached(sql)?.query_row(params![context.integration, id.as_str()], read).optional()?)
}

fn person(row: &Row<'_>, id: PersonId) -> Person {
    let text = |column: &str| row.get::<_, Option<String>>(column).ok().flatten();
    Person {
        id,
        email: text("email").and_then(|text| Email::parse(&text).ok()),
        display_name: text("display_name"),
        org_id: text("org_id"),
    }
}

/// Updates the texts of the row `serial` from those of `old` to those of `new`.
pub(super) fn update(
    db: &Connection,
    serial: i64,
    old: Option<&Person>,
    new: Option<&Person>,
) -> Result<(), StoreError> {
    let texts = |person: Option<&Person>| person.map(search::texts).unwrap_or_default();
    let [old, new]: [BTreeSet<String>; 2] = [old, new].map(|person| texts(person).into_iter().collect());
    for gone in old.difference(&new) {
        db.prepare_cached("DELETE FROM texts WHERE text = ?1 AND person = ?2")?
            .execute(params![gone, serial])?;
    }
    for come in new.difference(&old) {
        db.prepare_cached("INSERT OR IGNORE INTO texts VALUES (?1, ?2)")?.execute(params![come, serial])?;
    }
    Ok(())
}

/// Adds the texts to a store of a version without them.
pub(super) fn fill(db: &Connection) -> Result<(), StoreError> {
    let mut query = db.prepare("SELECT serial, email, display_name, org_id FROM grants")?;
    let mut rows = query.query([])?;
    // The id is no search text, so any id will do.
    let placeholder = PersonId::parse("placeholder").map_err(|e| StoreError::Failed(e.to_string()))?;
    while let Some(row) = rows.next()? {
        update(db, row.get("serial")?, None, Some(&person(row, placeholder.clone())))?;
    }
    Ok(())
}
