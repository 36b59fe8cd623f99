//! What this process logs.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::Once;

use log::Level;
use webex_tokend::cli::logging::message_and_pairs;

static HEARD: Mutex<String> = Mutex::new(String::new());

thread_local! {
    /// What a thread that listens to itself has logged; it is not in [`HEARD`], which knows no end.
    static HERE: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("webex_tokend")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = message_and_pairs(record);
        HERE.with_borrow_mut(|here| match here {
            Some(here) => here.push((record.level(), text)),
            None => {
                let mut heard = HEARD.lock().unwrap();
                heard.push_str(&text);
                heard.push('\n');
            }
        });
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Ear).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// All that this process has logged since the first call, at every level, but for threads that listen to themselves.
pub(crate) fn heard() -> String {
    listen();
    HEARD.lock().unwrap().clone()
}

/// From now on, hears what this thread logs: all of a test whose runtime has no other threads.
pub(crate) fn listen_here() {
    listen();
    HERE.set(Some(Vec::new()));
}

/// What this thread has logged since it was last asked.
pub(crate) fn heard_here() -> Vec<(Level, String)> {
    HERE.replace(Some(Vec::new())).unwrap()
}
