//! Queries that claim and settle deliveries, make them due, and repeat them.

use std::collections::HashSet;

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::history::HistoryEntry;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::outbox::DELIVERY_STEP;
use crate::store::outbox::DeliveryClaim;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::DeliveryOutcome;
use crate::store::outbox::MAX_CLAIMED_PER_QUEUE;
use crate::store::outbox::SettledDelivery;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::held;
use crate::store::sqlite::outbox::listing;
use crate::store::sqlite::outbox::record;

/// A waiting delivery of a queue.
struct Waiting {
    number: i64,
    attempt: i64,
    tries: u32,
    claimed: bool,
    next_at: UnixTime,
    planned_at: UnixTime,
}

/// What can be claimed: the waiting deliveries of each queue, and the queues that must wait for an earlier delivery of theirs.
#[derive(Default)]
struct Claimable {
    queues: Vec<Vec<Waiting>>,
    behind: Vec<(String, UnixTime)>,
}

pub(in crate::store::sqlite) fn claim(
    db: &Connection,
    ask: &DeliveryClaimRequest,
) -> Result<Vec<DeliveryClaim>, StoreError> {
    let found = claimable(db, ask)?;
    for (queue, first) in found.behind {
        wait_behind(db, ask, &queue, first)?;
    }
    let mut claims = Vec::new();
    for row in found.queues.iter().flatten() {
        claims.extend(claim_one(db, ask, row)?);
    }
    Ok(claims)
}

/// Reads due deliveries until it has found enough queues without a valid claim. It looks at each queue once and passes over
/// its further deliveries, so that a long queue takes the place of no other. The cost does not depend on the number of queues
/// that wait.
fn claimable(db: &Connection, ask: &DeliveryClaimRequest) -> Result<Claimable, StoreError> {
    // A probe takes the notice with the fewest attempts, so that one notice that the sink never accepts is not the only probe.
    let order = if ask.due_by == UnixTime::NEVER { "attempt" } else { "next_at" };
    let sql = format!(
        "SELECT chain FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'waiting' \
         AND next_at <= ?2 AND next_at < ?3 AND (postponed = 0 OR next_at <= ?4) ORDER BY {order}, notice"
    );
    let mut query = db.prepare_cached(&sql)?;
    let mut due = query.query(params![ask.sink, ask.due_by.0, UnixTime::NEVER.0, ask.now.0])?;
    let (mut found, mut seen) = (Claimable::default(), HashSet::new());
    while found.queues.len() < ask.queues
        && let Some(row) = due.next()?
    {
        let queue: String = row.get(0)?;
        if !seen.insert(queue.clone()) {
            continue;
        }
        let rows = queue_that_is_due(db, ask, &queue)?;
        let is_free =
            |row: &Waiting| row.next_at < UnixTime::NEVER && (!row.claimed || row.next_at <= ask.now);
        if !rows.iter().all(is_free) {
            continue;
        }
        match rows.iter().map(|row| row.next_at).min().filter(|first| *first > ask.due_by) {
            Some(first) => found.behind.push((queue, first)),
            None => found.queues.push(rows),
        }
    }
    Ok(found)
}

/// The due deliveries of a queue and all waiting ones before them, because a later notice is never sent before an earlier one.
fn queue_that_is_due(
    db: &Connection,
    ask: &DeliveryClaimRequest,
    queue: &str,
) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT notice, attempt, tries, claimed, next_at, planned_at FROM deliveries INDEXED BY deliveries_chain \
         WHERE sink = ?1 AND chain = ?2 AND state = 'waiting' AND notice <= (SELECT max(notice) FROM deliveries \
         INDEXED BY deliveries_chain WHERE sink = ?1 AND chain = ?2 AND state = 'waiting' AND next_at <= ?3 \
         AND next_at < ?5 AND (postponed = 0 OR next_at <= ?6)) ORDER BY notice LIMIT ?4";
    let most = i64::try_from(MAX_CLAIMED_PER_QUEUE).unwrap_or(i64::MAX);
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map(
        params![ask.sink, queue, ask.due_by.0, most, UnixTime::NEVER.0, ask.now.0],
        |row| {
            Ok(Waiting {
                number: row.get(0)?,
                attempt: row.get(1)?,
                tries: row.get(2)?,
                claimed: row.get(3)?,
                next_at: UnixTime(row.get(4)?),
                planned_at: UnixTime(row.get(5)?),
            })
        },
    )?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Postpones the due deliveries of a long queue to `first`. The deliveries before them fill a whole claim, and none of those
/// is due before `first`.
fn wait_behind(
    db: &Connection,
    ask: &DeliveryClaimRequest,
    queue: &str,
    first: UnixTime,
) -> Result<(), StoreError> {
    let sql = "UPDATE deliveries SET next_at = ?4 WHERE sink = ?1 AND chain = ?2 AND state = 'waiting' AND claimed = 0 \
         AND next_at <= ?3";
    db.prepare_cached(sql)?.execute(params![ask.sink, queue, ask.due_by.0, first.0])?;
    Ok(())
}

fn claim_one(
    db: &Connection,
    ask: &DeliveryClaimRequest,
    row: &Waiting,
) -> Result<Option<DeliveryClaim>, StoreError> {
    let sql = "UPDATE deliveries SET attempt = attempt + 1, claimed = 1, next_at = ?3 WHERE sink = ?1 AND notice = ?2";
    db.prepare_cached(sql)?.execute(params![ask.sink, row.number, ask.lease_end.0])?;
    let Some(notice) = listing::notice(db, row.number)? else {
        // The row of the notice is missing: another program removed it.
        let sql = "DELETE FROM deliveries WHERE sink = ?1 AND notice = ?2";
        db.prepare_cached(sql)?.execute(params![ask.sink, row.number])?;
        return Ok(None);
    };
    Ok(Some(DeliveryClaim {
        number: row.number,
        attempt: row.attempt + 1,
        tries: row.tries,
        planned_at: row.planned_at,
        in_turn: row.planned_at <= ask.now,
        notice,
    }))
}

pub(super) fn settle(
    db: &Connection,
    sink: &str,
    now: UnixTime,
    settled: &[SettledDelivery],
) -> Result<(), StoreError> {
    let done = "UPDATE deliveries SET state = ?4, claimed = 0, done_at = ?5, why = ?6 \
         WHERE sink = ?1 AND notice = ?2 AND attempt = ?3 AND claimed = 1 AND state = 'waiting'";
    let again = "UPDATE deliveries SET claimed = 0, next_at = ?4, planned_at = ?4, postponed = 0, tries = ?5, why = ?6 \
         WHERE sink = ?1 AND notice = ?2 AND attempt = ?3 AND claimed = 1 AND state = 'waiting'";
    let postponed = "UPDATE deliveries SET claimed = 0, next_at = ?4, planned_at = ?4, postponed = 1, why = ?5 \
         WHERE sink = ?1 AND notice = ?2 AND attempt = ?3 AND claimed = 1 AND state = 'waiting'";
    let released = "UPDATE deliveries SET claimed = 0, next_at = ?4 \
         WHERE sink = ?1 AND notice = ?2 AND attempt = ?3 AND claimed = 1 AND state = 'waiting'";
    for SettledDelivery { number, attempt, outcome } in settled {
        let finish = |state: &str, why: Option<&str>| -> Result<usize, StoreError> {
            Ok(db.prepare_cached(done)?.execute(params![sink, number, attempt, state, now.0, why])?)
        };
        match outcome {
            DeliveryOutcome::Sent => {
                finish("sent", None)?;
            }
            DeliveryOutcome::Outdated => {
                finish("outdated", None)?;
            }
            DeliveryOutcome::GivenUp { why } => {
                if finish("given_up", Some(why))? > 0 {
                    remember_given_up(db, sink, *number, why, now)?;
                }
            }
            DeliveryOutcome::Released => {
                db.prepare_cached(released)?.execute(params![sink, number, attempt, now.0])?;
            }
            DeliveryOutcome::Postponed { until, why } => {
                db.prepare_cached(postponed)?.execute(params![sink, number, attempt, until.0, why])?;
            }
            DeliveryOutcome::Again { at, tries, why } => {
                db.prepare_cached(again)?.execute(params![sink, number, attempt, at.0, tries, why])?;
            }
        }
    }
    Ok(())
}

fn remember_given_up(
    db: &Connection,
    sink: &str,
    number: i64,
    why: &str,
    now: UnixTime,
) -> Result<(), StoreError> {
    let Some(notice) = listing::notice(db, number)? else { return Ok(()) };
    let person = notice.person.as_ref().map(|person| &person.id);
    let detail = format!("{} for {sink}: {why}", notice.kind.as_str());
    record::remember(db, &HistoryEntry::new(now, person, "notice.given_up", &detail))
}

pub(super) fn make_all_due(db: &Connection, sink: &str, now: UnixTime) -> Result<bool, StoreError> {
    let sql = "UPDATE deliveries SET next_at = ?2 WHERE sink = ?1 AND notice IN (SELECT notice FROM deliveries \
         INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'waiting' AND next_at > ?2 AND next_at < ?3 \
         AND claimed = 0 AND postponed = 0 ORDER BY next_at, notice LIMIT ?4)";
    let step = i64::try_from(DELIVERY_STEP).unwrap_or(i64::MAX);
    let pulled = db.prepare_cached(sql)?.execute(params![sink, now.0, UnixTime::NEVER.0, step])?;
    Ok(pulled == DELIVERY_STEP)
}

pub(super) fn next(db: &Connection, sink: &str) -> Result<Option<UnixTime>, StoreError> {
    let sql = "SELECT min(next_at) FROM deliveries INDEXED BY deliveries_due WHERE sink = ?1 AND state = 'waiting' \
         AND next_at < ?2";
    let next: Option<i64> =
        db.prepare_cached(sql)?.query_row(params![sink, UnixTime::NEVER.0], |row| row.get(0))?;
    let sql = "SELECT min(held_until) FROM notices INDEXED BY notices_held WHERE held_until IS NOT NULL";
    let held: Option<i64> = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(next.into_iter().chain(held).min().map(UnixTime))
}

pub(super) fn last_sent(
    db: &Connection,
    sink: &str,
    person: &PersonId,
) -> Result<Option<UnixTime>, StoreError> {
    let sql = "SELECT max(done_at) FROM deliveries INDEXED BY deliveries_chain WHERE sink = ?1 AND chain = ?2 \
         AND state = 'sent'";
    let last: Option<i64> =
        db.prepare_cached(sql)?.query_row(params![sink, person.as_str()], |row| row.get(0))?;
    Ok(last.map(UnixTime))
}

pub(super) fn resend(
    db: &Connection,
    context: &QueryContext,
    id: &str,
    now: UnixTime,
) -> Result<Option<usize>, StoreError> {
    let Some((number, notice)) = listing::by_id(db, id)? else { return Ok(None) };
    let sinks = context.outbox.sinks_for(&notice);
    record::deliver_to(db, number, &notice.queue(), &sinks, now)?;
    let sql = "UPDATE deliveries SET state = 'waiting', tries = 0, claimed = 0, next_at = ?2, planned_at = ?2, postponed = 0, done_at = NULL, why = NULL \
         WHERE notice = ?1 AND state <> 'waiting' AND sink IN (SELECT value FROM json_each(?3))";
    let sinks = serde_json::to_string(&sinks).unwrap_or_default();
    db.prepare_cached(sql)?.execute(params![number, now.0, sinks])?;
    // Deliveries that already wait become due now.
    let sql = "UPDATE deliveries SET next_at = ?2, planned_at = ?2, postponed = 0 WHERE notice = ?1 AND state = 'waiting' \
         AND claimed = 0 AND next_at > ?2 AND sink IN (SELECT value FROM json_each(?3))";
    db.prepare_cached(sql)?.execute(params![number, now.0, sinks])?;
    held::end_hold(db, context, (number, false))?;
    let sql = "SELECT count(*) FROM deliveries WHERE notice = ?1 AND state = 'waiting' \
         AND sink IN (SELECT value FROM json_each(?2))";
    let waiting: i64 = db.prepare_cached(sql)?.query_row(params![number, sinks], |row| row.get(0))?;
    context.outbox.changed();
    Ok(Some(usize::try_from(waiting).unwrap_or(0)))
}
