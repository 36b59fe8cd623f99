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

pub use crate::refresh::demand::Came;
pub use crate::refresh::demand::Given;
pub use crate::refresh::demand::NoToken;
pub use crate::refresh::demand::Report;
pub use crate::refresh::event_loop::EventLoop;
pub use crate::refresh::pace::Pace;
pub use crate::refresh::refresher::Parts;
pub use crate::refresh::refresher::Refresher;
