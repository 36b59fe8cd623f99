//! The grants in a daemon's store, read directly from its file.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::OpenFlags;

use crate::support::time::HANG_TIMEOUT;

/// One stored grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredGrant {
    pub(crate) email: String,
    /// When the consent was given, in milliseconds since 1970.
    pub(crate) obtained_at: i64,
    /// Sealed, differently each time.
    pub(crate) access_token: Vec<u8>,
}

impl StoredGrant {
    /// The part before the `@`.
    pub(crate) fn name(&self) -> &str {
        self.email.split('@').next().unwrap()
    }
}

/// All grants, by address.
pub(super) fn read_all(state_dir: &Path) -> Vec<StoredGrant> {
    let db =
        Connection::open_with_flags(state_dir.join("tokend.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    db.busy_timeout(HANG_TIMEOUT).unwrap();
    let mut select = db
        .prepare("SELECT coalesce(email, ''), obtained_at, access_token FROM grants ORDER BY email")
        .unwrap();
    let rows = select.query_map([], |row| {
        Ok(StoredGrant { email: row.get(0)?, obtained_at: row.get(1)?, access_token: row.get(2)? })
    });
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}
