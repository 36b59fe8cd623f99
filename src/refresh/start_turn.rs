//! The wait of one refresh for its call and its start. If a reader or an operator joins it meanwhile, it also waits among the
//! requested refreshes, and takes what comes first.

use crate::refresh::in_flight::InFlightGuard;
use crate::refresh::pace::CallPermit;
use crate::refresh::service::RefreshService;
use crate::refresh::start_schedule::ExpectedStart;
use crate::refresh::start_schedule::StartReason;

/// A refresh that waits for a call permit and its start.
pub(super) struct StartTurn {
    reason: StartReason,
    /// As [`is_urgent`](crate::refresh::pace::is_urgent) says.
    pub(super) urgent: bool,
    /// Counts it among the requested refreshes.
    _expected: Option<ExpectedStart>,
}

impl RefreshService {
    /// Begins to wait.
    pub(super) fn start_turn(&self, reason: StartReason, urgent: bool) -> StartTurn {
        let is_requested = reason == StartReason::Requested;
        StartTurn { reason, urgent, _expected: is_requested.then(|| self.starts.expect_requested()) }
    }

    /// A permit for the call. The refresh waits for it before its start, because a start that is not used at
    /// once would be lost.
    pub(super) async fn wait_for_permit(&self, turn: &StartTurn, busy: &InFlightGuard) -> Option<CallPermit> {
        let requested = async {
            let _expected = self.joined(turn, busy).await;
            self.pace.call_permit(StartReason::Requested, turn.urgent).await
        };
        // The semaphores are never closed.
        tokio::select! {
            biased;
            permit = self.pace.call_permit(turn.reason, turn.urgent) => permit.ok(),
            permit = requested => permit.ok(),
        }
    }

    /// Returns when the refresh may start.
    pub(super) async fn wait_for_start(&self, turn: StartTurn, busy: &InFlightGuard) {
        let requested = async {
            let _expected = self.joined(&turn, busy).await;
            self.starts.next_at_pace(StartReason::Requested, turn.urgent).await;
        };
        tokio::select! {
            biased;
            () = self.starts.next_at_pace(turn.reason, turn.urgent) => {}
            () = requested => {}
        }
    }

    /// Returns when a reader or an operator has joined a refresh that is not among the requested ones yet.
    async fn joined(&self, turn: &StartTurn, busy: &InFlightGuard) -> ExpectedStart {
        if turn.reason == StartReason::Requested {
            return std::future::pending().await;
        }
        busy.wait_until_requested().await;
        self.starts.expect_requested()
    }
}
