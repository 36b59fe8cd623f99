//! The handle: what was typed, and the exit code that it ends with.

pub mod arguments;
pub mod exit;
pub mod logging;
