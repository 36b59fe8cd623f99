//! The handle: what was typed, the commands, and the exit code that each ends with.

pub mod arguments;
mod browser;
mod client;
mod commands;
pub mod exit;
pub mod import;
mod local;
mod log_filter;
mod log_queue;
pub mod logging;
pub mod memory;
mod print;
mod progress;
mod show;
mod socket;
mod socket_place;
mod table;

pub use commands::run;
