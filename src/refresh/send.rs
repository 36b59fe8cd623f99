//! One refresh: claimed grant -> Webex -> verdict -> stored result -> one log line.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::Instant;

use crate::domain::breaker::SentRefresh;
use crate::domain::breaker::Transition;
use crate::domain::grant::GrantStatus;
use crate::domain::notice::facts::after_refresh;
use crate::domain::verdict::Outcome;
use crate::domain::verdict::Verdict;
use crate::refresh::breaker_state::sent_refresh;
use crate::refresh::claim::ClaimedGrant;
use crate::refresh::pace::CallPermit;
use crate::refresh::pace::evidence;
use crate::refresh::pace::is_urgent;
use crate::refresh::report::log_about;
use crate::refresh::report::log_discarded;
use crate::refresh::report::log_level;
use crate::refresh::report::log_refresh;
use crate::refresh::service::RefreshService;
use crate::refresh::start_schedule::StartReason;
use crate::refresh::start_turn::StartTurn;
use crate::store::Committed;
use crate::webex::transport::TOTAL_TIMEOUT;

/// A refresh is not sent if less than this is left of its lease, for instance after the machine was suspended.
const MIN_LEASE_LEFT: Duration = Duration::from_secs(TOTAL_TIMEOUT.as_secs() + 20);

impl RefreshService {
    /// Refreshes a claimed grant and stores the result. `None` if the refresh was not sent, or its result not stored. `waiting` is
    /// dropped at its start.
    pub(super) async fn refresh(&self, taken: ClaimedGrant, waiting: Option<Arc<()>>) -> Option<Outcome> {
        let urgent = is_urgent(&taken.claim.grant, self.context.clock.now());
        let turn = self.start_turn(StartReason::Due, urgent);
        let permit = self.wait_for_permit(&turn, &taken.busy).await?;
        let reason = self.wait_for_start_or_skip(turn, &taken).await;
        drop(waiting);
        if let Some(why) = reason {
            log_about(&taken.claim.grant.person, Level::Info, &format!("not refreshed: {why}"));
            drop(permit);
            self.release(taken).await;
            return None;
        }
        self.send(taken, permit).await
    }

    /// Waits for the start of a claimed grant. Returns at once, with the reason, when the refresh must be
    /// skipped. Without that, the claimed grants would use up starts that the first probe of a pause needs.
    async fn wait_for_start_or_skip(&self, turn: StartTurn, taken: &ClaimedGrant) -> Option<&'static str> {
        let mut start = pin!(self.wait_for_start(turn, &taken.busy));
        loop {
            let paused = self.paused.notified();
            let reason = self.reason_to_skip(taken);
            if reason.is_some() {
                return reason;
            }
            tokio::select! {
                // The pause comes first: otherwise each would take a start before it is skipped.
                biased;
                () = paused => {}
                () = &mut start => return self.reason_to_skip(taken),
            }
        }
    }

    /// Records a response in the breaker. The number of living grants is read only after a 401 or 429 that
    /// may open the breaker, so a success costs no query.
    async fn record(
        &self,
        verdict: Verdict,
        sent: &SentRefresh,
        retry_after: Option<Duration>,
    ) -> (Verdict, Option<Transition>) {
        let now = self.context.clock.now();
        let (verdict, turn) = self.breaker().record(verdict, sent, retry_after, now);
        let undecided = self.breaker().needs_person_count(&verdict, sent);
        if undecided && self.is_the_only_person().await {
            let turn = self.breaker().record_as_only_person(&verdict, sent, retry_after, now);
            return (verdict, turn);
        }
        (verdict, turn)
    }

    /// Why a claimed grant is not refreshed after all: what has changed while it waited for its turn.
    fn reason_to_skip(&self, taken: &ClaimedGrant) -> Option<&'static str> {
        // The lease may have been used up by a slow store, a suspended machine, or a clock that was set ahead.
        let late = self.context.clock.now() + MIN_LEASE_LEFT > taken.lease_end;
        let paused = !self.breaker().may_send(taken.role);
        let person = &taken.claim.grant.person.id;
        match () {
            () if self.context.cache.events().changed_since(taken.published, person) => {
                Some("the grant was replaced or removed")
            }
            () if late => Some("its claim would end during the call; it is due again"),
            () if paused => Some("refreshes pause; it is due again"),
            () if self.commit_stalled() => Some("the store cannot be written at present; it is due again"),
            () if self.context.tasks.stopping().is_cancelled() => {
                Some("the daemon is stopping; it is due again")
            }
            () => None,
        }
    }

    /// Refreshes a claimed grant whose turn has come. The permit is released when Webex has responded, so the next call need
    /// not wait for the commit.
    pub(super) async fn send(&self, taken: ClaimedGrant, permit: CallPermit) -> Option<Outcome> {
        let ClaimedGrant { mut claim, busy: _busy, role, on_demand, only_person, mut corrected, .. } = taken;
        self.backlog.count_sent();
        let urgent = is_urgent(&claim.grant, self.context.clock.now());
        let asked_at = Instant::now();
        let reply = self.context.webex.refresh(&claim.grant.tokens.refresh_token).await;
        let verdict = Verdict::from_response(reply.fact, &claim.grant.tokens.access_token);
        let evidence = evidence(&verdict, reply.retry_after, asked_at.elapsed());
        let now = self.context.clock.now();
        self.correct_dates(&mut claim.grant, &mut corrected);
        let sent = sent_refresh(&claim.grant, (role, on_demand, only_person), now);
        let (verdict, turn) = self.record(verdict, &sent, reply.retry_after).await;
        let repeated = self.breaker().cause().is_some_and(|cause| cause.explains(verdict.outcome()));
        self.pace_answered(evidence, urgent);
        // Not sooner: the next call must find the breaker as this response leaves it.
        drop(permit);
        self.report_transition(turn);
        let next = claim.grant.after(verdict, reply.retry_after, reply.sent_at, &self.context.policy, now);
        let next = after_refresh(&claim.grant, next);
        let had_ended = claim.grant.status == GrantStatus::ConsentNeeded;
        let kept = self.commit_with_retry(claim.fence, &next, corrected).await;
        self.save_breaker().await;
        if kept == Some(Committed::Kept) {
            let level = match next.last.outcome {
                // It was logged when Webex refused the grant for good, and is only tried again.
                Outcome::ConsentNeeded if had_ended => Level::Info,
                Outcome::ConsentNeeded => self.consent_log.level(),
                other => log_level(other, repeated),
            };
            log_refresh(&self.context.webex, level, &next, reply.tracking_id.as_deref(), now);
            if next.last.outcome == Outcome::Renewed && self.pause().is_none() {
                self.person_checks.after_refresh(&next);
            }
        } else if kept == Some(Committed::Superseded) {
            log_discarded(&next.person, reply.tracking_id.as_deref());
        }
        kept.filter(|kept| *kept == Committed::Kept).map(|_| next.last.outcome)
    }
}
