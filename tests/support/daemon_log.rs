//! The lines that a daemon writes, as they come.

use std::io::BufRead;
use std::io::BufReader;
use std::process::ChildStderr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::support::time::HANG_TIMEOUT;
use tokio::sync::watch;
use tokio::time::timeout;

/// The log of one run. Its end is the end of the process.
#[derive(Clone)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Nothing more is read while this is set.
    stalled: Arc<AtomicBool>,
    news: watch::Receiver<News>,
}

fn wait_while(stalled: &AtomicBool) {
    while stalled.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The log is read again when this is dropped.
pub(crate) struct Stalled(Arc<AtomicBool>);

impl Drop for Stalled {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Default)]
struct News {
    ended: bool,
}

impl Log {
    /// Reads `stderr` in a thread of its own, so that the daemon never waits for a test.
    pub(super) fn of(stderr: ChildStderr) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell, news) = watch::channel(News::default());
        let (kept, stalled) = (lines.clone(), Arc::<AtomicBool>::default());
        let stalls = stalled.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                wait_while(&stalls);
                kept.lock().unwrap().push(line);
                tell.send_replace(News { ended: false });
            }
            tell.send_replace(News { ended: true });
        });
        Self { lines, stalled, news }
    }

    /// From now on the daemon's log is read no more, until what this answers is dropped.
    pub(super) fn stall(&self) -> Stalled {
        self.stalled.store(true, Ordering::Relaxed);
        Stalled(self.stalled.clone())
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that holds `text`; `None` if the process ended without it.
    pub(super) async fn line(&self, text: &str) -> Option<String> {
        let found = timeout(HANG_TIMEOUT, self.look_for(text)).await;
        found.unwrap_or_else(|_| panic!("no line with {text:?} within {HANG_TIMEOUT:?}"))
    }

    async fn look_for(&self, text: &str) -> Option<String> {
        let mut news = self.news.clone();
        loop {
            // Before looking, so that what comes while looking is news.
            let ended = news.borrow_and_update().ended;
            let found = self.lines().into_iter().find(|line| line.contains(text));
            if found.is_some() || ended || news.changed().await.is_err() {
                return found;
            }
        }
    }

    /// Waits for the end of the process.
    pub(super) async fn end(&self) {
        let mut news = self.news.clone();
        // An error means that the reading thread is gone, which it is after the end.
        let ended = timeout(HANG_TIMEOUT * 2, news.wait_for(|news| news.ended)).await;
        assert!(ended.is_ok(), "the daemon does not end");
    }
}
