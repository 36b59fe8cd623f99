//! Queries that list, count and remove notices.

use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::delivery::DeliveryState;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::outbox::DELIVERY_STEP;
use crate::store::outbox::Delivery;
use crate::store::outbox::KEEP_DONE_DAYS;
use crate::store::outbox::MAX_FINISHED;
use crate::store::outbox::NoticePage;
use crate::store::outbox::NoticeRecord;
use crate::store::outbox::PEOPLE_SINK;
use crate::store::outbox::PERSON_MESSAGE_INTERVAL;
use crate::store::outbox::SinkCounts;
use crate::store::sqlite::context::QueryContext;

const COLUMNS: &str = "number, id, type, at, person_id, email, display_name, data";

/// Maximum number of notices that are removed in one transaction.
const PRUNE_STEP: i64 = 500;

/// `None` for a type that this program does not know.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<(i64, Notice)>> {
    let (kind, data): (String, String) = (row.get("type")?, row.get("data")?);
    let Some(kind) = NoticeType::parse(&kind) else { return Ok(None) };
    let id: Option<String> = row.get("person_id")?;
    let email: Option<String> = row.get("email")?;
    let display_name = row.get("display_name")?;
    let person = id.and_then(|id| PersonId::parse(&id).ok()).map(|id| Person {
        email: email.and_then(|text| Email::parse(&text).ok()),
        display_name,
        ..Person::known_by(id)
    });
    let data = serde_json::from_str(&data).unwrap_or_default();
    let notice = Notice { id: row.get("id")?, kind, at: UnixTime(row.get("at")?), person, data };
    Ok(Some((row.get("number")?, notice)))
}

pub(super) fn notice(db: &Connection, number: i64) -> Result<Option<Notice>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM notices WHERE number = ?1");
    let found = db.prepare_cached(&sql)?.query_row([number], read).optional()?;
    Ok(found.flatten().map(|(_, notice)| notice))
}

pub(super) fn by_id(db: &Connection, id: &str) -> Result<Option<(i64, Notice)>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM notices WHERE id = ?1");
    Ok(db.prepare_cached(&sql)?.query_row([id], read).optional()?.flatten())
}

pub(super) fn notices(db: &Connection, page: NoticePage) -> Result<Vec<NoticeRecord>, StoreError> {
    let failed = "EXISTS (SELECT 1 FROM deliveries WHERE notice = number AND (state = 'given_up' OR \
         state = 'waiting' AND why IS NOT NULL))";
    let which = if page.failed_only { failed } else { "1" };
    let sql =
        format!("SELECT {COLUMNS} FROM notices WHERE number < ?1 AND {which} ORDER BY number DESC LIMIT ?2");
    let found = {
        let mut query = db.prepare_cached(&sql)?;
        let rows = query.query_map(params![page.before.unwrap_or(i64::MAX), page.limit], read)?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    let mut records = Vec::new();
    for (number, notice) in found.into_iter().flatten() {
        records.push(NoticeRecord { number, notice, deliveries: deliveries(db, number)? });
    }
    Ok(records)
}

fn deliveries(db: &Connection, number: i64) -> Result<Vec<Delivery>, StoreError> {
    let sql = "SELECT sink, state, tries, next_at, done_at, why FROM deliveries INDEXED BY deliveries_notice \
         WHERE notice = ?1 ORDER BY sink";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([number], |row| {
        let (state, next_at): (String, i64) = (row.get(1)?, row.get(3)?);
        let state = DeliveryState::parse(&state).unwrap_or(DeliveryState::Waiting);
        let waits = state == DeliveryState::Waiting && UnixTime(next_at) != UnixTime::NEVER;
        Ok(Delivery {
            sink: row.get(0)?,
            state,
            tries: row.get(2)?,
            next_at: waits.then_some(UnixTime(next_at)),
            done_at: row.get::<_, Option<i64>>(4)?.map(UnixTime),
            why: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn counts(db: &Connection) -> Result<Vec<SinkCounts>, StoreError> {
    let sql = "SELECT sink, waiting, failing, given_up, (SELECT at FROM notices WHERE number = oldest) FROM \
         (SELECT sink, sum(state = 'waiting') AS waiting, sum(state = 'waiting' AND why IS NOT NULL) AS failing, \
         sum(state = 'given_up') AS given_up, min(CASE WHEN state = 'waiting' THEN notice END) AS oldest \
         FROM deliveries GROUP BY sink) ORDER BY sink";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([], |row| {
        let number = |column: usize| row.get::<_, i64>(column).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(SinkCounts {
            sink: row.get(0)?,
            waiting: number(1)?,
            failing: number(2)?,
            given_up: number(3)?,
            oldest_waiting: row.get::<_, Option<i64>>(4)?.map(UnixTime),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn prune(db: &Connection, context: &QueryContext, now: UnixTime) -> Result<bool, StoreError> {
    let ended = end_unset(db, context, now)?;
    let old = now.0.saturating_sub(i64::from(KEEP_DONE_DAYS) * 86_400_000);
    let most = i64::try_from(MAX_FINISHED).unwrap_or(i64::MAX);
    let sql = "SELECT number FROM notices WHERE (at < ?1 OR number <= (SELECT max(number) FROM notices) - ?2) \
         AND held_until IS NULL AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice = number AND (state = 'waiting' OR \
         sink = ?4 AND state = 'sent' AND done_at > ?5)) ORDER BY number LIMIT ?3";
    let recently = (now - PERSON_MESSAGE_INTERVAL).0;
    let found = {
        let mut query = db.prepare_cached(sql)?;
        let rows = query
            .query_map(params![old, most, PRUNE_STEP, PEOPLE_SINK, recently], |row| row.get::<_, i64>(0))?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    for number in &found {
        db.prepare_cached("DELETE FROM deliveries WHERE notice = ?1")?.execute([number])?;
        db.prepare_cached("DELETE FROM notices WHERE number = ?1")?.execute([number])?;
    }
    Ok(ended || i64::try_from(found.len()).unwrap_or(0) == PRUNE_STEP)
}

/// Ends deliveries to sinks that are no longer set, which would wait for ever. Ends at most [`DELIVERY_STEP`] of one sink.
/// Returns whether another call may find more.
fn end_unset(db: &Connection, context: &QueryContext, now: UnixTime) -> Result<bool, StoreError> {
    let set = context.outbox.sinks();
    // Looks each sink up in the index, so that the deliveries of sinks that are set are not read.
    let sql = "WITH RECURSIVE found (sink) AS (SELECT min(sink) FROM deliveries INDEXED BY deliveries_due WHERE state = 'waiting' UNION ALL \
         SELECT (SELECT min(sink) FROM deliveries INDEXED BY deliveries_due WHERE state = 'waiting' AND sink > found.sink) FROM found \
         WHERE found.sink IS NOT NULL) SELECT sink FROM found WHERE sink IS NOT NULL";
    let sinks = {
        let mut query = db.prepare_cached(sql)?;
        let rows = query.query_map([], |row| row.get::<_, String>(0))?;
        rows.collect::<Result<Vec<_>, _>>()?
    };
    let sql = "UPDATE deliveries SET state = 'outdated', done_at = ?2, why = 'this sink is no longer set' \
         WHERE sink = ?1 AND notice IN (SELECT notice FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 \
         AND state = 'waiting' AND claimed = 0 LIMIT ?3)";
    let step = i64::try_from(DELIVERY_STEP).unwrap_or(i64::MAX);
    for sink in sinks.iter().filter(|sink| !set.contains(sink)) {
        let ended = db.prepare_cached(sql)?.execute(params![sink, now.0, step])?;
        if ended > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
