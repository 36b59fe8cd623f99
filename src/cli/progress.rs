//! Shows progress on stderr, only on a terminal, and only for work that takes longer than a second.

use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::domain::time::UnixTime;

const QUIET_TIME: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(200);

/// A line that is overwritten with each step, and cleared at the end.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    total: Option<usize>,
    done: usize,
    next: UnixTime,
    terminal: bool,
    shown: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: Option<usize>) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { what, total, done: 0, next: SystemClock.now() + QUIET_TIME, terminal, shown: false }
    }

    /// Counts one more finished item.
    pub(super) fn step(&mut self) {
        self.done += 1;
        let now = SystemClock.now();
        if !self.terminal || now < self.next {
            return;
        }
        self.next = now + STEP;
        self.shown = true;
        let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
        let _ = write!(io::stderr().lock(), "\r\x1b[K{} {}{of}", self.what, self.done);
    }

    /// Clears the line, so that other output can follow.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
