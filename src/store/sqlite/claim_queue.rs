//! The due grants in the order in which they are claimed, kept over many claims.
//!
//! To find the first few, all that is due must be looked at. A pass claims a few at a time from thousands, so each order
//! is read once for many claims: a claim costs what it takes, not what is due.

use std::collections::VecDeque;

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::StoreError;

/// Rows of one order: sixteen bytes each, and all that is due is looked at once for so many.
const QUEUE_ROWS: usize = 4096;

/// Due grants that have not been claimed, in each order that was asked for.
#[derive(Debug, Default)]
pub(super) struct ClaimQueues {
    least_life: ClaimQueue,
    no_failures: ClaimQueue,
    longest_failing: ClaimQueue,
}

impl ClaimQueues {
    /// The queue of an order; none for probes, which are rare and look at all that is due.
    pub(super) fn queue_for(&mut self, order: ClaimOrder) -> Option<&mut ClaimQueue> {
        match order {
            ClaimOrder::LeastLife => Some(&mut self.least_life),
            ClaimOrder::NoFailures => Some(&mut self.no_failures),
            ClaimOrder::LongestFailing => Some(&mut self.longest_failing),
            ClaimOrder::Healthiest => None,
        }
    }

    /// A row was written that is due at `due_at`.
    pub(super) fn invalidate_if_due(&mut self, due_at: UnixTime) {
        for claim_queue in [&mut self.least_life, &mut self.no_failures, &mut self.longest_failing] {
            claim_queue.invalidate_if_due(due_at);
        }
    }
}

/// Rows that were due at one moment and have not been taken. A guess to be checked row by row: a row that was claimed or
/// renewed since is no longer due. A row that becomes due by that moment empties it.
#[derive(Debug, Default)]
pub(super) struct ClaimQueue {
    due_by: Option<UnixTime>,
    /// When it was filled: the tokens that lived then come first.
    filled_at: UnixTime,
    living: VecDeque<DueRow>,
    /// Those that expired first come first.
    expired: VecDeque<DueRow>,
    /// Whether the current claim has filled it already.
    refilled: bool,
}

/// When its token expires, and its serial number.
type DueRow = (UnixTime, i64);

/// How due rows are sorted: living tokens first, those by the order's own rule, and then expired ones.
pub(super) fn due_sql(order: ClaimOrder) -> String {
    let living = match order {
        ClaimOrder::NoFailures => "kind > 0, expires_at",
        ClaimOrder::LongestFailing => "kind = 0, CASE WHEN kind = 0 THEN expires_at ELSE due_at END",
        ClaimOrder::LeastLife | ClaimOrder::Healthiest => "expires_at",
    };
    let rule = living.split(", ").map(|rule| format!("CASE WHEN expires_at > ?3 THEN {rule} END"));
    let rules = rule.collect::<Vec<_>>().join(", ");
    format!(
        "SELECT expires_at, serial FROM grants INDEXED BY grants_due WHERE integration = ?1 AND due_at <= ?2 \
         ORDER BY expires_at <= ?3, {rules}, expires_at, serial LIMIT ?4"
    )
}

impl ClaimQueue {
    /// A claim begins: a queue of another moment is of no use to it. A clock that was set back brings tokens to life.
    pub(super) fn begin(
        &mut self,
        db: &Connection,
        integration: &str,
        ask: &ClaimRequest,
    ) -> Result<(), StoreError> {
        self.refilled = false;
        let fits = self.due_by == Some(ask.due_by) && ask.lease.now >= self.filled_at;
        if fits { Ok(()) } else { self.refill(db, integration, ask) }
    }

    /// The next one that may be due, if there is one. Fills the queue once in a claim: persons that the caller excludes are still
    /// due, and would be read forever.
    pub(super) fn next(
        &mut self,
        db: &Connection,
        integration: &str,
        ask: &ClaimRequest,
    ) -> Result<Option<i64>, StoreError> {
        if self.living.is_empty() && self.expired.is_empty() && !self.refilled {
            self.refill(db, integration, ask)?;
        }
        while let Some(row) = self.living.pop_front() {
            if row.0 > ask.lease.now {
                return Ok(Some(row.1));
            }
            // It has expired since the queue was filled.
            let place = self.expired.partition_point(|other| *other < row);
            self.expired.insert(place, row);
        }
        Ok(self.expired.pop_front().map(|(_, serial)| serial))
    }

    /// A row was written that is due at `due_at`.
    fn invalidate_if_due(&mut self, due_at: UnixTime) {
        if self.due_by.is_some_and(|due_by| due_at <= due_by) {
            *self = Self::default();
        }
    }

    fn refill(&mut self, db: &Connection, integration: &str, ask: &ClaimRequest) -> Result<(), StoreError> {
        let size = QUEUE_ROWS.max(ask.limit).saturating_add(ask.except.len());
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let mut query = db.prepare_cached(&due_sql(ask.order))?;
        let filled_at = ask.lease.now;
        let found = query.query_map(params![integration, ask.due_by.0, filled_at.0, size], |row| {
            Ok((UnixTime(row.get(0)?), row.get(1)?))
        })?;
        let rows = found.collect::<Result<Vec<DueRow>, _>>()?;
        let (living, expired) = rows.into_iter().partition(|row| row.0 > filled_at);
        *self = Self { due_by: Some(ask.due_by), filled_at, living, expired, refilled: true };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Lease;

    fn ask(due_by: i64) -> ClaimRequest {
        let lease = Lease { now: UnixTime(due_by), owner: String::new(), end: UnixTime(i64::MAX) };
        ClaimRequest {
            lease,
            due_by: UnixTime(due_by),
            limit: 1,
            except: Vec::new(),
            order: ClaimOrder::LeastLife,
        }
    }

    /// A table with only the columns that the queue reads.
    fn due_at(times: &[i64]) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        let schema = "CREATE TABLE grants (serial INTEGER PRIMARY KEY, integration TEXT, due_at INTEGER, \
             expires_at INTEGER); CREATE INDEX grants_due ON grants (integration, due_at, expires_at);";
        db.execute_batch(schema).unwrap();
        for (serial, due_at) in times.iter().enumerate() {
            let row = params![i64::try_from(serial).unwrap(), due_at];
            db.execute("INSERT INTO grants VALUES (?1, 'id', ?2, 9)", row).unwrap();
        }
        db
    }

    #[test]
    fn the_queue_is_filled_once_for_a_moment_and_again_for_another() {
        let db = due_at(&[10, 20, 5, 30]);
        let mut claim_queue = ClaimQueue::default();
        let mut take = |due_by| {
            claim_queue.begin(&db, "id", &ask(due_by)).unwrap();
            let taken = claim_queue.next(&db, "id", &ask(due_by)).unwrap();
            (taken, claim_queue.expired.len(), claim_queue.refilled)
        };
        assert_eq!(take(20), (Some(0), 2, true));
        assert_eq!(take(20), (Some(1), 1, false), "the queue is still valid");
        assert_eq!(take(15), (Some(0), 1, true), "a clock set back: those who were due then");
        assert_eq!(take(15), (Some(2), 0, false), "and not again at each claim");
        assert_eq!(take(30), (Some(0), 3, true));
    }

    #[test]
    fn only_a_row_that_becomes_due_invalidates_the_queue() {
        let living = [1, 2].map(|serial| (UnixTime::NEVER, serial)).into();
        let due_by = Some(UnixTime(20));
        let mut claim_queue = ClaimQueue { due_by, living, ..ClaimQueue::default() };
        claim_queue.invalidate_if_due(UnixTime(21));
        assert_eq!(claim_queue.living.len(), 2);
        claim_queue.invalidate_if_due(UnixTime(20));
        assert_eq!((claim_queue.due_by, claim_queue.living.len()), (None, 0));
    }
}
