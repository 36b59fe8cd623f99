//! The only module that reads the system clock.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::domain::time::UnixTime;

/// The source of the current time. Services receive it as a parameter, so that tests can replace it.
pub trait Clock: Send + Sync {
    /// The present time. It may jump in either direction between two calls.
    fn now(&self) -> UnixTime;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only module that reads the clock")]
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
