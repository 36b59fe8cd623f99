//! The queue of log lines on their way to stderr. No task that logs is ever blocked: a thread writes the
//! lines, and lines that find no room in the queue are dropped and counted. The last quarter of the queue is
//! reserved for warnings and errors.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TryRecvError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use log::Level;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::clock::SystemClock;

/// Maximum number of queued lines: about what a busy daemon logs within some seconds.
const LINES: usize = 4096;

/// Maximum number of queued bytes.
const BYTES: usize = 1024 * 1024;

/// Minimum time between two lines about dropped lines.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the queued lines.
const FLUSH: Duration = Duration::from_secs(1);

/// Pause between attempts to flush a full queue.
const STEP: Duration = Duration::from_millis(10);

/// The sending end of the queue.
#[derive(Clone)]
pub(super) struct LogQueue {
    to_writer: SyncSender<LogItem>,
    waiting: Arc<QueuedLines>,
}

enum LogItem {
    Line(String),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct QueuedLines {
    lines: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl LogQueue {
    /// A queue that writes to stderr. The thread has its own descriptor, so it holds no lock while it waits
    /// for a slow reader.
    pub(super) fn to_stderr() -> io::Result<Self> {
        Self::new(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (to_writer, items) = sync_channel(LINES);
        let waiting = Arc::<QueuedLines>::default();
        let seen = waiting.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&items, out, &seen))?;
        Ok(Self { to_writer, waiting })
    }

    /// Queues a whole line of this level, or drops it if there is no room.
    pub(super) fn push(&self, level: Level, line: String) {
        let bytes = line.len();
        if !self.waiting.take(level, bytes) || self.to_writer.try_send(LogItem::Line(line)).is_err() {
            self.waiting.give_back(bytes);
            self.waiting.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits, but not for long, until the queued lines are written.
    pub(super) fn finish(&self) {
        let ((done, written), end) = (sync_channel(1), Instant::now() + FLUSH);
        let left = || end.saturating_duration_since(Instant::now());
        while self.to_writer.try_send(LogItem::Flush(done.clone())).is_err() {
            if left().is_zero() {
                return;
            }
            thread::park_timeout(STEP);
        }
        let _ = written.recv_timeout(left());
    }
}

impl QueuedLines {
    /// Reserves room for a line of this many bytes; false if there is none for its level.
    fn take(&self, level: Level, bytes: usize) -> bool {
        let lines_before = self.lines.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // The channel's capacity limits the number of warnings and errors.
        let (most_lines, most_bytes) = match level {
            Level::Error | Level::Warn => (usize::MAX, BYTES),
            Level::Info | Level::Debug | Level::Trace => (LINES / 4 * 3, BYTES / 4 * 3),
        };
        lines_before < most_lines && bytes_before + bytes <= most_bytes
    }

    fn give_back(&self, bytes: usize) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether a line of any level would find room.
    fn has_room(&self) -> bool {
        self.lines.load(Ordering::Relaxed) < LINES / 4 * 3
            && self.bytes.load(Ordering::Relaxed) < BYTES / 4 * 3
    }
}

fn write_all(items: &Receiver<LogItem>, mut out: impl Write, waiting: &QueuedLines) {
    let mut told: Option<Instant> = None;
    loop {
        let item = match items.try_recv() {
            Err(TryRecvError::Empty) => {
                log_dropped(&mut out, waiting);
                items.recv().ok()
            }
            received => received.ok(),
        };
        match item {
            Some(LogItem::Line(line)) => {
                // If the reader has gone, the line is lost.
                let _ = out.write_all(line.as_bytes());
                waiting.give_back(line.len());
                let is_due = told.is_none_or(|at| at.elapsed() >= TELL_AGAIN);
                if is_due && waiting.has_room() && log_dropped(&mut out, waiting) {
                    told = Some(Instant::now());
                }
            }
            Some(LogItem::Flush(done)) => {
                let _ = done.send(());
            }
            None => return,
        }
    }
}

/// Writes how many lines were dropped since the last such line, if any were.
fn log_dropped(out: &mut impl Write, waiting: &QueuedLines) -> bool {
    let dropped = waiting.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let now = SystemClock.now();
        let line =
            format!("{now} WARN  {dropped} log lines were dropped: the log's reader did not keep up\n");
        let _ = out.write_all(line.as_bytes());
    }
    dropped > 0
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::MutexGuard;

    use super::*;

    /// A reader that is blocked while the lock is held.
    #[derive(Clone, Default)]
    struct Reader {
        stalled: Arc<Mutex<()>>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Reader {
        fn text(&self) -> String {
            String::from_utf8(self.read.lock().unwrap().clone()).unwrap()
        }

        fn stall(&self) -> MutexGuard<'_, ()> {
            self.stalled.lock().unwrap()
        }
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _reads = self.stalled.lock().unwrap();
            self.read.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(queue: &LogQueue, lines: usize, line: &str) {
        log_at(Level::Warn, queue, lines, line);
    }

    fn log_at(level: Level, queue: &LogQueue, lines: usize, line: &str) {
        (0..lines).for_each(|_| queue.push(level, line.to_owned()));
    }

    #[test]
    fn warnings_and_errors_find_room_where_other_lines_are_dropped() {
        for (low, high) in [(Level::Info, Level::Error), (Level::Trace, Level::Warn)] {
            let reader = Reader::default();
            let queue = LogQueue::new(reader.clone()).unwrap();
            let stall = reader.stall();
            log_at(low, &queue, LINES + 500, "low\n");
            log_at(high, &queue, 500, "high\n");
            let long = format!("{}\n", "x".repeat(BYTES / 10));
            log_at(low, &queue, 1, &long);
            drop(stall);
            queue.finish();
            let text = reader.text();
            let count = |wanted: &str| text.lines().filter(|line| *line == wanted).count();
            assert_eq!(count("high"), 500, "{high}");
            assert!(count("low") <= LINES * 3 / 4 + 1, "{}", count("low"));
        }
    }

    #[test]
    fn bytes_are_reserved_for_warnings_and_errors_as_well() {
        let reader = Reader::default();
        let queue = LogQueue::new(reader.clone()).unwrap();
        let stall = reader.stall();
        let long = format!("{}\n", "x".repeat(BYTES / 50));
        log_at(Level::Info, &queue, 100, &long);
        log_at(Level::Error, &queue, 10, &long.replace('x', "e"));
        drop(stall);
        queue.finish();
        assert_eq!(reader.text().lines().filter(|line| line.starts_with('e')).count(), 10);
    }

    #[test]
    fn the_number_of_dropped_lines_is_logged_once_there_is_room_again() {
        let reader = Reader::default();
        let queue = LogQueue::new(reader.clone()).unwrap();
        let stall = reader.stall();
        log_at(Level::Info, &queue, LINES + 500, "a line\n");
        drop(stall);
        queue.finish();
        let text = reader.text();
        let told = text.lines().position(|line| line.contains("log lines were dropped"));
        assert!(told.is_some_and(|at| at < 10), "{told:?} of {}", text.lines().count());
        let again = text.lines().filter(|line| line.contains("log lines were dropped")).count();
        assert_eq!(again, 1, "at most once a second, and once at the end");
    }

    #[test]
    fn every_line_is_written_in_order_while_there_is_a_reader() {
        let reader = Reader::default();
        let queue = LogQueue::new(reader.clone()).unwrap();
        for number in 0..1000 {
            log(&queue, 1, &format!("{number}\n"));
        }
        queue.finish();
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(reader.text(), expected);
    }

    #[test]
    fn a_stalled_reader_blocks_no_writer_and_later_gets_the_number_of_dropped_lines() {
        let reader = Reader::default();
        let queue = LogQueue::new(reader.clone()).unwrap();
        let stall = reader.stall();
        log(&queue, LINES + 500, "a line\n");
        let missed = queue.waiting.dropped.load(Ordering::Relaxed);
        assert!((499..=500).contains(&missed), "{missed}");
        // Flushing does not wait for it, either.
        queue.finish();
        drop(stall);
        queue.finish();
        log(&queue, 1, "the last\n");
        queue.finish();
        let text = reader.text();
        let told: Vec<&str> = text.lines().filter(|line| line.contains("log lines were dropped")).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(&format!(" WARN  {missed} log lines were dropped")), "{told:?}");
        assert_eq!(text.lines().filter(|line| *line == "a line").count() as u64 + missed, LINES as u64 + 500);
        assert_eq!(text.lines().last(), Some("the last"));
        assert_eq!(queue.waiting.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let reader = Reader::default();
        let queue = LogQueue::new(reader.clone()).unwrap();
        let _stall = reader.stall();
        log(&queue, 100, &"x".repeat(BYTES / 10));
        assert!(queue.waiting.bytes.load(Ordering::Relaxed) <= BYTES);
        assert!(queue.waiting.dropped.load(Ordering::Relaxed) >= 89);
    }
}
