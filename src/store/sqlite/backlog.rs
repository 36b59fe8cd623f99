//! Counts what waits for a refresh, on ranges of indexes alone.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::BacklogCounts;
use crate::store::BacklogRequest;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;

const DUE: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_kind \
     WHERE integration = ?1 AND kind = ?2 AND due_at <= ?3 LIMIT ?4)";

const EXPIRING: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_expires \
     WHERE integration = ?1 AND expires_at >= ?2 AND expires_at < ?3 LIMIT ?4)";

/// Those of [`EXPIRING`] that Webex no longer renews.
const ENDED: &str = "SELECT count(*) FROM (SELECT 1 FROM grants INDEXED BY grants_needed WHERE integration = ?1 \
     AND standing = 'consent_needed' AND expires_at >= ?2 AND expires_at < ?3 LIMIT ?4)";

pub(super) fn counts(
    db: &Connection,
    context: &QueryContext,
    ask: &BacklogRequest,
) -> Result<BacklogCounts, StoreError> {
    let most = i64::try_from(ask.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let count = |sql: &str, from: i64, to: i64| -> Result<u64, StoreError> {
        let bound = params![context.integration, from, to, most];
        let counted: i64 = db.prepare_cached(sql)?.query_row(bound, |row| row.get(0))?;
        Ok(u64::try_from(counted).unwrap_or(0))
    };
    let due = count(DUE, 0, ask.now.0)?.saturating_add(count(DUE, 1, ask.now.0)?);
    let expiring = |from: UnixTime, before: UnixTime| -> Result<u64, StoreError> {
        Ok(count(EXPIRING, from.0, before.0)?.saturating_sub(count(ENDED, from.0, before.0)?))
    };
    BacklogCounts::of(ask, due, expiring)
}
