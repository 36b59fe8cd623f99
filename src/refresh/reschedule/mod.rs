//! Changes to all stored grants: after a change of the settings, for a refresh at the start, or after the clock was set back.
//! They run in steps, so that claims and consents run between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::schedule::Policy;
use crate::domain::schedule::Schedule;
use crate::domain::time::UnixTime;
use crate::grant_cache::EventPosition;
use crate::refresh::claim::LEASE;
use crate::refresh::parts::RefreshServiceParts;
use crate::refresh::pass::STORE_RETRY;
use crate::refresh::progress::ChangeProgress;
use crate::refresh::reschedule_state::StartOptions;
use crate::refresh::service::RefreshService;
use crate::store::BatchPosition;
use crate::store::GrantUpdate;
use crate::store::MetaKey;
use crate::store::StoreError;

/// Grants per step: some milliseconds of the writer's time.
const STEP: u32 = 500;

/// No retry and no try of an ended grant is planned further ahead: the longest are a day apart, with a jitter.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2 * 86_400);

/// Smaller differences are corrections of the clock by NTP.
const SLACK: Duration = Duration::from_secs(60);

impl RefreshService {
    /// Brings the stored schedule in line with this start: with the breaker, the clock and the settings. `refresh_all` makes
    /// every grant due, whatever its age. The event loop repeats what has failed at each wake.
    ///
    /// # Errors
    /// [`StoreError`] if the store fails. Grants that were changed before stay changed.
    pub async fn prepare(&self, refresh_all: bool) -> Result<(), StoreError> {
        let start = StartOptions { at: self.parts().clock.now(), refresh_all };
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
        let parts = self.parts();
        let stopping = parts.tasks.stopping();
        self.load_breaker().await?;
        let now = parts.clock.now();
        if parts.store.last_write_at().await?.is_some_and(|latest| latest > now + SLACK) {
            log::warn!(
                "the store contains dates in the future, so the clock was or is wrong; they are corrected"
            );
            Mending::new(parts, Duration::ZERO).go_on(parts, Duration::ZERO, &stopping).await?;
        }
        let (policy, known) = (parts.policy, format!("{:?}", parts.policy));
        if parts.store.get_meta(MetaKey::Policy).await?.as_deref() != Some(&known) {
            let replan: GrantUpdate = Arc::new(move |grant| replan(grant, &policy, now));
            let what = "next refreshes follow the changed settings";
            if !all(parts, (what, replan), &mut Some(BatchPosition::default()), &stopping).await? {
                return Ok(());
            }
            parts.store.set_meta(MetaKey::Policy, known).await?;
        }
        if start.refresh_all {
            let due: GrantUpdate = Arc::new(move |grant| due(grant, start, now));
            all(parts, ("every person becomes due", due), &mut Some(BatchPosition::default()), &stopping)
                .await?;
        }
        Ok(())
    }
}

/// Corrections that are still to be made, one for each time the clock was set back. They are made in the order of their
/// detection, because each assumes that the earlier ones have been applied.
#[derive(Default)]
pub(super) struct Mendings {
    open: VecDeque<Mending>,
    /// When the store is tried again, if it has failed.
    retry_at: Option<Instant>,
}

impl Mendings {
    /// The clock was set back by `back`.
    pub(super) fn add(&mut self, refresher: &RefreshService, back: Duration) {
        refresher.set_back().seen += back;
        self.open.push_back(Mending::new(refresher.parts(), back));
        self.retry_at = None;
    }

    /// Continues the corrections as far as the store allows. Must be called repeatedly: a grant whose due date stays in the
    /// future would not be refreshed before that date.
    pub(super) async fn go_on(&mut self, refresher: &RefreshService) {
        let (parts, stopping) = (refresher.parts(), refresher.parts().tasks.stopping());
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        while !stopping.is_cancelled() {
            let later = self.open.iter().skip(1).map(|mending| mending.back).sum();
            let Some(first) = self.open.front_mut() else { return };
            match first.go_on(parts, later, &stopping).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    log::log!(why.log_level(), "stored dates in the future cannot be corrected yet: {why}");
                    self.retry_at = Some(Instant::now() + STORE_RETRY);
                    return;
                }
            }
            refresher.set_back().mended += first.back;
            self.open.pop_front();
        }
    }
}

/// The correction of all stored dates after the clock was set back once.
struct Mending {
    /// By how much the clock was set back. Zero: unknown, because it was set while the daemon was stopped.
    back: Duration,
    /// When the change was detected (by the new clock), and the latest change that had been published by then.
    noticed: (UnixTime, EventPosition),
    /// Where to continue; `None` at the end.
    after: Option<BatchPosition>,
}

impl Mending {
    fn new(parts: &RefreshServiceParts, back: Duration) -> Self {
        let noticed = (parts.clock.now(), parts.view.events().position());
        Self { back, noticed, after: Some(BatchPosition::default()) }
    }

    /// Corrects the remaining grants. Answers whether all are corrected. The clock was set back by another `later` since
    /// then, which is corrected afterwards.
    async fn go_on(
        &mut self,
        parts: &RefreshServiceParts,
        later: Duration,
        stopping: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let (now, back, policy) = (parts.clock.now() + later, self.back, parts.policy);
        let ((noticed, published), clock, view) = (self.noticed, parts.clock.clone(), parts.view.clone());
        // Consents that are stored meanwhile have the dates of the new clock, and must not be corrected. A few are corrected
        // wrongly: those stored but not published yet, those of the minute before the change was detected, and those whose
        // publication is no longer remembered. The price is one refresh too many for each.
        let right = move |grant: &Grant| {
            (noticed..=clock.now() + later).contains(&grant.renewed_at)
                && view.events().changed_since(published, &grant.person.id)
        };
        let mended: GrantUpdate = Arc::new(move |grant| !right(grant) && mend(grant, back, &policy, now));
        let what = "dates follow the clock that was set back";
        let done = all(parts, (what, mended), &mut self.after, stopping).await?;
        if done {
            parts.store.clamp_times(now, now + LEASE).await?;
        }
        Ok(done)
    }
}

/// Applies `revision` to all grants behind `after`. `what` names the change in the log, if it takes long. If the store fails or the daemon stops, `after` is where to continue.
/// Answers whether it reached the end.
async fn all(
    parts: &RefreshServiceParts,
    (what, revision): (&'static str, GrantUpdate),
    after: &mut Option<BatchPosition>,
    stopping: &CancellationToken,
) -> Result<bool, StoreError> {
    let (begun, mut progress) = (*after, ChangeProgress::of(what));
    let done = loop {
        let Some(cursor) = *after else {
            progress.end();
            break Ok(true);
        };
        if stopping.is_cancelled() {
            break Ok(false);
        }
        match parts.store.update_batch(cursor, STEP, revision.clone()).await {
            Ok(next) => *after = next,
            Err(why) => break Err(why),
        }
        if after.is_some() {
            progress.step(parts, STEP).await;
        }
    };
    // Only once, and only if there was a change, because afterwards it is no longer known which grants have changed. Until
    // then readers get the cached dates.
    if *after != begun {
        parts.view.invalidate_all();
    }
    done
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

/// Shifts the timestamps of a grant back by `back`, so that a token does not seem to live longer. Timestamps that are still
/// in the future are set to `now`, and the grant becomes due at once. Answers whether the grant was changed.
pub(super) fn mend(grant: &mut Grant, back: Duration, policy: &Policy, now: UnixTime) -> bool {
    let ahead = |grant: &Grant| grant.answered_at.max(grant.renewed_at).max(grant.last.at).since(now) > SLACK;
    if back.is_zero() && !ahead(grant) && !is_planned_too_late(grant, policy, now) {
        return false;
    }
    let lifetime = grant.dates().lifetime();
    grant.renewed_at = grant.renewed_at - back;
    grant.answered_at = grant.answered_at - back;
    grant.tokens.expires_at = grant.tokens.expires_at - back;
    // Dates in the past may have been written since the change, and stay. A refusal that is dated too early would end the
    // grant too soon. A consent that is dated too late would win over a newer one.
    for date in [&mut grant.last.at, &mut grant.obtained_at] {
        if *date > now {
            *date = *date - back;
        }
    }
    grant.refused_since = grant.refused_since.map(|at| if at > now { at - back } else { at }.min(now));
    if grant.next != Schedule::NEVER {
        grant.next = Schedule { due_at: grant.next.due_at - back, wake_at: grant.next.wake_at - back };
    }
    let undated = ahead(grant) || grant.failures > 0 && is_planned_too_late(grant, policy, now);
    grant.renewed_at = grant.renewed_at.min(now);
    grant.answered_at = grant.answered_at.min(now);
    grant.tokens.expires_at = grant.tokens.expires_at.min(grant.renewed_at + lifetime);
    grant.obtained_at = grant.obtained_at.min(now);
    grant.last.at = grant.last.at.min(now);
    grant.next = match grant.status {
        GrantStatus::Active if undated => Schedule::at(now),
        GrantStatus::ConsentNeeded if undated && grant.next != Schedule::NEVER => {
            Policy::after_refusal(grant.failures, &grant.person.id, now)
        }
        GrantStatus::Active if grant.failures == 0 => {
            // A grant that is due already stays due, whatever the reason.
            let (plan, old) = (policy.plan(&grant.dates(), now), grant.next);
            Schedule { due_at: plan.due_at.min(old.due_at), wake_at: plan.wake_at.min(old.wake_at) }
        }
        GrantStatus::Active | GrantStatus::ConsentNeeded => grant.next,
    };
    true
}

/// Whether the grant is planned later than any rule plans it. A clock that was ahead did that. The other dates need not show it,
/// since they may be older than the mistake of the clock.
fn is_planned_too_late(grant: &Grant, policy: &Policy, now: UnixTime) -> bool {
    let latest = match grant.status {
        GrantStatus::Active if grant.failures == 0 => policy.plan(&grant.dates(), now).due_at,
        GrantStatus::Active | GrantStatus::ConsentNeeded => now + MAX_RETRY_WAIT,
    };
    grant.next != Schedule::NEVER && grant.next.due_at.since(latest) > SLACK
}

#[cfg(test)]
mod tests;
