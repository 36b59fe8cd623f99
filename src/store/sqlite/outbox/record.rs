//! Writes notices and history entries, in the transaction of the change that they report.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::history::HistoryEntry;
use crate::domain::history::MAX_ENTRIES_PER_PERSON;
use crate::domain::history::day_of;
use crate::domain::notice::Notice;
use crate::domain::notice::OutboxEntries;
use crate::domain::notice::digest;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::outbox::SUBSCRIBERS;
use crate::store::sqlite::context::QueryContext;

/// Writes the notices and history entries of a change. Returns the number of new notices.
pub(in crate::store::sqlite) fn record(
    db: &Connection,
    context: &QueryContext,
    outbox_entries: &OutboxEntries,
) -> Result<usize, StoreError> {
    let mut added = 0;
    for notice in &outbox_entries.notices {
        added += usize::from(add(db, context, (notice, outbox_entries))?);
    }
    for entry in &outbox_entries.history {
        remember(db, entry)?;
    }
    if let Some(outcome) = outbox_entries.outcome.filter(|_| outbox_entries.history.is_empty()) {
        count(db, outcome, context.outbox.now())?;
    }
    if added > 0 {
        context.outbox.changed();
    }
    Ok(added)
}

/// Writes a notice and its delivery to each sink. Returns `false` if the notice exists already or no sink gets it.
fn add(
    db: &Connection,
    context: &QueryContext,
    (notice, outbox_entries): (&Notice, &OutboxEntries),
) -> Result<bool, StoreError> {
    let sinks = context.outbox.sinks_for(notice);
    let is_unpublished = || (!outbox_entries.is_delivered(notice, SUBSCRIBERS)).then(|| notice.clone());
    if sinks.is_empty() {
        context.outbox.add_event(is_unpublished, false);
        return Ok(false);
    }
    let held_until = digest::is_held(notice).then(|| notice.at + digest::HOLD);
    let Some(number) = insert(db, notice, held_until)? else { return Ok(false) };
    let next_at = if held_until.is_some() { UnixTime::NEVER } else { notice.at };
    deliver_to(db, number, &notice.queue(), &sinks, next_at)?;
    let sql = "UPDATE deliveries SET state = 'sent', done_at = ?3 WHERE sink = ?1 AND notice = ?2";
    for sink in sinks.iter().filter(|sink| outbox_entries.is_delivered(notice, sink)) {
        db.prepare_cached(sql)?.execute(params![sink, number, notice.at.0])?;
    }
    if held_until.is_none() {
        context.outbox.add_event(is_unpublished, false);
    }
    Ok(true)
}

/// Inserts a notice. Returns its number; `None` if a notice with its id exists already.
pub(super) fn insert(
    db: &Connection,
    notice: &Notice,
    held_until: Option<UnixTime>,
) -> Result<Option<i64>, StoreError> {
    let sql = "INSERT INTO notices (id, type, at, person_id, email, display_name, data, held_until) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
    let person = notice.person.as_ref();
    let added = db.prepare_cached(sql)?.execute(params![
        notice.id,
        notice.kind.as_str(),
        notice.at.0,
        person.map(|person| person.id.as_str()),
        person.and_then(|person| person.email.as_ref()).map(Email::as_str),
        person.and_then(|person| person.display_name.as_deref()),
        data_of(notice),
        held_until.map(|at| at.0),
    ])?;
    Ok((added > 0).then(|| db.last_insert_rowid()))
}

pub(super) fn data_of(notice: &Notice) -> String {
    serde_json::Value::Object(notice.data.clone()).to_string()
}

pub(super) fn deliver_to(
    db: &Connection,
    number: i64,
    queue: &str,
    sinks: &[String],
    next_at: UnixTime,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO deliveries (sink, notice, chain, state, tries, attempt, claimed, next_at, planned_at) \
         VALUES (?1, ?2, ?3, 'waiting', 0, 0, 0, ?4, ?4) ON CONFLICT (sink, notice) DO NOTHING";
    let mut insert = db.prepare_cached(sql)?;
    for sink in sinks {
        insert.execute(params![sink, number, queue, next_at.0])?;
    }
    Ok(())
}

/// Writes a history entry, and deletes the oldest entries of its person that are too many.
pub(super) fn remember(db: &Connection, entry: &HistoryEntry) -> Result<(), StoreError> {
    let person = entry.person.as_ref().map(PersonId::as_str);
    let sql = "INSERT INTO history (at, person_id, what, detail) VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(params![entry.at.0, person, entry.what, entry.detail])?;
    if let Some(person) = person {
        let sql = "DELETE FROM history WHERE person_id = ?1 AND number <= (SELECT number FROM history \
             WHERE person_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";
        let most = i64::try_from(MAX_ENTRIES_PER_PERSON).unwrap_or(i64::MAX);
        db.prepare_cached(sql)?.execute(params![person, most])?;
    }
    Ok(())
}

fn count(db: &Connection, outcome: &str, now: Option<UnixTime>) -> Result<(), StoreError> {
    let Some(now) = now else { return Ok(()) };
    let update = "UPDATE daily_counts SET refreshes = refreshes + 1 WHERE day = ?1 AND outcome = ?2";
    if db.prepare_cached(update)?.execute(params![day_of(now), outcome])? == 0 {
        let insert = "INSERT INTO daily_counts (day, outcome, refreshes) VALUES (?1, ?2, 1)";
        db.prepare_cached(insert)?.execute(params![day_of(now), outcome])?;
    }
    Ok(())
}

pub(super) fn topic(db: &Connection, topic: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    Ok(db.prepare_cached(sql)?.query_row([format!("told {topic}")], |row| row.get(0)).optional()?)
}

pub(super) fn add_once(
    db: &Connection,
    context: &QueryContext,
    name: &str,
    state: &str,
    outbox_entries: &OutboxEntries,
) -> Result<bool, StoreError> {
    if topic(db, name)?.as_deref() == Some(state) {
        return Ok(false);
    }
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.prepare_cached(sql)?.execute(params![format!("told {name}"), state])?;
    record(db, context, outbox_entries)?;
    Ok(true)
}
