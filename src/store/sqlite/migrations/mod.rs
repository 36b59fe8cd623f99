//! Changes of the store's tables from version to version.

use rusqlite::Connection;
use rusqlite::TransactionBehavior;

use crate::store::StoreError;
use crate::store::seal::Sealer;
use crate::store::sqlite::canary;
use crate::store::sqlite::canary::WITH_MACS;
use crate::store::sqlite::macs;
use crate::store::sqlite::search_index;

/// The migrations, numbered from 1 by their position. Statements of a released migration are never changed; a change is a new
/// migration at the end.
pub(super) const MIGRATIONS: [&str; 14] = [
    include_str!("0001_grants.sql"),
    include_str!("0002_keys.sql"),
    include_str!("0003_overview.sql"),
    include_str!("0004_triggers.sql"),
    include_str!("0005_refused.sql"),
    include_str!("0006_persons.sql"),
    include_str!("0007_row_macs.sql"),
    include_str!("0008_consents.sql"),
    include_str!("0009_numbers.sql"),
    include_str!("0010_notices.sql"),
    include_str!("0011_deliveries.sql"),
    include_str!("0012_digest_persons.sql"),
    include_str!("0013_imports.sql"),
    include_str!("0014_import_marks.sql"),
];

/// `wxtk`: marks the file as a store of this program.
pub(super) const APPLICATION_ID: i64 = 0x7778_746b;

/// The migration after which the search texts are filled in by code, because SQL knows the case of ASCII letters only.
/// Earlier versions have no texts, or different ones.
const WITH_TEXTS: i64 = 6;

/// Runs the migrations in one transaction, so that an interrupted start leaves the old version or the new one.
pub(super) fn migrate(db: &mut Connection, version: i64, sealer: &Sealer) -> Result<(), StoreError> {
    let done = usize::try_from(version).unwrap_or(0);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (number, sql) in (1_i64..).zip(MIGRATIONS).skip(done) {
        transaction.execute_batch(sql)?;
        if number == WITH_TEXTS {
            search_index::fill(&transaction)?;
        }
        if number == WITH_MACS {
            macs::fill(&transaction, sealer)?;
            canary::change(&transaction, sealer)?;
        }
        transaction.pragma_update(None, "user_version", number)?;
    }
    if version == 0 {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    Ok(transaction.commit()?)
}
