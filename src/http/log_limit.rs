//! One line a minute for what a client can cause again and again: a flood of requests must not become one of the log.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

/// A line of one kind is written at most so often.
pub(super) const EVERY: Duration = Duration::from_secs(60);

/// Counts the lines of one kind that were not written.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    left_out: u64,
}

impl LogLimit {
    /// What stands at the end of a line that is due now: how many were left out before it. `None`: the line is left
    /// out.
    pub(super) fn due(&self) -> Option<String> {
        self.next(Instant::now()).map(more)
    }

    fn next(&self, now: Instant) -> Option<u64> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            lines.left_out = lines.left_out.saturating_add(1);
            return None;
        }
        lines.last = Some(now);
        Some(std::mem::take(&mut lines.left_out))
    }
}

/// How many lines were left out, for the end of a line.
pub(super) fn more(left_out: u64) -> String {
    if left_out > 0 { format!("; {left_out} more since the last such line") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_one_line_a_minute_is_written_with_the_number_of_the_others() {
        let limit = LogLimit::default();
        assert_eq!(limit.due(), Some(String::new()));
        for _ in 0..1000 {
            assert_eq!(limit.due(), None);
        }
        tokio::time::advance(EVERY).await;
        assert_eq!(limit.due(), Some("; 1000 more since the last such line".to_owned()));
        tokio::time::advance(EVERY).await;
        assert_eq!(limit.due(), Some(String::new()));
    }
}
