//! The circuit breaker: tells failures of the app or of Webex from failures of one person, and decides when the next
//! refresh may be sent.
//!
//! While the breaker is closed, a failed refresh concerns its person only. It opens if different persons fail with no
//! success between them. Each person counts once, and only if the failure is new for that person. It takes two persons for
//! a refused client (401) or a request to wait (429), five for transient failures, and six for refused grants within ten
//! minutes. If there is only one person, one is enough. A locked account (423) always concerns its person only.
//!
//! While the breaker is open, single refreshes, the probes, find out whether the failure is over:
//!
//! - The first probe follows after a second, later ones after longer pauses of at most nine minutes. Only a failed probe
//!   confirms the failure and causes an alert.
//! - A probe follows at the latest after a quarter of the least life left among the due tokens.
//! - A due grant that has not failed becomes a probe after at most half a minute. So persons whose refreshes fail delay the
//!   others by less than a minute.
//! - A due token inside its survival margin becomes a probe after two seconds, in turn with the healthiest grant, and
//!   within its own retry schedule.
//! - A request to wait is obeyed to its end, up to [`RETRY_AFTER_CAP`](crate::domain::schedule::RETRY_AFTER_CAP), once a probe has confirmed it. Then only the
//!   quarter of the least life left causes an earlier probe.
//!
//! A grant ends only after its refusal is confirmed: see [`Breaker::record`].

mod cause;
mod clock_set_back;
mod confirm_refusal;
mod decisions;
mod outage;
mod persist;
mod sent_refresh;
mod suspects;

pub use crate::domain::breaker::cause::Cause;
pub use crate::domain::breaker::decisions::Admission;
pub use crate::domain::breaker::decisions::Breaker;
pub use crate::domain::breaker::decisions::Pause;
pub use crate::domain::breaker::decisions::Transition;
pub use crate::domain::breaker::outage::DueSummary;
pub use crate::domain::breaker::persist::CLOSED;
pub use crate::domain::breaker::sent_refresh::Role;
pub use crate::domain::breaker::sent_refresh::SentRefresh;

#[cfg(test)]
mod tests;
