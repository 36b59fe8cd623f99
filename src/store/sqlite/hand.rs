//! The due grants in the order in which they are claimed, kept over many claims.
//!
//! To find the first few, all that is due must be looked at. A pass claims a few at a time from thousands, so each order
//! is read once for many claims: a claim costs what it takes, not what is due.

use std::collections::VecDeque;

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::Ask;
use crate::store::ClaimOrder;
use crate::store::StoreError;
use crate::store::sqlite::Shelf;

/// Rows of one order: sixteen bytes each, and all that is due is looked at once for so many.
const DEAL: usize = 4096;

/// Due grants that have not been claimed, in each order that was asked for.
#[derive(Debug, Default)]
pub(super) struct Hands {
    least_life: Hand,
    no_failures: Hand,
    longest_failing: Hand,
}

impl Hands {
    /// The hand of an order; none for probes, which are rare and look at all that is due.
    pub(super) fn of(&mut self, order: ClaimOrder) -> Option<&mut Hand> {
        match order {
            ClaimOrder::LeastLife => Some(&mut self.least_life),
            ClaimOrder::NoFailures => Some(&mut self.no_failures),
            ClaimOrder::LongestFailing => Some(&mut self.longest_failing),
            ClaimOrder::Healthiest => None,
        }
    }

    /// A row was written that is due at `due_at`.
    pub(super) fn written(&mut self, due_at: UnixTime) {
        for hand in [&mut self.least_life, &mut self.no_failures, &mut self.longest_failing] {
            hand.written(due_at);
        }
    }
}

/// Rows that were due at one moment and have not been taken. A guess to be checked row by row: a row that was claimed or
/// renewed since is no longer due. A row that becomes due by that moment empties it.
#[derive(Debug, Default)]
pub(super) struct Hand {
    due_by: Option<UnixTime>,
    /// When it was dealt: the tokens that lived then come first.
    dealt_at: UnixTime,
    living: VecDeque<Row>,
    /// Those that expired first come first.
    expired: VecDeque<Row>,
    /// Whether the present claim has dealt already.
    dealt: bool,
}

/// When its token expires, and its serial number.
type Row = (UnixTime, i64);

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

impl Hand {
    /// A claim begins: a hand of another moment is of no use to it. A clock that was set back brings tokens to life.
    pub(super) fn begin(&mut self, db: &Connection, shelf: &Shelf, ask: &Ask) -> Result<(), StoreError> {
        self.dealt = false;
        let fits = self.due_by == Some(ask.due_by) && ask.lease.now >= self.dealt_at;
        if fits { Ok(()) } else { self.deal(db, shelf, ask) }
    }

    /// The next one that may be due, if there is one. Deals once in a claim: persons that the caller excludes are still
    /// due, and would be dealt for ever.
    pub(super) fn next(
        &mut self,
        db: &Connection,
        shelf: &Shelf,
        ask: &Ask,
    ) -> Result<Option<i64>, StoreError> {
        if self.living.is_empty() && self.expired.is_empty() && !self.dealt {
            self.deal(db, shelf, ask)?;
        }
        while let Some(row) = self.living.pop_front() {
            if row.0 > ask.lease.now {
                return Ok(Some(row.1));
            }
            // It has expired since it was dealt.
            let place = self.expired.partition_point(|other| *other < row);
            self.expired.insert(place, row);
        }
        Ok(self.expired.pop_front().map(|(_, serial)| serial))
    }

    /// A row was written that is due at `due_at`.
    fn written(&mut self, due_at: UnixTime) {
        if self.due_by.is_some_and(|due_by| due_at <= due_by) {
            *self = Self::default();
        }
    }

    fn deal(&mut self, db: &Connection, shelf: &Shelf, ask: &Ask) -> Result<(), StoreError> {
        let size = DEAL.max(ask.limit).saturating_add(ask.except.len());
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let mut query = db.prepare_cached(&due_sql(ask.order))?;
        let dealt_at = ask.lease.now;
        let found = query.query_map(params![shelf.integration, ask.due_by.0, dealt_at.0, size], |row| {
            Ok((UnixTime(row.get(0)?), row.get(1)?))
        })?;
        let rows = found.collect::<Result<Vec<Row>, _>>()?;
        let (living, expired) = rows.into_iter().partition(|row| row.0 > dealt_at);
        *self = Self { due_by: Some(ask.due_by), dealt_at, living, expired, dealt: true };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Lease;
    use crate::store::seal::Sealer;

    fn ask(due_by: i64) -> Ask {
        let lease = Lease { now: UnixTime(due_by), owner: String::new(), end: UnixTime(i64::MAX) };
        Ask { lease, due_by: UnixTime(due_by), limit: 1, except: Vec::new(), order: ClaimOrder::LeastLife }
    }

    /// What is dealt for is all that is read here: a table of that much is enough.
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
    fn rows_are_dealt_once_for_one_moment_and_again_for_another() {
        let db = due_at(&[10, 20, 5, 30]);
        let sealer = Arc::new(Sealer::new(&[1; 32]).unwrap());
        let (hands, unreadable) = Default::default();
        let shelf = Shelf { integration: "id".to_owned(), sealer, hands, unreadable };
        let mut hand = Hand::default();
        let mut take = |due_by| {
            hand.begin(&db, &shelf, &ask(due_by)).unwrap();
            let taken = hand.next(&db, &shelf, &ask(due_by)).unwrap();
            (taken, hand.expired.len(), hand.dealt)
        };
        assert_eq!(take(20), (Some(0), 2, true));
        assert_eq!(take(20), (Some(1), 1, false), "what was dealt is still good");
        assert_eq!(take(15), (Some(0), 1, true), "a clock set back: those who were due then");
        assert_eq!(take(15), (Some(2), 0, false), "and not again at each claim");
        assert_eq!(take(30), (Some(0), 3, true));
    }

    #[test]
    fn only_a_row_that_becomes_due_empties_the_hand() {
        let living = [1, 2].map(|serial| (UnixTime::NEVER, serial)).into();
        let due_by = Some(UnixTime(20));
        let mut hand = Hand { due_by, living, ..Hand::default() };
        hand.written(UnixTime(21));
        assert_eq!(hand.living.len(), 2);
        hand.written(UnixTime(20));
        assert_eq!((hand.due_by, hand.living.len()), (None, 0));
    }
}
