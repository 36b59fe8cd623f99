//! Distributes reads to the reading connections. Long reads all use one connection, so that a short read never waits for many
//! of them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::store::sqlite::job::WorkerJob;

/// How much a read looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadSpan {
    /// One row, or a few.
    Short,
    /// A page of the list, or a count of all grants.
    Long,
}

/// The queues of the readers. The first one takes all long reads. A short read goes to the shortest queue.
#[derive(Default)]
pub(super) struct Readers(Vec<ReaderQueue>);

/// The queue of one reader, with the number of reads that wait or are running.
pub(super) struct ReaderQueue {
    queue: mpsc::Sender<Box<dyn WorkerJob>>,
    length: Arc<AtomicUsize>,
}

/// A place in a queue. Dropping it leaves the queue.
pub(super) struct ReaderSlot(Arc<AtomicUsize>);

impl Readers {
    /// Adds a reader and returns the receiver of its work.
    pub(super) fn add(&mut self, most: usize) -> mpsc::Receiver<Box<dyn WorkerJob>> {
        let (queue, work) = mpsc::channel(most);
        self.0.push(ReaderQueue { queue, length: Arc::default() });
        work
    }

    /// The queue for a read of this span.
    pub(super) fn queue_for(&self, span: ReadSpan) -> Option<&ReaderQueue> {
        match span {
            ReadSpan::Long => self.0.first(),
            // Of several shortest queues the last one, which takes no long reads.
            ReadSpan::Short => self.0.iter().rev().min_by_key(|line| line.length.load(Ordering::Relaxed)),
        }
    }
}

impl ReaderQueue {
    pub(super) fn join(&self) -> ReaderSlot {
        self.length.fetch_add(1, Ordering::Relaxed);
        ReaderSlot(self.length.clone())
    }

    pub(super) fn queue(&self) -> &mpsc::Sender<Box<dyn WorkerJob>> {
        &self.queue
    }
}

impl Drop for ReaderSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_never_waits_for_long_ones_and_short_ones_use_every_reader() {
        let mut readers = Readers::default();
        let _work = (readers.add(8), readers.add(8));
        let length = |n: usize| readers.0[n].length.load(Ordering::Relaxed);
        let short: Vec<_> = (0..4).map(|_| readers.queue_for(ReadSpan::Short).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (2, 2));
        drop(short);
        let _long: Vec<_> = (0..9).map(|_| readers.queue_for(ReadSpan::Long).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (9, 0));
        let _short: Vec<_> = (0..5).map(|_| readers.queue_for(ReadSpan::Short).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (9, 5));
    }
}
