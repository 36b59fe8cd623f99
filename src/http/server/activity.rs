//! Tracks whether a connection has a request in flight, and since when it has been idle, for the connection's
//! watchdog.
//!
//! A request is in flight while its handler works. Sending a complete response does not count, so a client
//! that does not read its response is idle: it cannot use flow control to hold a connection open. In a
//! streaming response, each chunk that the client reads counts as activity, like a request.
//!
//! A request that is still waiting for an unauthenticated client's body does not count as in flight, so its
//! connection can be evicted.

use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

/// The activity of one connection, shared with its requests.
#[derive(Debug)]
pub(in crate::http) struct Activity {
    state: Mutex<ActivityState>,
    dismissal: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
struct ActivityState {
    in_flight: usize,
    /// How many of these wait for an unauthenticated client's body.
    waiting: usize,
    asked: bool,
    /// Bytes since a request was last in flight, or since the client last read a chunk of a streaming
    /// response.
    sent: usize,
    quiet_since: Instant,
}

/// Marks a request as in flight until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct RequestGuard(Arc<Activity>);

/// Marks a request as waiting for the body of a client without a key or session, until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct BodyWaitGuard(Arc<Activity>);

impl ActivityState {
    fn is_busy(&self) -> bool {
        self.in_flight > self.waiting
    }
}

impl Activity {
    /// The activity of a connection that was accepted now.
    pub(in crate::http) fn new() -> Arc<Self> {
        let state =
            ActivityState { in_flight: 0, waiting: 0, asked: false, sent: 0, quiet_since: Instant::now() };
        Arc::new(Self { state: Mutex::new(state), dismissal: CancellationToken::new() })
    }

    /// Restarts the idle time, because the TLS handshake has just ended and a request can be sent only now.
    pub(in crate::http) fn opened(&self) {
        self.change(|state| state.quiet_since = Instant::now());
    }

    /// Records a new request. It ends when the guard is dropped, also by a panic or a cancelled stream.
    pub(in crate::http) fn begin(self: &Arc<Self>) -> RequestGuard {
        self.change(|state| {
            state.in_flight += 1;
            state.asked = true;
            state.sent = 0;
        });
        RequestGuard(Arc::clone(self))
    }

    /// Marks a request in flight as waiting for an unauthenticated client's body, until the guard is dropped.
    pub(in crate::http) fn wait(self: &Arc<Self>) -> BodyWaitGuard {
        self.change(|state| {
            state.waiting += 1;
            state.quiet_since = Instant::now();
        });
        BodyWaitGuard(Arc::clone(self))
    }

    /// Records that the client read a chunk of a streaming response, and resets the byte count. A client also
    /// acknowledges the chunks that it reads, and over hours these bytes add up.
    pub(in crate::http) fn touch(&self) {
        self.change(|state| {
            state.sent = 0;
            state.quiet_since = Instant::now();
        });
    }

    /// Whether a request has ever arrived.
    pub(in crate::http) fn had_request(&self) -> bool {
        self.state().asked
    }

    /// Records bytes received from the client. Returns how many it has sent while nothing was in flight,
    /// since its last request or the last chunk that it read.
    pub(in crate::http) fn record_bytes(&self, bytes: usize) -> usize {
        let mut state = self.state.lock();
        if !state.is_busy() {
            state.sent = state.sent.saturating_add(bytes);
        }
        state.sent
    }

    /// Asks the connection to close, to make room for another.
    pub(in crate::http) fn evict(&self) {
        self.dismissal.cancel();
    }

    #[cfg(test)]
    pub(in crate::http) fn is_evicted(&self) -> bool {
        self.dismissal.is_cancelled()
    }

    /// Returns when the connection is evicted and nothing is in flight.
    pub(in crate::http) async fn evicted(&self) {
        self.dismissal.cancelled().await;
        self.until(Duration::from_secs(1), |state| state.quiet_since).await;
    }

    /// Since when the connection has been idle. `None` if it cannot be evicted, because something is in
    /// flight or because it already is being evicted.
    pub(in crate::http) fn evictable_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.is_busy() && !self.dismissal.is_cancelled()).then_some(state.quiet_since)
    }

    /// Returns when nothing has been in flight for `idle`; before the first request, for `first`.
    pub(in crate::http) async fn idle(&self, first: Duration, idle: Duration) {
        self.until(idle, |state| state.quiet_since + if state.asked { idle } else { first }).await;
    }

    /// Returns when nothing has been in flight for `grace`, counted from this call at the earliest.
    pub(in crate::http) async fn idle_after(&self, grace: Duration) {
        let from = Instant::now();
        self.until(grace, |state| state.quiet_since.max(from) + grace).await;
    }

    /// Returns when nothing is in flight and `end` has passed. It is polled in the connection's own task, so
    /// `end` is checked again after each event there. `again` covers events elsewhere: an HTTP/2 handler that
    /// is cancelled in its own task does not wake this one.
    async fn until(&self, again: Duration, end: impl Fn(ActivityState) -> Instant) {
        let end = |state: ActivityState| if state.is_busy() { Instant::now() + again } else { end(state) };
        let mut timer = pin!(sleep_until(end(self.state())));
        poll_fn(|context| self.poll_until(context, timer.as_mut(), &end)).await;
    }

    fn poll_until(
        &self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        end: &impl Fn(ActivityState) -> Instant,
    ) -> Poll<()> {
        loop {
            let state = self.state();
            let end = end(state);
            // Resetting the timer costs more than letting it fire early, so it is only moved closer here.
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

    fn state(&self) -> ActivityState {
        *self.state.lock()
    }

    fn change(&self, change: impl FnOnce(&mut ActivityState)) {
        change(&mut self.state.lock());
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.in_flight = state.in_flight.saturating_sub(1);
            state.quiet_since = Instant::now();
        });
    }
}

impl Drop for BodyWaitGuard {
    fn drop(&mut self) {
        self.0.change(|state| state.waiting = state.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_an_unauthenticated_body_is_evictable_and_metered() {
        let activity = Activity::new();
        let in_flight = activity.begin();
        assert_eq!((activity.evictable_since(), activity.record_bytes(7)), (None, 0));
        let waiting = activity.wait();
        assert_eq!((activity.evictable_since(), activity.record_bytes(7)), (Some(Instant::now()), 7));
        let working = activity.begin();
        assert_eq!((activity.evictable_since(), activity.record_bytes(7)), (None, 0));
        drop(working);
        assert_eq!(activity.evictable_since(), Some(Instant::now()));
        drop(waiting);
        assert_eq!(activity.evictable_since(), None);
        drop(in_flight);
        assert_eq!(activity.evictable_since(), Some(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn guards_may_be_dropped_in_any_order() {
        let activity = Activity::new();
        let (in_flight, waiting) = (activity.begin(), activity.wait());
        drop(in_flight);
        drop(waiting);
        assert!(activity.evictable_since().is_some());
        let _in_flight = activity.begin();
        assert!(activity.evictable_since().is_none());
    }

    #[test]
    fn bytes_are_counted_from_one_chunk_of_a_stream_to_the_next() {
        let activity = Activity::new();
        assert_eq!((activity.record_bytes(5), activity.record_bytes(5)), (5, 10));
        activity.touch();
        assert_eq!(activity.record_bytes(5), 5);
    }
}
