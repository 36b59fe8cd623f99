//! Held notices. A notice about a person is held for a short time. If many notices of its type are held, they become one digest.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::domain::notice::NoticeType;
use crate::domain::notice::digest;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::outbox::PEOPLE_SINK;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::listing;
use crate::store::sqlite::outbox::record;

/// See [`crate::store::outbox::OutboxStore::release_held`].
pub(super) fn release(db: &Connection, context: &QueryContext, now: UnixTime) -> Result<bool, StoreError> {
    let sql = "SELECT type FROM notices INDEXED BY notices_held WHERE held_until <= ?1 AND held_until IS NOT NULL \
         ORDER BY type = 'digest' LIMIT 1";
    // Digests come last, because the notices that are due now may still join one.
    let due: Option<String> = db.prepare_cached(sql)?.query_row([now.0], |row| row.get(0)).optional()?;
    let Some(kind) = due.as_deref().and_then(NoticeType::parse) else { return Ok(false) };
    if kind == NoticeType::Digest {
        release_due(db, context, kind, now)?;
        return Ok(true);
    }
    let open = open_digest(db, kind)?;
    if open.is_some() || has_many(db, kind)? {
        merge_into_digest(db, context, kind, open, now)?;
    } else {
        release_due(db, context, kind, now)?;
    }
    context.outbox.changed();
    Ok(true)
}

fn has_many(db: &Connection, kind: NoticeType) -> Result<bool, StoreError> {
    let sql = "SELECT count(DISTINCT person_id) FROM (SELECT person_id FROM notices INDEXED BY notices_held \
         WHERE type = ?1 AND held_until IS NOT NULL ORDER BY number LIMIT ?2)";
    // Several notices of the same person may be held.
    let reach = i64::try_from(digest::MAX_SEPARATE_PERSONS * 4).unwrap_or(i64::MAX);
    let persons: i64 = db.prepare_cached(sql)?.query_row(params![kind.as_str(), reach], |row| row.get(0))?;
    Ok(usize::try_from(persons).unwrap_or(0) > digest::MAX_SEPARATE_PERSONS)
}

/// Makes the held notices of this type due whose time is over.
fn release_due(
    db: &Connection,
    context: &QueryContext,
    kind: NoticeType,
    now: UnixTime,
) -> Result<(), StoreError> {
    for number in held(db, kind, now)? {
        make_due(db, context, (number, false), now)?;
    }
    Ok(())
}

fn held(db: &Connection, kind: NoticeType, until: UnixTime) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT number FROM notices INDEXED BY notices_held WHERE type = ?1 AND held_until IS NOT NULL \
         AND held_until <= ?2 ORDER BY number LIMIT ?3";
    let step = i64::try_from(digest::MERGE_BATCH).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map(params![kind.as_str(), until.0, step], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Makes a held notice due. `is_in_digest`: operators get a digest in its place.
fn make_due(
    db: &Connection,
    context: &QueryContext,
    (number, is_in_digest): (i64, bool),
    now: UnixTime,
) -> Result<(), StoreError> {
    end_hold(db, context, (number, is_in_digest))?;
    let sql = "UPDATE deliveries SET next_at = ?2, planned_at = ?2 WHERE notice = ?1 AND state = 'waiting'";
    db.prepare_cached(sql)?.execute(params![number, now.0])?;
    Ok(())
}

/// Marks a notice as no longer held, and publishes it. A digest no longer needs its list of persons.
pub(super) fn end_hold(
    db: &Connection,
    context: &QueryContext,
    (number, is_in_digest): (i64, bool),
) -> Result<(), StoreError> {
    let sql = "UPDATE notices SET held_until = NULL WHERE number = ?1 AND held_until IS NOT NULL";
    if db.prepare_cached(sql)?.execute([number])? > 0 {
        let notice = listing::notice(db, number)?;
        context.outbox.add_event(|| notice, is_in_digest);
    }
    db.prepare_cached("DELETE FROM digest_persons WHERE digest = ?1")?.execute([number])?;
    Ok(())
}

/// The digest of this type that is still held, so that notices can join it.
fn open_digest(db: &Connection, kind: NoticeType) -> Result<Option<i64>, StoreError> {
    let sql = "SELECT number FROM notices INDEXED BY notices_held WHERE type = 'digest' AND held_until IS NOT NULL \
         AND data ->> 'type' = ?1 LIMIT 1";
    Ok(db.prepare_cached(sql)?.query_row([kind.as_str()], |row| row.get(0)).optional()?)
}

/// Moves held notices into a digest, at most [`digest::MERGE_BATCH`] of them. Their deliveries to persons remain.
fn merge_into_digest(
    db: &Connection,
    context: &QueryContext,
    kind: NoticeType,
    open: Option<i64>,
    now: UnixTime,
) -> Result<(), StoreError> {
    let joining = held(db, kind, UnixTime::NEVER)?;
    let Some(first) = joining.first() else { return Ok(()) };
    let number = match open {
        Some(number) => number,
        None => begin(db, context, kind, *first, now)?,
    };
    let mut persons = 0;
    for joined in &joining {
        let sql = "INSERT OR IGNORE INTO digest_persons (digest, person_id) SELECT ?1, person_id FROM notices \
             WHERE number = ?2 AND person_id IS NOT NULL";
        persons += db.prepare_cached(sql)?.execute(params![number, joined])?;
        let sql = "DELETE FROM deliveries WHERE notice = ?1 AND sink <> ?2";
        db.prepare_cached(sql)?.execute(params![joined, PEOPLE_SINK])?;
        make_due(db, context, (*joined, true), now)?;
        let sql = "DELETE FROM notices WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice = ?1)";
        db.prepare_cached(sql)?.execute([joined])?;
    }
    let Some(so_far) = listing::notice(db, number)? else { return Ok(()) };
    let joined = digest::joined(so_far, persons);
    let held_until = digest::held_until(joined.at, now);
    let sql = "UPDATE notices SET data = ?2, held_until = ?3 WHERE number = ?1";
    db.prepare_cached(sql)?.execute(params![number, record::data_of(&joined), held_until.0])?;
    Ok(())
}

fn begin(
    db: &Connection,
    context: &QueryContext,
    kind: NoticeType,
    first: i64,
    now: UnixTime,
) -> Result<i64, StoreError> {
    let id = listing::notice(db, first)?.map(|notice| notice.id).unwrap_or_default();
    let digest = digest::begin(kind, (first, &id), now);
    let number = record::insert(db, &digest, Some(now + digest::HOLD))?;
    let number =
        number.ok_or_else(|| StoreError::Failed("a digest of these notices already exists".to_owned()))?;
    record::deliver_to(db, number, &digest.queue(), &context.outbox.sinks_for(&digest), UnixTime::NEVER)?;
    Ok(number)
}
