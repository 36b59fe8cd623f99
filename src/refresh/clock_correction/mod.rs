//! Corrects stored dates after the clock was set back. Without that, a token would seem to live longer than it does, and a grant
//! would be refreshed only when the clock reaches its old due date.

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
use crate::refresh::pass::STORE_RETRY;
use crate::refresh::service::RefreshService;
use crate::refresh::update_all::update_all;
use crate::service_context::ServiceContext;
use crate::store::BatchPosition;
use crate::store::GrantUpdate;
use crate::store::StoreError;

/// No retry and no try of an ended grant is planned further ahead: the longest are a day apart, with a jitter.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(2 * 86_400);

/// Smaller differences are corrections of the clock by NTP.
pub(super) const SLACK: Duration = Duration::from_secs(60);

/// Corrections that are still to be made, one for each time the clock was set back. They are made in the order of their
/// detection, because each assumes that the earlier ones have been applied.
#[derive(Default)]
pub(super) struct PendingCorrections {
    open: VecDeque<DateCorrection>,
    /// When the store is tried again, if it has failed.
    retry_at: Option<Instant>,
}

impl PendingCorrections {
    /// The clock was set back by `back`.
    pub(super) fn add(&mut self, refresher: &RefreshService, back: Duration) {
        refresher.set_back().seen += back;
        self.open.push_back(DateCorrection::new(&refresher.context, back));
        self.retry_at = None;
    }

    /// Continues the corrections as far as the store allows. Must be called repeatedly: a grant whose due date stays in the
    /// future would not be refreshed before that date.
    pub(super) async fn go_on(&mut self, refresher: &RefreshService) {
        let (context, stopping) = (&refresher.context, refresher.context.tasks.stopping());
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        while !stopping.is_cancelled() {
            let later = self.open.iter().skip(1).map(|correction| correction.back).sum();
            let Some(first) = self.open.front_mut() else { return };
            match first.go_on(context, later, &stopping).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(why) => {
                    log::log!(why.log_level(), "stored dates in the future cannot be corrected yet: {why}");
                    self.retry_at = Some(Instant::now() + STORE_RETRY);
                    return;
                }
            }
            refresher.set_back().corrected += first.back;
            self.open.pop_front();
        }
    }
}

/// The correction of all stored dates after the clock was set back once.
pub(super) struct DateCorrection {
    /// By how much the clock was set back. Zero: unknown, because it was set while the daemon was stopped.
    back: Duration,
    /// When the change was detected (by the new clock), and the latest change that had been published by then.
    noticed: (UnixTime, EventPosition),
    /// Where to continue; `None` at the end.
    after: Option<BatchPosition>,
}

impl DateCorrection {
    pub(super) fn new(context: &ServiceContext, back: Duration) -> Self {
        let noticed = (context.clock.now(), context.cache.events().position());
        Self { back, noticed, after: Some(BatchPosition::default()) }
    }

    /// Corrects the remaining grants. Answers whether all are corrected. The clock was set back by another `later` since
    /// then, which is corrected afterwards.
    pub(super) async fn go_on(
        &mut self,
        context: &ServiceContext,
        later: Duration,
        stopping: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let (now, back, policy) = (context.clock.now() + later, self.back, context.policy);
        let ((noticed, published), clock, cache) =
            (self.noticed, context.clock.clone(), context.cache.clone());
        // Consents that are stored meanwhile have the dates of the new clock, and must not be corrected. A few are corrected
        // wrongly: those stored but not published yet, those of the minute before the change was detected, and those whose
        // publication is no longer remembered. The price is one refresh too many for each.
        let right = move |grant: &Grant| {
            (noticed..=clock.now() + later).contains(&grant.renewed_at)
                && cache.events().changed_since(published, &grant.person.id)
        };
        let corrected: GrantUpdate =
            Arc::new(move |grant| !right(grant) && correct_dates(grant, back, &policy, now));
        let what = "dates follow the clock that was set back";
        let done = update_all(context, (what, corrected), &mut self.after, stopping).await?;
        if done {
            context.store.clamp_times(now, now + LEASE).await?;
        }
        Ok(done)
    }
}

/// Shifts the timestamps of a grant back by `back`, so that a token does not seem to live longer. Timestamps that are still
/// in the future are set to `now`, and the grant becomes due at once. Answers whether the grant was changed.
pub(super) fn correct_dates(grant: &mut Grant, back: Duration, policy: &Policy, now: UnixTime) -> bool {
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
