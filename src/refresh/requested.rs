//! One refresh that a reader or an operator asked for, from the queue to its result.

use std::time::Duration;

use crate::domain::breaker::Cause;
use crate::domain::breaker::Role;
use crate::domain::catch_up::PaceEvidence;
use crate::domain::grant::GrantStatus;
use crate::domain::person::PersonId;
use crate::grant_cache::EventPosition;
use crate::refresh::in_flight::InFlightGuard;
use crate::refresh::pace::CallPermit;
use crate::refresh::pace::is_urgent;
use crate::refresh::service::RefreshService;
use crate::refresh::start_schedule::StartReason;
use crate::store::StoreError;

/// Shortest time between a failure and another attempt that a reader causes. The event loop's retries do not depend on it.
pub(super) const READER_RETRY_PAUSE: Duration = Duration::from_secs(30);

/// What a caller asks of a refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefreshOptions {
    /// Whether it is sent inside the no-op window as well.
    pub force: bool,
    /// Whether it is one of many that a command asks for, so that readers of tokens go first.
    pub bulk: bool,
}

/// The turn of one call among those of bulk commands.
#[derive(Debug)]
pub struct BulkTurn(#[expect(dead_code, reason = "dropped to free the permit")] Option<CallPermit>);

impl RefreshService {
    /// Asks the breaker whether a refresh of one person may be sent, and says whether it is urgent by now. A grant whose last refresh
    /// failed is tried only when it is due, or when an operator forces it.
    async fn admit(&self, person: &PersonId, forced: bool) -> Option<(Role, bool)> {
        let grant = self.find_grant(person).await.ok()?;
        let now = self.context.clock.now();
        let healthy = grant.failures == 0 && grant.status == GrantStatus::Active;
        let insists = forced && (now >= grant.last.at + READER_RETRY_PAUSE || now < grant.last.at);
        let role = self.breaker().admit_on_demand(healthy, insists || now >= grant.next.due_at, now)?;
        Some((role, is_urgent(&grant, now)))
    }

    /// Waits for the turn of one call to Webex among those of bulk commands, for instance an import. Such
    /// calls have as many call permits as the event loop has, and a share of the starts. The permit is free
    /// again when the result is dropped.
    ///
    /// # Errors
    /// How long Webex asks the whole app to wait. Such a call would only make the wait longer.
    pub async fn bulk_turn(&self) -> Result<BulkTurn, Duration> {
        // The semaphore is never closed.
        let permit = self.pace.call_permit(StartReason::Bulk, false).await.ok();
        self.starts().next_at_pace(StartReason::Bulk, false).await;
        let pause = self.pause().filter(|pause| pause.cause == Cause::Busy);
        let wait =
            pause.map(|pause| pause.until.until(self.context.clock.now())).filter(|wait| !wait.is_zero());
        wait.map_or(Ok(BulkTurn(permit)), Err)
    }

    /// Records that Webex answered a call of a bulk command, such as an import, with 429, and asked to wait
    /// this long. The pace falls, because these calls and refreshes share it. The breaker does not count the
    /// answer.
    pub fn slow_down_after_bulk_call(&self, wait: Duration) {
        self.pace_answered(PaceEvidence::Limited(Some(wait)), false);
    }

    /// Refreshes the grant of `busy` when its turn comes. `seen` is the event position before the caller read the grant.
    pub(super) async fn refresh_once(&self, busy: InFlightGuard, ask: RefreshOptions, seen: EventPosition) {
        let reason = if ask.bulk { StartReason::Bulk } else { StartReason::Requested };
        let person = busy.person().clone();
        let Ok(grant) = self.find_grant(&person).await else { return };
        let urgent = is_urgent(&grant, self.context.clock.now());
        let mut turn = self.start_turn(reason, urgent);
        let Some(permit) = self.wait_for_permit(&turn, &busy).await else { return };
        if self.commit_stalled() {
            log::info!(
                person = person.as_str();
                "a refresh on demand is not sent, because the store cannot be written at present"
            );
            return;
        }
        // Before waiting for a start: while the breaker is open, the probes need the starts.
        let Some((role, urgent)) = self.admit(&person, ask.force).await else { return };
        turn.urgent = urgent;
        // Before the claim, because its lease could end during the wait.
        self.wait_for_start(turn, &busy).await;
        let stops = self.context.tasks.stopping().is_cancelled();
        let changed = self.context.cache.events().changed_since(seen, &person);
        if stops || changed || self.commit_stalled() || !self.breaker().may_send(role) {
            // Meanwhile the daemon is stopping, the grant was replaced or removed, the store cannot be written, or the
            // breaker has opened.
            if role == Role::Probe {
                self.breaker().cancel_probe();
            }
            return;
        }
        match self.claim_one(busy, role).await {
            Ok(Some(taken)) => {
                self.send(taken, permit).await;
                return;
            }
            Ok(None) => {}
            Err(why) => {
                log::log!(why.log_level(), person = person.as_str(); "a refresh on demand is not sent: {why}");
                if matches!(why, StoreError::Unreadable(_)) {
                    // Readers must see that the record does not open, instead of the cached grant.
                    self.context.cache.invalidate(&person);
                }
            }
        }
        if role == Role::Probe {
            self.breaker().cancel_probe();
        }
    }
}
