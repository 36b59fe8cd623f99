//! Durations that several test modules share.

use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// For time stamps in milliseconds.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// For time stamps in seconds.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// Far longer than any step takes, even on a busy machine. A step that takes longer hangs.
pub(crate) const HANG_TIMEOUT: Duration = Duration::from_secs(20);

/// For HTTP clients of a service that may itself wait for Webex for 20 seconds.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// For servers with the short limits of a test: far longer than these, and shorter than the default limits, which therefore
/// cannot end a connection in their place.
pub(crate) const SHORT_LIMITS_TIMEOUT: Duration = Duration::from_secs(8);
