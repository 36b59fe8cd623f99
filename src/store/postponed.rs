//! Notices and history entries that could not be written with their change. They wait in memory until the outbox can be
//! written again.

use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::time::Instant;

use crate::domain::notice::OutboxEntries;

/// Maximum number of changes whose notices wait. The notices of further changes are lost, and the log says so.
const MAX_WAITING: usize = 1000;

/// The error is logged again after this time, as long as it lasts.
const LOG_AGAIN: Duration = Duration::from_secs(600);

/// The notices and history entries that wait, and the error that they wait for.
#[derive(Debug, Default)]
pub(super) struct Postponed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<String>,
    /// When the error was last logged. Kept when the outbox recovers, so that an outbox that fails and recovers in turns does not
    /// fill the log.
    logged: Option<Instant>,
    /// Whether the log has the error, but not its end.
    is_end_unlogged: bool,
    waiting: Vec<OutboxEntries>,
    lost: u64,
}

impl Postponed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Why the outbox cannot be written; `None` while it can.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// Records that the outbox cannot be written. From now on notices wait in memory.
    pub(super) fn begin(&self, why: &str) {
        let mut state = self.state();
        if state.logged.is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
            (state.logged, state.is_end_unlogged) = (Some(Instant::now()), true);
            log::error!(
                "notices and history cannot be stored: {why}; tokens are still stored and refreshed, and notices wait \
                 in memory; restore the store from a backup as soon as the daemon may be stopped"
            );
        }
        state.trouble = Some(why.to_owned());
    }

    /// Keeps the notices and history entries of a change in memory. If the transaction of a change is repeated, the second
    /// call for it adds nothing.
    pub(super) fn add(&self, outbox_entries: &OutboxEntries) {
        let mut state = self.state();
        if (outbox_entries.notices.is_empty() && outbox_entries.history.is_empty())
            || state.waiting.contains(outbox_entries)
        {
            return;
        }
        if state.waiting.len() >= MAX_WAITING {
            if state.lost.is_power_of_two() || state.lost == 0 {
                log::error!(
                    "the notices of {} changes are lost so far, because too many already wait in memory",
                    state.lost + 1
                );
            }
            state.lost += 1;
            return;
        }
        state.waiting.push(outbox_entries.clone());
    }

    /// The entries of the `limit` changes that have waited longest.
    pub(super) fn first(&self, limit: usize) -> Vec<OutboxEntries> {
        self.state().waiting.iter().take(limit).cloned().collect()
    }

    /// Removes entries that have been written, after a write to each table has succeeded. If none is left, the store writes
    /// notices with their changes again.
    pub(super) fn written(&self, written: &[OutboxEntries]) {
        let mut state = self.state();
        state.waiting.retain(|outbox_entries| !written.contains(outbox_entries));
        if state.waiting.is_empty() && state.trouble.take().is_some() {
            if std::mem::take(&mut state.is_end_unlogged) {
                log::info!("notices and history can be stored again");
            }
            state.lost = 0;
        }
    }
}
