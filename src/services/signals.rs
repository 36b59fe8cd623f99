//! Signals that must not kill the process during a consent or a refresh.

use std::io;

use rustix::process::Signal as Kind;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// These signals kill a process that does not handle them, and none of them is a reason to stop. The write
/// that raises `SIGXFSZ` fails with an error anyway. Rust's runtime already ignores `SIGPIPE`.
const HARMLESS: [Kind; 7] =
    [Kind::USR1, Kind::USR2, Kind::ALARM, Kind::VTALARM, Kind::PROF, Kind::IO, Kind::XFSZ];

/// Handles this signal from now on, so that it no longer kills the process. Call it within a Tokio runtime.
///
/// # Errors
/// When the system refuses to install the handler.
pub fn handle(kind: Kind) -> io::Result<Signal> {
    signal(SignalKind::from_raw(kind.as_raw()))
}

/// Ignores all signals that have no meaning here. Call it within a Tokio runtime.
///
/// # Errors
/// When the system refuses to install a handler.
pub fn ignore_harmless() -> io::Result<()> {
    // A handled signal no longer kills the process, even if the handle is dropped.
    HARMLESS.into_iter().try_for_each(|kind| handle(kind).map(drop))
}
