//! The wait of one refresh for its call and its start. If a reader or an operator joins it meanwhile, it goes to the queue of
//! requested refreshes.

use crate::refresh::in_flight::InFlightGuard;
use crate::refresh::pace::CallPlace;
use crate::refresh::service::RefreshService;
use crate::refresh::start_schedule::ExpectedStart;
use crate::refresh::start_schedule::StartReason;

/// A refresh that waits for its call and its start.
pub(super) struct StartTurn {
    reason: StartReason,
    urgent: bool,
    /// Counts it among the requested refreshes.
    expected: Option<ExpectedStart>,
}

impl RefreshService {
    /// Begins to wait; `urgent` as [`is_urgent`](crate::refresh::pace::is_urgent) says.
    pub(super) fn start_turn(&self, reason: StartReason, urgent: bool) -> StartTurn {
        let mut turn = StartTurn { reason, urgent, expected: None };
        if reason == StartReason::Requested {
            self.prefer(&mut turn);
        }
        turn
    }

    fn prefer(&self, turn: &mut StartTurn) {
        turn.reason = StartReason::Requested;
        turn.expected = Some(self.starts.expect_requested());
    }

    /// A place for the call. The refresh waits for it before its start, because a start that is not used at once would be lost.
    pub(super) async fn wait_for_place(
        &self,
        turn: &mut StartTurn,
        busy: &InFlightGuard,
    ) -> Option<CallPlace> {
        // The semaphores are never closed.
        if turn.reason != StartReason::Requested {
            tokio::select! {
                biased;
                () = busy.requested() => self.prefer(turn),
                place = self.pace.call_place(turn.reason, turn.urgent) => return place.ok(),
            }
        }
        self.pace.call_place(StartReason::Requested, turn.urgent).await.ok()
    }

    /// Returns when the refresh may start.
    pub(super) async fn wait_for_start(&self, mut turn: StartTurn, busy: &InFlightGuard) {
        if turn.reason != StartReason::Requested {
            tokio::select! {
                biased;
                () = busy.requested() => self.prefer(&mut turn),
                () = self.starts.next_at_pace(turn.reason, turn.urgent) => return,
            }
        }
        self.starts.next_at_pace(StartReason::Requested, turn.urgent).await;
    }
}
