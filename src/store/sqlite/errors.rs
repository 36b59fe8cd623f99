//! Maps SQLite's result codes to errors of the store.

use rusqlite::ErrorCode;

use crate::store::StoreError;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else { return Self::Failed(error.to_string()) };
        match code {
            ErrorCode::DiskFull => Self::Full,
            ErrorCode::ReadOnly => Self::ReadOnly,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Corrupt(error.to_string()),
            ErrorCode::SystemIoFailure => {
                let detail = error.sqlite_error().map_or(0, |e| e.extended_code);
                Self::Disk(format!("{error}, SQLite's code {detail}"))
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Error;
    use rusqlite::ffi;

    use super::*;

    fn describe(code: i32) -> StoreError {
        Error::SqliteFailure(ffi::Error::new(code), Some("why".to_owned())).into()
    }

    #[test]
    fn extended_codes_are_described_as_what_they_extend() {
        let table = [
            (ffi::SQLITE_FULL, StoreError::Full),
            (ffi::SQLITE_READONLY, StoreError::ReadOnly),
            (ffi::SQLITE_READONLY_DBMOVED, StoreError::ReadOnly),
            (ffi::SQLITE_READONLY_DIRECTORY, StoreError::ReadOnly),
            (ffi::SQLITE_BUSY, StoreError::Locked),
            (ffi::SQLITE_BUSY_SNAPSHOT, StoreError::Locked),
            (ffi::SQLITE_BUSY_RECOVERY, StoreError::Locked),
            (ffi::SQLITE_LOCKED, StoreError::Locked),
            (ffi::SQLITE_CORRUPT, StoreError::Corrupt("why".to_owned())),
            (ffi::SQLITE_CORRUPT_INDEX, StoreError::Corrupt("why".to_owned())),
            (ffi::SQLITE_CORRUPT_SEQUENCE, StoreError::Corrupt("why".to_owned())),
            (ffi::SQLITE_NOTADB, StoreError::Corrupt("why".to_owned())),
            (ffi::SQLITE_IOERR_WRITE, StoreError::Disk("why, SQLite's code 778".to_owned())),
            (ffi::SQLITE_IOERR_FSYNC, StoreError::Disk("why, SQLite's code 1034".to_owned())),
            (ffi::SQLITE_NOMEM, StoreError::Failed("why".to_owned())),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, StoreError::Failed("why".to_owned())),
        ];
        for (code, expected) in table {
            assert_eq!(describe(code), expected, "{code}");
        }
    }
}
