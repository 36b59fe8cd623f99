//! Logs the progress of a change to all stored grants, if it takes long.

use std::time::Duration;

use tokio::time::Instant;

use crate::service_context::ServiceContext;

/// How often the progress is logged. A change that takes less than this is not logged.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The progress of one change.
pub(super) struct ChangeProgress {
    what: &'static str,
    begun: Instant,
    told_at: Instant,
    grants: u64,
}

impl ChangeProgress {
    /// Of the change that begins now. `what` names it in the log.
    pub(super) fn of(what: &'static str) -> Self {
        let now = Instant::now();
        Self { what, begun: now, told_at: now, grants: 0 }
    }

    /// Counts a step over up to this many grants.
    pub(super) async fn step(&mut self, context: &ServiceContext, grants: u32) {
        self.grants += u64::from(grants);
        if self.told_at.elapsed() < LOG_INTERVAL {
            return;
        }
        self.told_at = Instant::now();
        let (what, grants) = (self.what, self.grants);
        match context.store.totals().await {
            Ok(totals) => {
                log::info!("{what}: {} of {} persons so far", grants.min(totals.people), totals.people)
            }
            Err(_) => log::info!("{what}: {grants} persons so far"),
        }
    }

    /// The change is complete.
    pub(super) fn end(&self) {
        let seconds = self.begun.elapsed().as_secs();
        if self.told_at > self.begun {
            log::info!("{}: done after {seconds} seconds", self.what);
        }
    }
}
