//! Keeps grants alive: the event loop, its passes, single refreshes, and refreshes on demand.

mod backlog;
mod backlog_watch;
mod breaker_state;
mod claim;
mod clock_correction;
mod clocks;
mod commit_retry;
mod consent_log;
mod event_loop;
mod in_flight;
mod on_demand;
mod pace;
mod pass;
mod person_check;
mod progress;
mod rate_limit;
mod report;
mod requested;
mod reschedule;
mod reschedule_state;
#[cfg(test)]
mod sample_grants;
mod send;
mod service;
mod start_schedule;
mod start_turn;
mod update_all;

pub use crate::refresh::backlog::Backlog;
pub use crate::refresh::event_loop::EventLoop;
pub use crate::refresh::on_demand::LiveToken;
pub use crate::refresh::on_demand::RefreshOutcome;
pub use crate::refresh::on_demand::RefreshReport;
pub use crate::refresh::on_demand::TokenError;
pub use crate::refresh::rate_limit::RateLimits;
pub use crate::refresh::requested::BulkTurn;
pub use crate::refresh::requested::RefreshOptions;
pub use crate::refresh::service::RefreshService;
