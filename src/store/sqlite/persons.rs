//! Persons in SQL: look-ups by address, changes of a person's data, and removals. Each function runs
//! inside a transaction of the writer, or on a reader.

use std::sync::LazyLock;

use rusqlite::Connection;
use rusqlite::named_params;
use rusqlite::params;

use crate::domain::grant::Grant;
use crate::domain::person::AddressMatch;
use crate::domain::person::Email;
use crate::domain::person::MAX_SAME_ADDRESS;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::Removal;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::changes;
use crate::store::sqlite::queries;
use crate::store::sqlite::queries::SET_PERSON;
use crate::store::sqlite::rows;
use crate::store::sqlite::search_index;

pub(super) const RESOLVE: &str = "SELECT serial, person_id, email, display_name, org_id, person_mac, kind <> 2 \
     FROM grants INDEXED BY grants_address WHERE integration = ?1 AND address = ?2 ORDER BY kind = 2, serial LIMIT ?3";

static UPDATE: LazyLock<String> =
    LazyLock::new(|| format!("UPDATE OR FAIL grants SET {SET_PERSON} WHERE serial = :serial"));

pub(super) fn resolve(
    db: &Connection,
    context: &QueryContext,
    email: &Email,
) -> Result<Vec<AddressMatch>, StoreError> {
    let most = i64::try_from(MAX_SAME_ADDRESS).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(RESOLVE)?;
    let mut rows = query.query(params![context.integration, email.as_str(), most])?;
    let (mut found, mut refused) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        // The index contains addresses that any program may have written. The row's MAC proves that the address is the
        // person's.
        match rows::owner(row, context)? {
            Ok(id) => found.push(AddressMatch { id, is_alive: row.get(6)? }),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    match refused {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

pub(super) fn update_person(
    db: &Connection,
    context: &QueryContext,
    (person, planned): (&Person, UnixTime),
    next: UnixTime,
) -> Result<bool, StoreError> {
    let Some(found) = queries::one(db, context, &person.id)? else { return Ok(false) };
    let kept = found.grant?;
    if kept.person_check_at != planned {
        return Ok(false);
    }
    search_index::update(db, found.fence.serial, Some(&kept.person), Some(person))?;
    let grant = Grant { person: person.clone(), person_check_at: next, ..kept };
    rows::write(db, &UPDATE, context, &grant, named_params! { ":serial": found.fence.serial })?;
    Ok(true)
}

pub(super) fn forget(db: &Connection, context: &QueryContext, person: &PersonId) -> Result<bool, StoreError> {
    let Some(known) = search_index::find_person(db, context, person)? else { return Ok(false) };
    search_index::update(db, known.serial, Some(&known.person), None)?;
    Ok(db.prepare_cached("DELETE FROM grants WHERE serial = ?1")?.execute([known.serial])? > 0)
}

pub(super) fn forget_all(
    db: &Connection,
    context: &QueryContext,
    removal: &Removal,
) -> Result<Vec<PersonId>, StoreError> {
    let mut gone = Vec::new();
    for person in &removal.persons {
        let state = shown(db, context, person)?.map(|grant| grant.state(removal.now));
        if state.is_some_and(|state| removal.takes(state))
            && changes::after_removal(db, context, person, || forget(db, context, person))?
        {
            gone.push(person.clone());
        }
    }
    Ok(gone)
}

/// The grant as lists show it: a row that does not open is one that needs a consent.
fn shown(db: &Connection, context: &QueryContext, person: &PersonId) -> Result<Option<Grant>, StoreError> {
    let mut query = db.prepare_cached(&queries::ONE)?;
    let mut rows = query.query(params![context.integration, person.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(rows::read(row, context)?.grant.ok().or_else(|| rows::unopened(row, context)))
}
