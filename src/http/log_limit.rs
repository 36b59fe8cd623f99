//! Limits log lines that clients can cause to one a minute for each kind, so that a flood of requests does
//! not flood the log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Minimum time between two lines of one kind.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Counts the suppressed lines of one kind.
#[derive(Debug, Default)]
pub(super) struct LogThrottle(Mutex<LogThrottleState>);

#[derive(Debug, Default)]
struct LogThrottleState {
    last: Option<Instant>,
    left_out: u64,
}

impl LogThrottle {
    /// If a line may be written now, returns the text to append to it, which says how many lines were
    /// suppressed before. `None` if the line must be suppressed.
    pub(super) fn next_line(&self) -> Option<String> {
        self.next(Instant::now()).map(more)
    }

    fn next(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock();
        if lines.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            lines.left_out = lines.left_out.saturating_add(1);
            return None;
        }
        lines.last = Some(now);
        Some(std::mem::take(&mut lines.left_out))
    }
}

/// The number of suppressed lines, as text to append to a line.
pub(super) fn more(left_out: u64) -> String {
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
        tokio::time::advance(EVERY).await;
        assert_eq!(limit.next_line(), Some("; 1000 more since the last such line".to_owned()));
        tokio::time::advance(EVERY).await;
        assert_eq!(limit.next_line(), Some(String::new()));
    }
}
