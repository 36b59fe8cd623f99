//! Numbers about everybody: kept by the triggers of the tables, or counted on a short range of an index.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::grant::Attempt;
use crate::domain::time::UnixTime;
use crate::domain::verdict::Outcome;
use crate::store::Census;
use crate::store::Count;
use crate::store::Counts;
use crate::store::Day;
use crate::store::Past;
use crate::store::StoreError;
use crate::store::overview;
use crate::store::overview::COUNTED;
use crate::store::sqlite::Shelf;
use crate::store::sqlite::list;

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn census(db: &Connection, shelf: &Shelf) -> Result<Census, StoreError> {
    let sql = "SELECT coalesce(sum(people) FILTER (WHERE integration = ?1), 0), \
         coalesce(sum(people) FILTER (WHERE integration = ?1 AND which = 2), 0), \
         coalesce(sum(people) FILTER (WHERE integration <> ?1), 0) FROM tallies WHERE what = 'kind'";
    Ok(db.prepare_cached(sql)?.query_row([&shelf.integration], |row| {
        Ok(Census {
            people: number(row.get(0)?),
            consent_needed: number(row.get(1)?),
            elsewhere: number(row.get(2)?),
        })
    })?)
}

pub(super) const DUE: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = 0 AND due_at <= ?2 LIMIT ?3)";
pub(super) const FRESH: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = 0 AND due_at > ?2 LIMIT ?3)";

/// Whose consent ends soon, up to so many.
pub(super) fn ending() -> String {
    format!(
        "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_ending WHERE integration = ?1 AND {} LIMIT ?3)",
        list::ends_soon()
    )
}

pub(super) fn counts(db: &Connection, shelf: &Shelf, now: UnixTime) -> Result<Counts, StoreError> {
    let mut kinds = [0_u64; 3];
    let sql = "SELECT which, people FROM tallies WHERE integration = ?1 AND what = 'kind'";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([&shelf.integration])?;
    while let Some(row) = rows.next()? {
        if let Some(kind) = usize::try_from(row.get::<_, i64>(0)?).ok().and_then(|kind| kinds.get_mut(kind)) {
            *kind = number(row.get(1)?);
        }
    }
    let [alive, retrying, consent_needed] = kinds;
    let most = i64::try_from(COUNTED + 1).unwrap_or(i64::MAX);
    let some = |sql: &str| -> Result<u64, StoreError> {
        let bound = params![shelf.integration, now.0, most];
        Ok(number(db.prepare_cached(sql)?.query_row(bound, |row| row.get(0))?))
    };
    let due = some(DUE)?;
    let fresh = if due > COUNTED { some(FRESH)? } else { 0 };
    let (fresh, due) = Counts::split(alive, due, || fresh);
    let [retrying, consent_needed] = [retrying, consent_needed].map(Count::exactly);
    let consent_ending = Count::up_to(some(&ending())?);
    Ok(Counts { people: kinds.iter().sum(), fresh, due, retrying, consent_needed, consent_ending })
}

/// Counts one kept refresh, in the transaction that keeps it. The first one of an hour clears away what is too old.
pub(super) fn note_refresh(db: &Connection, shelf: &Shelf, last: &Attempt) -> Result<(), StoreError> {
    let hour = overview::hour(last.at);
    let bound = params![shelf.integration, hour, last.outcome.word()];
    // Not one statement with RETURNING: SQLite makes a table, with its cache, for the rows that such a one answers.
    let more =
        "UPDATE history SET refreshes = refreshes + 1 WHERE integration = ?1 AND hour = ?2 AND outcome = ?3";
    if db.prepare_cached(more)?.execute(bound)? == 0 {
        db.prepare_cached("INSERT INTO history VALUES (?1, ?2, ?3, 1)")?.execute(bound)?;
        let kept = overview::kept_hours(hour);
        let sql = "DELETE FROM history WHERE hour NOT BETWEEN ?1 AND ?2";
        db.prepare_cached(sql)?.execute(params![kept.start(), kept.end()])?;
    }
    Ok(())
}

pub(super) fn history(db: &Connection, shelf: &Shelf, since: UnixTime) -> Result<Vec<Past>, StoreError> {
    let sql = "SELECT hour, outcome, refreshes FROM history WHERE integration = ?1 AND hour >= ?2 \
         ORDER BY hour, outcome";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(params![shelf.integration, overview::hour(since)])?;
    let mut past = Vec::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(1)?;
        let Some(outcome) = Outcome::from_word(&word) else { continue };
        past.push(Past { hour: overview::hour_began(row.get(0)?), outcome, refreshes: number(row.get(2)?) });
    }
    Ok(past)
}

pub(super) const DAY: &str = "SELECT count(*) FROM grants INDEXED BY grants_due \
     WHERE integration = ?1 AND due_at >= ?2 AND due_at < ?3";

pub(super) fn calendar(
    db: &Connection,
    shelf: &Shelf,
    now: UnixTime,
    days: u32,
) -> Result<Vec<Day>, StoreError> {
    let today = overview::day(now);
    let mut calendar = vec![Day::default(); usize::try_from(days).unwrap_or(0)];
    let mut planned = db.prepare_cached(DAY)?;
    let mut from = UnixTime(i64::MIN);
    for (number_of_day, day) in (today..).zip(&mut calendar) {
        let to = overview::day_began(number_of_day.saturating_add(1));
        let count: i64 = planned.query_row(params![shelf.integration, from.0, to.0], |row| row.get(0))?;
        day.refreshes = number(count);
        from = to;
    }
    let sql = "SELECT which, people FROM tallies WHERE integration = ?1 AND what = 'ends_on' \
         AND which >= ?2 AND which < ?3";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(params![shelf.integration, today, today.saturating_add(days.into())])?;
    while let Some(row) = rows.next()? {
        if let Some(day) = overview::on(&mut calendar, today, row.get(0)?) {
            day.consents = number(row.get(1)?);
        }
    }
    Ok(calendar)
}
