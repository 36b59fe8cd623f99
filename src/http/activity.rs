//! Whether a connection has a request in flight, and since when it has none: what its watchdog goes by.
//!
//! A request is in flight while its handler works. Whole answers (see `flow`) wait for nobody, so a peer that does not
//! take its answer counts as idle: flow control cannot be used to hold a connection open. Each piece of a flow that is
//! taken is a sign of life, like a request.
//!
//! A request that only waits for a body which anybody may send is not in flight: nobody has shown yet that they may
//! take our time.

use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// Shared by a connection and its requests.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    dismissal: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct State {
    in_flight: usize,
    /// Of these, the ones that wait for a stranger's body.
    waiting: usize,
    asked: bool,
    /// Bytes since the last request was in flight, or the last piece of a flow was taken.
    sent: usize,
    quiet_since: Instant,
}

/// Lives as long as a handler works.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

/// Lives as long as a handler waits for the body of somebody who has shown no key and no session.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Activity>);

impl State {
    fn is_busy(&self) -> bool {
        self.in_flight > self.waiting
    }
}

impl Activity {
    /// Of a connection that was accepted now.
    pub(super) fn new() -> Arc<Self> {
        let state = State { in_flight: 0, waiting: 0, asked: false, sent: 0, quiet_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), dismissal: CancellationToken::new() })
    }

    /// The connection is ready for its first request only now: it had to agree on TLS.
    pub(super) fn opened(&self) {
        self.change(|state| state.quiet_since = Instant::now());
    }

    /// A request has arrived; it ends when the guard is dropped, also by a panic or a cancelled stream.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.change(|state| {
            state.in_flight += 1;
            state.asked = true;
            state.sent = 0;
        });
        InFlight(Arc::clone(self))
    }

    /// A request that is in flight waits for a stranger's body, until the guard is dropped.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.change(|state| {
            state.waiting += 1;
            state.quiet_since = Instant::now();
        });
        Waiting(Arc::clone(self))
    }

    /// A piece of a flow was taken. Whoever takes it acknowledges it, too: over hours that adds up.
    pub(super) fn touch(&self) {
        self.change(|state| {
            state.sent = 0;
            state.quiet_since = Instant::now();
        });
    }

    /// Whether a request has ever arrived.
    pub(super) fn asked(&self) -> bool {
        self.state().asked
    }

    /// The peer has sent so many bytes. Returns how many it has sent while nothing was in flight, since it last asked
    /// or took a piece of a flow.
    pub(super) fn sent(&self, bytes: usize) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_busy() {
            state.sent = state.sent.saturating_add(bytes);
        }
        state.sent
    }

    /// Tells the connection to make room for another.
    pub(super) fn dismiss(&self) {
        self.dismissal.cancel();
    }

    #[cfg(test)]
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissal.is_cancelled()
    }

    /// Returns when the connection was told to make room and nothing is in flight.
    pub(super) async fn dismissed(&self) {
        self.dismissal.cancelled().await;
        self.until(Duration::from_secs(1), |state| state.quiet_since).await;
    }

    /// Since when the connection has been quiet, if it could make room: nothing is in flight, and it was not told so
    /// before.
    pub(super) fn may_go(&self) -> Option<Instant> {
        let state = self.state();
        (!state.is_busy() && !self.dismissal.is_cancelled()).then_some(state.quiet_since)
    }

    /// Returns when nothing has been in flight for `idle`; before the first request, for `first`.
    pub(super) async fn quiet(&self, first: Duration, idle: Duration) {
        self.until(idle, |state| state.quiet_since + if state.asked { idle } else { first }).await;
    }

    /// Returns when nothing has been in flight for `grace`, counted from this call at the earliest.
    pub(super) async fn still_quiet(&self, grace: Duration) {
        let from = Instant::now();
        self.until(grace, |state| state.quiet_since.max(from) + grace).await;
    }

    /// Returns when nothing is in flight and `end` has passed. Polled in the connection's own task, so the end
    /// is looked at again after each thing that happens there; `again` is only for what happens elsewhere
    /// (an HTTP/2 handler that is cancelled in its own task wakes nobody here).
    async fn until(&self, again: Duration, end: impl Fn(State) -> Instant) {
        let end = |state: State| if state.is_busy() { Instant::now() + again } else { end(state) };
        let mut timer = pin!(sleep_until(end(self.state())));
        poll_fn(|context| self.poll_until(context, timer.as_mut(), &end)).await;
    }

    fn poll_until(
        &self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        end: &impl Fn(State) -> Instant,
    ) -> Poll<()> {
        loop {
            let state = self.state();
            let end = end(state);
            // Setting the timer costs more than letting it fire early, so it is only ever pulled closer here.
            if end < timer.deadline() {
                timer.as_mut().reset(end);
            }
            ready!(timer.as_mut().poll(context));
            if !state.is_busy() && end <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.in_flight = state.in_flight.saturating_sub(1);
            state.quiet_since = Instant::now();
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.change(|state| state.waiting = state.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_body_of_a_stranger_may_go_and_is_metered() {
        let activity = Activity::new();
        let in_flight = activity.begin();
        assert_eq!((activity.may_go(), activity.sent(7)), (None, 0));
        let waiting = activity.wait();
        assert_eq!((activity.may_go(), activity.sent(7)), (Some(Instant::now()), 7));
        let working = activity.begin();
        assert_eq!((activity.may_go(), activity.sent(7)), (None, 0));
        drop(working);
        assert_eq!(activity.may_go(), Some(Instant::now()));
        drop(waiting);
        assert_eq!(activity.may_go(), None);
        drop(in_flight);
        assert_eq!(activity.may_go(), Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn guards_may_be_dropped_in_any_order() {
        let activity = Activity::new();
        let (in_flight, waiting) = (activity.begin(), activity.wait());
        drop(in_flight);
        drop(waiting);
        assert!(activity.may_go().is_some());
        let _in_flight = activity.begin();
        assert!(activity.may_go().is_none());
    }

    #[test]
    fn bytes_count_from_one_piece_of_a_flow_to_the_next() {
        let activity = Activity::new();
        assert_eq!((activity.sent(5), activity.sent(5)), (5, 10));
        activity.touch();
        assert_eq!(activity.sent(5), 5);
    }
}
