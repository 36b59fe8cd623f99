//! The only place that spawns tasks.

use std::future::Future;

use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Runs `work` beside the caller.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns; every caller ends what it started")]
pub(crate) fn spawn(work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(work)
}

/// Runs the streams of one HTTP/2 connection, each until it is done or the connection is gone.
/// The connection is gone when the sender of the watched value is dropped.
#[derive(Clone)]
pub(crate) struct StreamsOf(pub(crate) watch::Receiver<()>);

impl<F> hyper::rt::Executor<F> for StreamsOf
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut gone = self.0.clone();
        spawn(async move {
            tokio::select! {
                _ = stream => {}
                _ = gone.changed() => {}
            }
        });
    }
}
