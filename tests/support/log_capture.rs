//! Captures the log of this process.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::Once;

use log::Level;
use webex_tokend::cli::logging::message_and_pairs;

static PROCESS_LOGS: Mutex<String> = Mutex::new(String::new());

thread_local! {
    /// The log of a thread that captures its own; it is not in [`PROCESS_LOGS`], which grows without limit.
    static THREAD_LOGS: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

struct LogCapture;

impl log::Log for LogCapture {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("webex_tokend")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = message_and_pairs(record);
        THREAD_LOGS.with_borrow_mut(|lines| match lines {
            Some(lines) => lines.push((record.level(), text)),
            None => {
                let mut logs = PROCESS_LOGS.lock().unwrap();
                logs.push_str(&text);
                logs.push('\n');
            }
        });
    }

    fn flush(&self) {}
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LogCapture).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Everything that this process has logged since the first call, at every level, except threads that capture their own
/// log.
pub(crate) fn process_logs() -> String {
    install();
    PROCESS_LOGS.lock().unwrap().clone()
}

/// Captures what this thread logs from now on: the log of a whole test if its runtime has no other threads.
pub(crate) fn capture_thread_logs() {
    install();
    THREAD_LOGS.set(Some(Vec::new()));
}

/// What this thread has logged since the last call.
pub(crate) fn captured_logs() -> Vec<(Level, String)> {
    THREAD_LOGS.replace(Some(Vec::new())).unwrap()
}
