//! Who is claimed next, kept in order over many claims.
//!
//! To find the few with the least life left, all that is due must be looked at. A pass claims a few at a time from
//! thousands, so the order is dealt once for many claims: a claim costs what it takes, not what is due.

use std::collections::VecDeque;

use rusqlite::Connection;
use rusqlite::params;

use crate::domain::time::UnixTime;
use crate::store::Ask;
use crate::store::StoreError;
use crate::store::sqlite::Shelf;

/// Rows in a hand: sixteen bytes each, and all that is due is looked at once for so many.
const DEAL: usize = 4096;

/// What is due: living tokens first, the least life left first, then dead ones.
pub(super) const DUE: &str = "SELECT serial, expires_at FROM grants INDEXED BY grants_due WHERE integration = ?1 AND due_at <= ?2 \
     ORDER BY expires_at <= ?3, expires_at, serial LIMIT ?4";

/// Rows that were due at one moment and have not been taken, least life left first. A guess to be checked row by row:
/// who was claimed or renewed since is due no more. Whoever becomes due by that moment tears the hand up.
#[derive(Debug, Default)]
pub(super) struct Hand {
    due_by: Option<UnixTime>,
    /// When it was dealt: who lived then comes first.
    dealt_at: UnixTime,
    /// Serial numbers, and the ends of their tokens.
    rows: VecDeque<(i64, UnixTime)>,
    /// Whether the present claim has dealt already.
    dealt: bool,
}

impl Hand {
    /// A claim begins: a hand of another moment is of no use to it, nor one whose order is no longer right.
    pub(super) fn begin(&mut self, db: &Connection, shelf: &Shelf, ask: &Ask) -> Result<(), StoreError> {
        self.dealt = false;
        let fits = self.due_by == Some(ask.due_by) && self.is_in_order(ask.lease.now);
        if fits { Ok(()) } else { self.deal(db, shelf, ask) }
    }

    /// Whether those that are first still live: of the living the first one dies first. A clock that was set back brings
    /// tokens to life.
    fn is_in_order(&self, now: UnixTime) -> bool {
        let died = |(_, end): &(i64, UnixTime)| *end > self.dealt_at && *end <= now;
        now >= self.dealt_at && !self.rows.front().is_some_and(died)
    }

    /// The next one that may be due, if there is one. Deals once in a claim: whom the asker passes over is due still,
    /// and would be dealt for ever.
    pub(super) fn next(
        &mut self,
        db: &Connection,
        shelf: &Shelf,
        ask: &Ask,
    ) -> Result<Option<i64>, StoreError> {
        if self.rows.is_empty() && !self.dealt {
            self.deal(db, shelf, ask)?;
        }
        Ok(self.rows.pop_front().map(|(serial, _)| serial))
    }

    /// A row was written that is due at `due_at`.
    pub(super) fn written(&mut self, due_at: UnixTime) {
        if self.due_by.is_some_and(|due_by| due_at <= due_by) {
            *self = Self::default();
        }
    }

    fn deal(&mut self, db: &Connection, shelf: &Shelf, ask: &Ask) -> Result<(), StoreError> {
        let size = DEAL.max(ask.limit).saturating_add(ask.except.len());
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let mut query = db.prepare_cached(DUE)?;
        let dealt_at = ask.lease.now;
        let found = query.query_map(params![shelf.integration, ask.due_by.0, dealt_at.0, size], |row| {
            Ok((row.get(0)?, UnixTime(row.get(1)?)))
        })?;
        *self =
            Self { due_by: Some(ask.due_by), dealt_at, rows: found.collect::<Result<_, _>>()?, dealt: true };
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
        Ask { lease, due_by: UnixTime(due_by), limit: 1, except: Vec::new(), healthiest_first: false }
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
    fn a_moment_is_dealt_for_once_and_another_one_anew_ahead_or_back() {
        let db = due_at(&[10, 20, 5, 30]);
        let sealer = Arc::new(Sealer::new(&[1; 32]).unwrap());
        let (hand, unreadable) = Default::default();
        let shelf = Shelf { integration: "id".to_owned(), sealer, hand, unreadable };
        let mut hand = Hand::default();
        let mut take = |due_by| {
            hand.begin(&db, &shelf, &ask(due_by)).unwrap();
            let taken = hand.next(&db, &shelf, &ask(due_by)).unwrap();
            (taken, hand.rows.len(), hand.dealt)
        };
        assert_eq!(take(20), (Some(0), 2, true));
        assert_eq!(take(20), (Some(1), 1, false), "what was dealt is still good");
        assert_eq!(take(15), (Some(0), 1, true), "a clock set back: those who were due then");
        assert_eq!(take(15), (Some(2), 0, false), "and not again at each claim");
        assert_eq!(take(30), (Some(0), 3, true));
    }

    #[test]
    fn whoever_becomes_due_tears_a_hand_up_and_nobody_else_does() {
        let (dealt_at, rows) = (UnixTime(20), [1, 2].map(|serial| (serial, UnixTime::NEVER)).into());
        let mut hand = Hand { due_by: Some(UnixTime(20)), dealt_at, rows, dealt: true };
        hand.written(UnixTime(21));
        assert_eq!(hand.rows.len(), 2);
        hand.written(UnixTime(20));
        assert_eq!((hand.due_by, hand.rows.len()), (None, 0));
    }
}
