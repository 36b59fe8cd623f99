//! The command line: arguments, commands and exit codes.

mod api_client;
pub mod arguments;
mod browser;
mod bulk;
mod commands;
pub mod exit;
mod format;
pub mod import;
mod json_stream;
mod log_filter;
mod log_queue;
pub mod logging;
mod output;
mod progress;
mod socket_place;
mod table;

pub use commands::run;
