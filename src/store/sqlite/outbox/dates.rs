//! Corrects dates of the outbox and the history after the clock was set back.

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::history::day_of;
use crate::domain::notice::digest::HOLD;
use crate::domain::time::UnixTime;
use crate::store::StoreError;
use crate::store::outbox::DELIVERY_LEASE;

/// Limits every date to the latest value that is possible at `now`. Deliveries that were planned for later become due now, as
/// after a start.
pub(super) fn clamp(db: &Connection, now: UnixTime) -> Result<(), StoreError> {
    let dates = [
        "UPDATE notices SET at = ?1 WHERE at > ?1",
        "UPDATE history SET at = ?1 WHERE at > ?1",
        "UPDATE deliveries SET done_at = ?1 WHERE done_at > ?1",
    ];
    for sql in dates {
        db.prepare_cached(sql)?.execute([now.0])?;
    }
    let held = "UPDATE notices SET held_until = ?1 WHERE held_until IS NOT NULL AND held_until > ?1";
    db.prepare_cached(held)?.execute([(now + HOLD).0])?;
    // `NEVER` marks deliveries of held notices.
    let waiting = "UPDATE deliveries SET next_at = ?1 WHERE state = 'waiting' AND claimed = ?2 AND next_at > ?1 AND next_at < ?3";
    let mut waiting = db.prepare_cached(waiting)?;
    for (claimed, latest) in [(false, now), (true, now + DELIVERY_LEASE)] {
        waiting.execute(params![latest.0, claimed, UnixTime::NEVER.0])?;
    }
    let planned = "UPDATE deliveries SET planned_at = ?1 WHERE state = 'waiting' AND planned_at > ?1 AND planned_at < ?2";
    db.prepare_cached(planned)?.execute(params![now.0, UnixTime::NEVER.0])?;
    let today = day_of(now);
    let counts = "INSERT INTO daily_counts (day, outcome, refreshes) SELECT ?1, outcome, sum(refreshes) FROM daily_counts \
         WHERE day > ?1 GROUP BY outcome ON CONFLICT (day, outcome) DO UPDATE SET refreshes = refreshes + excluded.refreshes";
    db.prepare_cached(counts)?.execute([today])?;
    db.prepare_cached("DELETE FROM daily_counts WHERE day > ?1")?.execute([today])?;
    Ok(())
}
