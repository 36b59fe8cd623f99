//! Changes to all stored grants at a start: after a change of the settings, for a refresh at the start, or if the clock was set back
//! while the daemon was stopped.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::refresh::clock_correction::DateCorrection;
use crate::refresh::clock_correction::SLACK;
use crate::refresh::reschedule_state::StartOptions;
use crate::refresh::service::RefreshService;
use crate::refresh::update_all::update_all;
use crate::store::BatchPosition;
use crate::store::GrantUpdate;
use crate::store::MetaKey;
use crate::store::StoreError;

impl RefreshService {
    /// Brings the stored schedule in line with this start: with the breaker, the clock and the settings. `refresh_all` makes
    /// every grant due, whatever its age. The event loop repeats what has failed at each wake.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. Grants that were changed before stay changed.
    pub async fn prepare(&self, refresh_all: bool) -> Result<(), StoreError> {
        let start = StartOptions { at: self.context.clock.now(), refresh_all };
        let prepared = self.reconcile(start).await;
        *self.pending_start() = prepared.is_err().then_some(start);
        prepared
    }

    /// Repeats what [`RefreshService::prepare`] could not finish.
    pub(super) async fn retry_reconcile(&self) {
        let Some(start) = *self.pending_start() else { return };
        match self.reconcile(start).await {
            Ok(()) => {
                *self.pending_start() = None;
                log::info!("event loop: the stored schedule now matches the settings");
            }
            Err(why) => {
                log::log!(
                    why.log_level(),
                    "event loop: the stored schedule does not match the settings yet: {why}"
                );
            }
        }
    }

    async fn reconcile(&self, start: StartOptions) -> Result<(), StoreError> {
        let context = &self.context;
        let stopping = context.tasks.stopping();
        self.load_breaker().await?;
        let now = context.clock.now();
        if context.store.last_write_at().await?.is_some_and(|latest| latest > now + SLACK) {
            log::warn!(
                "the store contains dates in the future, so the clock was or is wrong; they are corrected"
            );
            DateCorrection::new(context, Duration::ZERO).go_on(context, Duration::ZERO, &stopping).await?;
        }
        let (policy, known) = (context.policy, format!("{:?}", context.policy));
        if context.store.get_meta(MetaKey::Policy).await?.as_deref() != Some(&known) {
            let replan: GrantUpdate = Arc::new(move |grant| replan(grant, &policy, now));
            let what = "next refreshes follow the changed settings";
            if !update_all(context, (what, replan), &mut Some(BatchPosition::default()), &stopping).await? {
                return Ok(());
            }
            context.store.set_meta(MetaKey::Policy, known).await?;
        }
        if start.refresh_all {
            let due: GrantUpdate = Arc::new(move |grant| due(grant, start, now));
            update_all(
                context,
                ("every person becomes due", due),
                &mut Some(BatchPosition::default()),
                &stopping,
            )
            .await?;
        }
        Ok(())
    }
}

/// Plans a grant again that was planned with other settings. Retries and probes of ended grants stay as they are.
fn replan(grant: &mut Grant, policy: &Policy, now: UnixTime) -> bool {
    if grant.status != GrantStatus::Active || grant.failures > 0 {
        return false;
    }
    let next = policy.plan(&grant.dates(), now);
    let changed = next != grant.next;
    grant.next = next;
    changed
}

fn due(grant: &mut Grant, start: StartOptions, now: UnixTime) -> bool {
    // If this runs late, grants that were refreshed or stored since the start stay as they are.
    if now > start.at && grant.last.at > start.at {
        return false;
    }
    grant.next = Schedule::at(now);
    true
}

#[cfg(test)]
mod tests;
