//! Shows progress on stderr: on a terminal a line that is overwritten, else a line a minute. Work that takes less than a second is
//! not shown.

use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::bulk::AnswerRate;
use crate::domain::time::human_duration;

const QUIET_TIME: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(200);
const STEP_WITHOUT_TERMINAL: Duration = Duration::from_secs(60);

/// What is done, has failed and is left, and the rate.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    total: Option<usize>,
    done: usize,
    failed: usize,
    rate: AnswerRate,
    next: Instant,
    terminal: bool,
    shown: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: Option<usize>) -> Self {
        let terminal = io::stderr().is_terminal();
        let quiet = if terminal { QUIET_TIME } else { STEP_WITHOUT_TERMINAL };
        let (rate, next) = (AnswerRate::new(), Instant::now() + quiet);
        Self { what, total, done: 0, failed: 0, rate, next, terminal, shown: false }
    }

    /// Counts one more item that is done, or has failed.
    pub(super) fn step(&mut self, failed: bool) {
        self.done += 1;
        self.failed += usize::from(failed);
        let (rate, now) = (self.rate.at(self.done), Instant::now());
        if now < self.next {
            return;
        }
        let line = self.line(rate);
        if self.terminal {
            self.next = now + STEP;
            self.shown = true;
            let _ = write!(io::stderr().lock(), "\r\x1b[K{line}");
        } else {
            self.next = now + STEP_WITHOUT_TERMINAL;
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    fn line(&self, rate: Option<f64>) -> String {
        let Self { what, total, done, failed, .. } = self;
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let rate_text = rate.map(|rate| format!("; {rate:.1} a second")).unwrap_or_default();
        let left = total.map(|total| total.saturating_sub(*done));
        let time = left.zip(rate).and_then(|(left, rate)| time_for(left, rate));
        let time = time.map(|time| format!(", about {} left", human_duration(time))).unwrap_or_default();
        format!("{what} {done}{of}, {failed} failed{rate_text}{time}")
    }

    /// Clears the line, so that other output can follow.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of grants are far below 2^52")]
fn time_for(left: usize, per_second: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(left as f64 / per_second).ok()
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_is_done_has_failed_and_is_left() {
        let mut progress = Progress::new("imported", Some(1000));
        for number in 0..400 {
            progress.step(number < 3);
        }
        assert_eq!(progress.line(None), "imported 400 of 1000, 3 failed");
        assert_eq!(progress.line(Some(5.0)), "imported 400 of 1000, 3 failed; 5.0 a second, about 2m left");
        progress.total = None;
        assert_eq!(progress.line(Some(5.04)), "imported 400, 3 failed; 5.0 a second");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_half_minute() {
        let mut rate = AnswerRate::new();
        assert_eq!(rate.at(1), None);
        for second in 1..=40 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(rate.at(second * 10), Some(10.0), "{second}");
        }
        let mut slow = None;
        for second in 1..=60 {
            tokio::time::advance(Duration::from_secs(1)).await;
            slow = rate.at(400 + second);
        }
        assert_eq!(slow, Some(1.0));
    }
}
