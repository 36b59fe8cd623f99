//! Keeps grants alive: the event loop, its passes, single refreshes, and refreshes on demand.

mod busy;
mod clocks;
mod demand;
mod event_loop;
mod gate;
mod keeping;
mod pace;
mod pass;
mod person_check;
mod refresher;
mod report;
mod revise;

pub use crate::refresh::demand::LiveToken;
pub use crate::refresh::demand::RefreshOutcome;
pub use crate::refresh::demand::RefreshReport;
pub use crate::refresh::demand::TokenError;
pub use crate::refresh::event_loop::EventLoop;
pub use crate::refresh::pace::RateLimits;
pub use crate::refresh::refresher::RefreshService;
pub use crate::refresh::refresher::RefreshServiceParts;
