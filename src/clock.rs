//! The only reader of the clock.

use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use crate::domain::time::UnixTime;

/// What time it is. Everything that needs to know is given one; tests give their own.
pub trait Clock: Send + Sync {
    /// The present time. May jump either way between two calls.
    fn now(&self) -> UnixTime;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> UnixTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
