//! Log lines on their way to stderr. Who logs never waits: a thread writes, and what it cannot write in time is dropped
//! and counted.

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

use tokio::time::Instant;

use crate::clock::Clock;
use crate::clock::SystemClock;

/// Lines that may wait: what a busy daemon logs within some seconds.
const LINES: usize = 4096;

/// Bytes that may wait.
const BYTES: usize = 1024 * 1024;

/// How long the end of the process waits for what is queued.
const FLUSH: Duration = Duration::from_secs(1);

/// While there is no room, the end of the process looks again after this.
const STEP: Duration = Duration::from_millis(10);

/// The queue's entry. Each write is one whole line.
#[derive(Clone)]
pub(super) struct LogQueue {
    to_writer: SyncSender<Item>,
    waiting: Arc<Waiting>,
}

enum Item {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl LogQueue {
    /// A queue whose lines go to stderr. The thread has a descriptor of its own, so that it holds no lock while it waits
    /// for a slow reader.
    pub(super) fn to_stderr() -> io::Result<Self> {
        Self::new(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn new(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (to_writer, items) = sync_channel(LINES);
        let waiting = Arc::<Waiting>::default();
        let seen = waiting.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&items, out, &seen))?;
        Ok(Self { to_writer, waiting })
    }

    /// Waits until what is queued is written, but not for long.
    pub(super) fn finish(&self) {
        let ((done, written), end) = (sync_channel(1), Instant::now() + FLUSH);
        let left = || end.saturating_duration_since(Instant::now());
        while self.to_writer.try_send(Item::Flush(done.clone())).is_err() {
            if left().is_zero() {
                return;
            }
            thread::park_timeout(STEP);
        }
        let _ = written.recv_timeout(left());
    }
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before = self.waiting.bytes.fetch_add(line.len(), Ordering::Relaxed);
        let fits = before + line.len() <= BYTES;
        if !fits || self.to_writer.try_send(Item::Line(line.to_vec())).is_err() {
            self.waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            self.waiting.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(items: &Receiver<Item>, mut out: impl Write, waiting: &Waiting) {
    loop {
        let item = match items.try_recv() {
            Err(TryRecvError::Empty) => {
                tell_dropped(&mut out, waiting);
                items.recv().ok()
            }
            received => received.ok(),
        };
        match item {
            Some(Item::Line(line)) => {
                // A reader that has left misses it.
                let _ = out.write_all(&line);
                waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
            }
            Some(Item::Flush(done)) => {
                let _ = done.send(());
            }
            None => return,
        }
    }
}

/// Where they would stand: behind the last line that had room.
fn tell_dropped(out: &mut impl Write, waiting: &Waiting) {
    let dropped = waiting.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let now = SystemClock.now();
        let line =
            format!("{now} WARN  {dropped} log lines were dropped: the log's reader did not keep up\n");
        let _ = out.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::MutexGuard;

    use super::*;

    /// Writes nothing while it is held.
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

    fn log(queue: &mut LogQueue, lines: usize, line: &str) {
        (0..lines).for_each(|_| queue.write_all(line.as_bytes()).unwrap());
    }

    #[test]
    fn every_line_is_written_and_in_order_while_there_is_a_reader() {
        let reader = Reader::default();
        let mut queue = LogQueue::new(reader.clone()).unwrap();
        for number in 0..1000 {
            log(&mut queue, 1, &format!("{number}\n"));
        }
        queue.finish();
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(reader.text(), expected);
    }

    #[test]
    fn a_stalled_reader_stops_no_writer_and_hears_later_how_many_lines_it_missed() {
        let reader = Reader::default();
        let mut queue = LogQueue::new(reader.clone()).unwrap();
        let stall = reader.stall();
        log(&mut queue, LINES + 500, "a line\n");
        let missed = queue.waiting.dropped.load(Ordering::Relaxed);
        assert!((499..=500).contains(&missed), "{missed}");
        // Nor is it waited for.
        queue.finish();
        drop(stall);
        queue.finish();
        log(&mut queue, 1, "the last\n");
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
        let mut queue = LogQueue::new(reader.clone()).unwrap();
        let _stall = reader.stall();
        log(&mut queue, 100, &"x".repeat(BYTES / 10));
        assert!(queue.waiting.bytes.load(Ordering::Relaxed) <= BYTES);
        assert!(queue.waiting.dropped.load(Ordering::Relaxed) >= 89);
    }
}
