//! Signals that must not end a process in the middle of a consent or a refresh.

use std::io;

use rustix::process::Signal as Kind;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// These end a process that does not handle them, and nothing here is served by that. `SIGXFSZ` comes with a write that
/// fails anyway. `SIGPIPE` is ignored by the language's runtime.
const HARMLESS: [Kind; 7] =
    [Kind::USR1, Kind::USR2, Kind::ALARM, Kind::VTALARM, Kind::PROF, Kind::IO, Kind::XFSZ];

/// Handles this signal from now on, instead of being ended by it. To be called within a runtime.
///
/// # Errors
/// The system's.
pub fn handle(kind: Kind) -> io::Result<Signal> {
    signal(SignalKind::from_raw(kind.as_raw()))
}

/// Does nothing at the signals that mean nothing here. To be called within a runtime.
///
/// # Errors
/// The system's.
pub fn ignore_harmless() -> io::Result<()> {
    // A signal that was handled once does nothing by itself any more.
    HARMLESS.into_iter().try_for_each(|kind| handle(kind).map(drop))
}
