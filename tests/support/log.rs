//! The lines that a daemon writes, as they come.

use std::io::BufRead;
use std::io::BufReader;
use std::process::ChildStderr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::watch;
use tokio::time::timeout;

use super::HANGS;

/// The log of one run. Its end is the end of the process.
#[derive(Clone)]
pub(super) struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    news: watch::Receiver<News>,
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
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
                tell.send_replace(News { ended: false });
            }
            tell.send_replace(News { ended: true });
        });
        Self { lines, news }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// The first line that holds `text`; `None` if the process ended without it.
    pub(super) async fn line(&self, text: &str) -> Option<String> {
        let found = timeout(HANGS, self.look_for(text)).await;
        found.unwrap_or_else(|_| panic!("no line with {text:?} within {HANGS:?}"))
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
        let ended = timeout(HANGS * 2, news.wait_for(|news| news.ended)).await;
        assert!(ended.is_ok(), "the daemon does not end");
    }
}
