//! Writes notices in the transaction of their change. If only the notices cannot be written, the change is stored without
//! them, because tokens are more important than notices.

use rusqlite::Connection;

use crate::domain::notice::OutboxEntries;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::record::record;

/// Writes notices and history entries in the transaction of their change. If only they cannot be written, they wait in memory
/// from then on, and the caller repeats the change, which then succeeds without them. The repetition is needed because SQLite
/// commits no transaction in which it found damage.
///
/// # Errors
/// The first failure. The caller must then roll the transaction back and repeat it.
pub(in crate::store::sqlite) fn record_with_change(
    db: &Connection,
    context: &QueryContext,
    outbox_entries: &OutboxEntries,
) -> Result<(), StoreError> {
    let postponed = &context.outbox.postponed;
    if postponed.trouble().is_some() {
        postponed.add(outbox_entries);
        return Ok(());
    }
    record(db, context, outbox_entries).map(drop).inspect_err(|why| {
        if !affects_whole_store(why) {
            postponed.begin(&why.to_string());
        }
    })
}

/// Whether the error concerns the whole store, so that a change to a grant would fail too.
fn affects_whole_store(why: &StoreError) -> bool {
    !matches!(why, StoreError::Corrupt(_) | StoreError::Disk(_) | StoreError::Failed(_))
}

/// Converts the error of an operation on the outbox alone: damage found there is [`StoreError::Outbox`], because it does not
/// affect grants.
pub(super) fn apart<T>(context: &QueryContext, done: Result<T, StoreError>) -> Result<T, StoreError> {
    done.map_err(|why| match why {
        StoreError::Corrupt(why) => {
            context.outbox.postponed.begin(&why);
            StoreError::Outbox(why)
        }
        other => other,
    })
}

/// Writes notices and history entries that have waited in memory, and proves that each table can be written: `waiting` may be
/// empty, or concern only some of the tables.
pub(super) fn write_postponed(
    db: &Connection,
    context: &QueryContext,
    waiting: &[OutboxEntries],
) -> Result<usize, StoreError> {
    let write = || -> Result<(), StoreError> {
        for outbox_entries in waiting {
            record(db, context, outbox_entries)?;
        }
        write_to_each_table(db)
    };
    write().map_err(|why| match why {
        StoreError::Failed(why) | StoreError::Disk(why) => StoreError::Outbox(why),
        other => other,
    })?;
    Ok(waiting.len())
}

/// Inserts a row into each table of notices and history, and removes it.
fn write_to_each_table(db: &Connection) -> Result<(), StoreError> {
    let rows = [
        ("notices", "(id, type, at, data) VALUES ('check', 'check', 0, '{}')", "id = 'check'"),
        (
            "deliveries",
            "(sink, notice, chain, state, tries, attempt, claimed, next_at, planned_at) \
             VALUES ('check', 0, 'check', 'waiting', 0, 0, 0, 0, 0)",
            "sink = 'check' AND notice = 0",
        ),
        ("digest_persons", "(digest, person_id) VALUES (0, 'check')", "digest = 0"),
        ("history", "(number, at, what, detail) VALUES (0, 0, 'check', '')", "number = 0"),
        ("daily_counts", "(day, outcome, refreshes) VALUES (0, 'check', 0)", "day = 0 AND outcome = 'check'"),
    ];
    for (table, row, which) in rows {
        db.execute(&format!("INSERT INTO {table} {row}"), [])?;
        db.execute(&format!("DELETE FROM {table} WHERE {which}"), [])?;
    }
    Ok(())
}
