//! Limits log lines that repeat, such as those that clients can cause, so that a flood of requests does not flood the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Minimum time between two lines of one kind, unless they have an interval of their own.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Allows one line of its kind for each interval, and counts the others.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    lines: Mutex<LogThrottleState>,
}

#[derive(Debug, Default)]
struct LogThrottleState {
    last: Option<Instant>,
    left_out: u64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new(DEFAULT_INTERVAL)
    }
}

impl LogThrottle {
    /// Allows the first line at once, and each further one when `interval` has passed.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, lines: Mutex::default() }
    }

    /// If a line may be written now, returns the text to append to it, which says how many lines were
    /// suppressed before. `None` if the line must be suppressed.
    pub fn next_line(&self) -> Option<String> {
        let mut lines = self.lines.lock();
        if lines.last.is_some_and(|last| last.elapsed() < self.interval) {
            lines.left_out = lines.left_out.saturating_add(1);
            return None;
        }
        lines.last = Some(Instant::now());
        Some(more(std::mem::take(&mut lines.left_out)))
    }

    /// Begins an interval now, because another line has just said the same. The lines counted so far are
    /// forgotten.
    pub fn restart(&self) {
        *self.lines.lock() = LogThrottleState { last: Some(Instant::now()), left_out: 0 };
    }
}

/// The number of suppressed lines, as text to append to a line.
#[must_use]
pub fn more(left_out: u64) -> String {
    if left_out > 0 { format!("; {left_out} more since the last such line") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeated_lines_are_logged_once_a_minute_with_a_count() {
        let limit = LogThrottle::default();
        assert_eq!(limit.next_line(), Some(String::new()));
        for _ in 0..1000 {
            assert_eq!(limit.next_line(), None);
        }
        tokio::time::advance(DEFAULT_INTERVAL).await;
        assert_eq!(limit.next_line(), Some("; 1000 more since the last such line".to_owned()));
        tokio::time::advance(DEFAULT_INTERVAL).await;
        assert_eq!(limit.next_line(), Some(String::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_that_was_written_elsewhere_begins_an_interval() {
        let limit = LogThrottle::new(Duration::from_secs(600));
        assert_eq!(limit.next_line(), Some(String::new()));
        tokio::time::advance(Duration::from_secs(599)).await;
        limit.restart();
        tokio::time::advance(Duration::from_secs(599)).await;
        assert_eq!(limit.next_line(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(limit.next_line(), Some("; 1 more since the last such line".to_owned()));
    }
}
