//! Stores the results of refreshes, and retries for as long as the store fails.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;

use crate::domain::grant::Grant;
use crate::domain::person::Person;
use crate::health::PendingCommit;
use crate::health::PendingCommits;
use crate::refresh::clock_correction::correct_dates;
use crate::refresh::report::log_about;
use crate::refresh::service::RefreshService;
use crate::store::Committed;
use crate::store::Fence;
use crate::store::StoreError;

/// Pauses between attempts to store a result; the last one repeats.
const COMMIT_RETRIES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
];

/// While the store rejects a result, the error is logged again after this many attempts, about ten minutes.
const LOG_EVERY_TRIES: usize = 20;

impl RefreshService {
    /// Results that are not stored yet.
    #[must_use]
    pub fn pending_commits(&self) -> &Arc<PendingCommits> {
        &self.unkept
    }

    /// Whether no refresh may be sent, because the store cannot take results at present.
    pub(super) fn commit_stalled(&self) -> bool {
        self.pending_commits().is_stalled()
    }

    /// Corrects the dates of a claimed grant after the clock was set back. No other task corrects a claimed grant.
    pub(super) fn correct_dates(&self, grant: &mut Grant, corrected: &mut Duration) {
        let back = self.set_back().seen.saturating_sub(*corrected);
        if !back.is_zero() {
            correct_dates(grant, back, &self.context.policy, self.context.clock.now());
            *corrected += back;
        }
    }

    /// Stores the result of a refresh, and retries while the store fails, because Webex may not send the new tokens a second
    /// time. Gives up when the daemon stops. The next start then repeats the refresh with the stored refresh token.
    pub(super) async fn commit_with_retry(
        &self,
        fence: Fence,
        grant: &Grant,
        mut corrected: Duration,
    ) -> Option<Committed> {
        let (stopping, mut tries) = (self.context.tasks.stopping(), 0);
        let mut grant = grant.clone();
        let (mut _counted, mut others_are_kept) = (None, false);
        loop {
            self.correct_dates(&mut grant, &mut corrected);
            match self.context.store.commit(fence, grant.clone()).await {
                Ok(committed) => {
                    self.context.cache.invalidate(&grant.person.id);
                    return Some(committed);
                }
                Err(why) => {
                    _counted = Some(self.log_commit_failure(&grant.person, &why, others_are_kept, tries))
                }
            }
            let pause = COMMIT_RETRIES.get(tries).or(COMMIT_RETRIES.last()).copied().unwrap_or_default();
            tries += 1;
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                () = stopping.cancelled(), if tries > 3 => {
                    let text = "the result of a refresh could not be stored before the daemon stopped";
                    log_about(&grant.person, Level::Error, text);
                    return None;
                }
            }
            // Checked before the next attempt, which may fail because of this row only.
            others_are_kept =
                tries >= COMMIT_RETRIES.len() && self.context.store.check_writable().await.is_ok();
        }
    }

    /// Logs that a result could not be stored, and counts it.
    fn log_commit_failure(
        &self,
        person: &Person,
        why: &StoreError,
        others_are_kept: bool,
        tries: usize,
    ) -> PendingCommit {
        if others_are_kept && matches!(why, StoreError::Corrupt(_) | StoreError::Failed(_)) {
            let level =
                if tries % LOG_EVERY_TRIES == COMMIT_RETRIES.len() { Level::Error } else { Level::Debug };
            let text = format!("the store rejects the result of a refresh, but accepts other writes: {why}");
            log_about(person, level, &text);
            return self.pending_commits().mark_refused();
        }
        log_about(person, why.log_level(), &format!("the result of a refresh cannot be stored yet: {why}"));
        self.pending_commits().begin()
    }
}
