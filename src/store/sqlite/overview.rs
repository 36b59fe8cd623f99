//! Numbers of grants. Triggers maintain them, or they are counted on a short range of an index.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::overview::BoundedCount;
use crate::domain::overview::COUNT_LIMIT;
use crate::domain::overview::GrantTotals;
use crate::domain::overview::StateCounts;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::list;

fn number(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn totals(db: &Connection, context: &QueryContext) -> Result<GrantTotals, StoreError> {
    let sql = "SELECT coalesce(sum(people) FILTER (WHERE integration = ?1), 0), \
         coalesce(sum(people) FILTER (WHERE integration = ?1 AND which = 2), 0), \
         coalesce(sum(people) FILTER (WHERE integration <> ?1), 0) FROM tallies WHERE what = 'kind'";
    Ok(db.prepare_cached(sql)?.query_row([&context.integration], |row| {
        Ok(GrantTotals {
            people: number(row.get(0)?),
            consent_needed: number(row.get(1)?),
            other_apps: number(row.get(2)?),
        })
    })?)
}

pub(super) const DUE: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = 0 AND due_at <= ?2 LIMIT ?3)";
pub(super) const FRESH: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = 0 AND due_at > ?2 LIMIT ?3)";

/// Counts the grants whose consent ends soon, up to a limit.
pub(super) fn ending() -> String {
    format!(
        "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_ending WHERE integration = ?1 AND {} LIMIT ?3)",
        list::consent_ends_before()
    )
}

pub(super) fn counts(
    db: &Connection,
    context: &QueryContext,
    now: UnixTime,
) -> Result<StateCounts, StoreError> {
    let mut kinds = [0_u64; 3];
    let sql = "SELECT which, people FROM tallies WHERE integration = ?1 AND what = 'kind'";
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query([&context.integration])?;
    while let Some(row) = rows.next()? {
        if let Some(kind) = usize::try_from(row.get::<_, i64>(0)?).ok().and_then(|kind| kinds.get_mut(kind)) {
            *kind = number(row.get(1)?);
        }
    }
    let [alive, retrying, consent_needed] = kinds;
    let most = i64::try_from(COUNT_LIMIT + 1).unwrap_or(i64::MAX);
    let some = |sql: &str| -> Result<u64, StoreError> {
        let bound = params![context.integration, now.0, most];
        Ok(number(db.prepare_cached(sql)?.query_row(bound, |row| row.get(0))?))
    };
    let due = some(DUE)?;
    let fresh = if due > COUNT_LIMIT { some(FRESH)? } else { 0 };
    let (fresh, due) = StateCounts::split_fresh_and_due(alive, due, || fresh);
    let [retrying, consent_needed] = [retrying, consent_needed].map(BoundedCount::exact);
    let consent_ending = BoundedCount::limited(some(&ending())?);
    Ok(StateCounts { people: kinds.iter().sum(), fresh, due, retrying, consent_needed, consent_ending })
}
