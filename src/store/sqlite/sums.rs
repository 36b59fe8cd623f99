//! Counting, by the indexes alone: a grant is some kilobytes, and there may be a million of them.

use rusqlite::Connection;
use rusqlite::Params;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::Census;
use crate::store::StoreError;
use crate::store::Tally;
use crate::store::sqlite::Shelf;

/// As the index `grants_ailing` has it, to the letter: SQLite uses it only then.
const AILING: &str = "(failures > 0 OR standing = 'consent_needed')";

pub(super) fn census(db: &Connection, shelf: &Shelf) -> Result<Census, StoreError> {
    let of_all = count(db, "SELECT count(*) FROM grants", [])?;
    let people = count(db, "SELECT count(*) FROM grants WHERE integration = ?1", [&shelf.integration])?;
    let needy = format!(
        "SELECT count(*) FROM grants WHERE {AILING} AND integration = ?1 AND standing = 'consent_needed'"
    );
    let consent_needed = count(db, &needy, [&shelf.integration])?;
    Ok(Census { people, consent_needed, elsewhere: of_all.saturating_sub(people) })
}

pub(super) fn tally(db: &Connection, shelf: &Shelf, now: UnixTime) -> Result<Tally, StoreError> {
    let ours = &shelf.integration;
    let total = count(db, "SELECT count(*) FROM grants WHERE integration = ?1", [ours])?;
    let due = "SELECT count(*) FROM grants WHERE integration = ?1 AND due_at <= ?2";
    let due = count(db, due, params![ours, now.0])?;
    let ailing = format!(
        "SELECT count(*) FILTER (WHERE standing = 'alive'), count(*) FILTER (WHERE standing = 'consent_needed'), \
         count(*) FILTER (WHERE due_at <= ?2) FROM grants WHERE {AILING} AND integration = ?1"
    );
    let (retrying, consent_needed, due_too) =
        db.prepare_cached(&ailing)?.query_row(params![ours, now.0], |row| {
            Ok((number(row.get(0)?), number(row.get(1)?), number(row.get(2)?)))
        })?;
    let due = due.saturating_sub(due_too);
    let fresh = total.saturating_sub(due + retrying + consent_needed);
    Ok(Tally { fresh, due, retrying, consent_needed })
}

fn count(db: &Connection, sql: &str, params: impl Params) -> Result<u64, StoreError> {
    Ok(db.prepare_cached(sql)?.query_row(params, |row| row.get(0).map(number))?)
}

fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
