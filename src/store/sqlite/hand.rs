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

/// Rows in a hand: eight bytes each, and all that is due is looked at once for so many.
const DEAL: usize = 4096;

/// What is due, least life left first.
pub(super) const DUE: &str = "SELECT serial FROM grants INDEXED BY grants_due WHERE integration = ?1 AND due_at <= ?2 \
     ORDER BY expires_at, serial LIMIT ?3";

/// Rows that were due at one moment and have not been taken, least life left first. A guess to be checked row by row:
/// who was claimed or renewed since is due no more. Whoever becomes due by that moment tears the hand up.
#[derive(Debug, Default)]
pub(super) struct Hand {
    due_by: Option<UnixTime>,
    serials: VecDeque<i64>,
    /// Whether the present claim has dealt already.
    dealt: bool,
}

impl Hand {
    /// A claim begins: a hand of another moment is of no use to it.
    pub(super) fn begin(&mut self, db: &Connection, shelf: &Shelf, ask: &Ask) -> Result<(), StoreError> {
        self.dealt = false;
        if self.due_by == Some(ask.due_by) { Ok(()) } else { self.deal(db, shelf, ask) }
    }

    /// The next one that may be due, if there is one. Deals once in a claim: whom the asker passes over is due still,
    /// and would be dealt for ever.
    pub(super) fn next(
        &mut self,
        db: &Connection,
        shelf: &Shelf,
        ask: &Ask,
    ) -> Result<Option<i64>, StoreError> {
        if self.serials.is_empty() && !self.dealt {
            self.deal(db, shelf, ask)?;
        }
        Ok(self.serials.pop_front())
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
        let found = query.query_map(params![shelf.integration, ask.due_by.0, size], |row| row.get(0))?;
        let serials = found.collect::<Result<_, _>>()?;
        *self = Self { due_by: Some(ask.due_by), serials, dealt: true };
        Ok(())
    }
}
