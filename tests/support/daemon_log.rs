//! The log lines of a daemon process.

use std::io::BufRead;
use std::io::BufReader;
use std::process::ChildStderr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::time::HANG_TIMEOUT;

/// The log of one run. It ends with the process.
#[derive(Clone)]
pub(super) struct DaemonLog {
    lines: Arc<Mutex<Vec<String>>>,
    /// While this is set, nothing is read.
    stalled: Arc<AtomicBool>,
    state: watch::Receiver<ReaderState>,
}

fn wait_while(stalled: &AtomicBool) {
    while stalled.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Reading continues when this is dropped.
pub(crate) struct StallGuard(Arc<AtomicBool>);

impl Drop for StallGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Default)]
struct ReaderState {
    ended: bool,
}

impl DaemonLog {
    /// Reads `stderr` in its own thread, so that the daemon never waits for a test.
    pub(super) fn new(stderr: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sender, state) = watch::channel(ReaderState::default());
        let (written, stalled) = (lines.clone(), Arc::<AtomicBool>::default());
        let stalls = stalled.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                wait_while(&stalls);
                written.lock().unwrap().push(line);
                sender.send_replace(ReaderState { ended: false });
            }
            sender.send_replace(ReaderState { ended: true });
        });
        Self { lines, stalled, state }
    }

    /// Stops reading the daemon's log until the result is dropped.
    pub(super) fn stall(&self) -> StallGuard {
        self.stalled.store(true, Ordering::Relaxed);
        StallGuard(self.stalled.clone())
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for the first line with `text`; `None` if the process ends without it.
    pub(super) async fn wait_for_line(&self, text: &str) -> Option<String> {
        let found = timeout(HANG_TIMEOUT, self.find_line(text)).await;
        found.unwrap_or_else(|_| panic!("no line with {text:?} within {HANG_TIMEOUT:?}"))
    }

    async fn find_line(&self, text: &str) -> Option<String> {
        let mut state = self.state.clone();
        loop {
            // Before searching, so that lines that arrive during the search count as a change.
            let ended = state.borrow_and_update().ended;
            let found = self.lines().into_iter().find(|line| line.contains(text));
            if found.is_some() || ended || state.changed().await.is_err() {
                return found;
            }
        }
    }

    /// Waits for the end of the process.
    pub(super) async fn wait_for_end(&self) {
        let mut state = self.state.clone();
        // An error means that the reading thread has ended, which it does after the process.
        let ended = timeout(HANG_TIMEOUT * 2, state.wait_for(|state| state.ended)).await;
        assert!(ended.is_ok(), "the daemon does not end");
    }
}
