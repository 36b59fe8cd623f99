//! The history in SQL. Its entries are written by `outbox::record`, with the changes that they tell of.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::history::DailyCount;
use crate::domain::history::HistoryEntry;
use crate::domain::history::KEEP_HISTORY;
use crate::domain::history::MAX_ENTRIES;
use crate::domain::history::day_of;
use crate::domain::person::PersonId;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::StoreFuture;
use crate::store::history::HistoryPage;
use crate::store::history::HistoryStore;
use crate::store::sqlite::sqlite_store::SqliteStore;

/// Entries removed in one step.
const PRUNE_STEP: i64 = 500;

impl HistoryStore for SqliteStore {
    fn history(&self, page: HistoryPage) -> StoreFuture<'_, Vec<(i64, HistoryEntry)>> {
        self.survey_outbox(move |db, _| list(db, &page))
    }

    fn daily_counts(&self, days: u32) -> StoreFuture<'_, Vec<DailyCount>> {
        self.survey_outbox(move |db, _| daily_counts(db, days))
    }

    fn prune_history(&self, now: UnixTime) -> StoreFuture<'_, bool> {
        self.write(move |db, _| prune(db, now))
    }
}

fn list(db: &Connection, page: &HistoryPage) -> Result<Vec<(i64, HistoryEntry)>, StoreError> {
    let which = if page.person.is_some() { "person_id = ?1" } else { "?1 IS NULL" };
    let sql = format!(
        "SELECT number, at, person_id, what, detail FROM history WHERE {which} AND number < ?2 \
         ORDER BY number DESC LIMIT ?3"
    );
    let (person, before) = (page.person.as_ref().map(PersonId::as_str), page.before.unwrap_or(i64::MAX));
    let mut query = db.prepare_cached(&sql)?;
    let rows = query.query_map(params![person, before, page.limit], |row| {
        let id: Option<String> = row.get(2)?;
        let entry = HistoryEntry {
            at: UnixTime(row.get(1)?),
            person: id.and_then(|id| PersonId::parse(&id).ok()),
            what: row.get(3)?,
            detail: row.get(4)?,
        };
        Ok((row.get(0)?, entry))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn daily_counts(db: &Connection, days: u32) -> Result<Vec<DailyCount>, StoreError> {
    let sql = "SELECT day, outcome, refreshes FROM daily_counts \
         WHERE day > (SELECT max(day) FROM daily_counts) - ?1 ORDER BY day DESC, outcome";
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([days], |row| {
        let refreshes = u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        Ok(DailyCount { day: row.get(0)?, outcome: row.get(1)?, refreshes })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Entries stand in the order in which they were written, which is nearly that of their dates: one that a clock set back has
/// dated later is removed a little later.
fn prune(db: &Connection, now: UnixTime) -> Result<bool, StoreError> {
    let old = now - KEEP_HISTORY;
    db.prepare_cached("DELETE FROM daily_counts WHERE day < ?1")?.execute([day_of(old)])?;
    let most = i64::try_from(MAX_ENTRIES).unwrap_or(i64::MAX);
    let sql = "DELETE FROM history WHERE number IN (SELECT number FROM history ORDER BY number LIMIT ?3) \
         AND (at < ?1 OR number <= (SELECT max(number) FROM history) - ?2)";
    let removed = db.prepare_cached(sql)?.execute(params![old.0, most, PRUNE_STEP])?;
    Ok(i64::try_from(removed).unwrap_or(0) == PRUNE_STEP)
}
