//! Limits the lines about persons who must consent again. Webex can refuse many grants at once, for instance after the integration
//! was deleted.

use std::time::Duration;

use log::Level;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Persons who get a line of their own within [`WINDOW`]. All others are counted in one line.
const NAMED: u32 = 20;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// The others are logged earlier if no more have come for this long.
const QUIET: Duration = Duration::from_secs(30);

/// Counts lines about persons who must consent again.
#[derive(Debug, Default)]
pub(super) struct ConsentLogLimit(Mutex<ConsentLogWindow>);

#[derive(Debug, Default)]
struct ConsentLogWindow {
    since: Option<Instant>,
    named: u32,
    /// Persons without a line of their own that have not been logged as a number.
    others: u64,
    latest: Option<Instant>,
}

impl ConsentLogLimit {
    /// The level of the line about one more person.
    pub(super) fn level(&self) -> Level {
        let mut count = self.0.lock();
        if count.since.is_none_or(|since| since.elapsed() >= WINDOW) {
            (count.since, count.named) = (Some(Instant::now()), 0);
        }
        if count.named < NAMED {
            count.named += 1;
            return Level::Error;
        }
        count.others += 1;
        count.latest = Some(Instant::now());
        Level::Debug
    }

    /// Logs how many persons had no line of their own, if a window or all refusals have ended; `at_once`: in any case. Must be
    /// called repeatedly.
    pub(super) fn log_others(&self, at_once: bool) {
        let others = {
            let mut count = self.0.lock();
            let passed = |since: Option<Instant>, span| since.is_some_and(|since| since.elapsed() >= span);
            if count.others == 0 || !(at_once || passed(count.since, WINDOW) || passed(count.latest, QUIET)) {
                return;
            }
            std::mem::take(&mut count.others)
        };
        let who = if others == 1 { "1 more person".to_owned() } else { format!("{others} more persons") };
        log::error!(
            "{who} must consent again; `webex-tokend people --state consent_needed` lists all with their links"
        );
    }
}
