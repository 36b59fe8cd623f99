//! Whether a connection has a request in flight, and since when it has none: what its watchdog goes by.
//!
//! A request is in flight while its handler works. Answers are whole (see `serve::Body`), so a peer that does
//! not take its answer counts as idle: flow control cannot be used to hold a connection open.

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

/// Shared by a connection and its requests.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    in_flight: usize,
    asked: bool,
    quiet_since: Instant,
}

/// Lives as long as a handler works.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
    /// Of a connection that is ready for its first request now.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { in_flight: 0, asked: false, quiet_since: Instant::now() })))
    }

    /// A request has arrived; it ends when the guard is dropped, also by a panic or a cancelled stream.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.change(|state| {
            state.in_flight += 1;
            state.asked = true;
        });
        InFlight(Arc::clone(self))
    }

    /// Whether a request has ever arrived.
    pub(super) fn asked(&self) -> bool {
        self.state().asked
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
        let end = |state: State| if state.in_flight == 0 { end(state) } else { Instant::now() + again };
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
            if state.in_flight == 0 && end <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end);
        }
    }

    fn state(&self) -> State {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
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
