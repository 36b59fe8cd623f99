//! The command line: arguments, commands and exit codes.

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
