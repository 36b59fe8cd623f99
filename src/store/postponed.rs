//! News that the outbox did not take while the change that made them true was stored: they wait in memory.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::notice::News;

/// Maximum number of news that wait. Further ones are lost, which the log says.
const MOST_WAITING: usize = 1000;

/// The trouble is logged again after this, as long as it lasts.
const LOG_AGAIN: Duration = Duration::from_secs(600);

/// What waits, and why.
#[derive(Debug, Default)]
pub(super) struct Postponed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    trouble: Option<String>,
    logged: Option<Instant>,
    waiting: Vec<News>,
    lost: u64,
}

impl Postponed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be written to the outbox, if that is so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    /// From now on news wait.
    pub(super) fn begin(&self, why: &str) {
        let mut state = self.state();
        if state.logged.is_none_or(|at| at.elapsed() >= LOG_AGAIN) {
            state.logged = Some(Instant::now());
            log::error!(
                "notices and history cannot be stored: {why}; tokens are still stored and refreshed, and notices wait \
                 in memory: restore the store from a backup in a quiet hour"
            );
        }
        state.trouble = Some(why.to_owned());
    }

    /// These wait, too. A change whose transaction is made again adds nothing.
    pub(super) fn add(&self, news: &News) {
        let mut state = self.state();
        if (news.notices.is_empty() && news.history.is_empty()) || state.waiting.contains(news) {
            return;
        }
        if state.waiting.len() >= MOST_WAITING {
            if state.lost.is_power_of_two() || state.lost == 0 {
                log::error!(
                    "notices are lost, {} so far: too many wait in memory for the outbox",
                    state.lost + 1
                );
            }
            state.lost += 1;
            return;
        }
        state.waiting.push(news.clone());
    }

    /// The news that have waited longest, at most `limit`.
    pub(super) fn first(&self, limit: usize) -> Vec<News> {
        self.state().waiting.iter().take(limit).cloned().collect()
    }

    /// These are written now. After the last of them, news are written with their changes again.
    pub(super) fn written(&self, written: &[News]) {
        let mut state = self.state();
        state.waiting.retain(|news| !written.contains(news));
        if state.waiting.is_empty() && state.trouble.take().is_some() {
            log::info!("notices and history can be stored again");
            (state.logged, state.lost) = (None, 0);
        }
    }
}
