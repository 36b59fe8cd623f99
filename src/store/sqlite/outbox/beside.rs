//! What a change makes true is written beside it. Where that alone fails, the change is stored all the same: tokens come
//! first.

use rusqlite::Connection;

use crate::domain::notice::News;
use crate::store::StoreError;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::outbox::record::record;

/// Writes news in the transaction of their change. Where that alone fails, news wait in memory from then on, and the change
/// is made again without them: SQLite commits no transaction in which it has met damage.
///
/// # Errors
/// The first failure, after which the transaction is to be taken back and made again.
pub(in crate::store::sqlite) fn record_beside(
    db: &Connection,
    context: &QueryContext,
    news: &News,
) -> Result<(), StoreError> {
    let postponed = &context.outbox.postponed;
    if postponed.trouble().is_some() {
        postponed.add(news);
        return Ok(());
    }
    record(db, context, news).map(drop).inspect_err(|why| {
        if !is_of_whole_store(why) {
            postponed.begin(&why.to_string());
        }
    })
}

/// Whether a change of a grant would fail in the same way.
fn is_of_whole_store(why: &StoreError) -> bool {
    !matches!(why, StoreError::Corrupt(_) | StoreError::Disk(_) | StoreError::Failed(_))
}

/// Does `work` on the outbox alone: its damage is none of the grants'.
pub(super) fn apart<T>(context: &QueryContext, done: Result<T, StoreError>) -> Result<T, StoreError> {
    done.map_err(|why| match why {
        StoreError::Corrupt(why) => {
            context.outbox.postponed.begin(&why);
            StoreError::Outbox(why)
        }
        other => other,
    })
}

/// Writes what has waited in memory, as far as one step goes.
pub(super) fn write_postponed(
    db: &Connection,
    context: &QueryContext,
    waiting: &[News],
) -> Result<usize, StoreError> {
    for news in waiting {
        record(db, context, news).map_err(|why| match why {
            StoreError::Failed(why) | StoreError::Disk(why) => StoreError::Outbox(why),
            other => other,
        })?;
    }
    Ok(waiting.len())
}
