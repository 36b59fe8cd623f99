//! Which reading connection a read goes to: long ones wait for each other, so that a short one never waits for many.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::store::sqlite::threads::Work;

/// How much a read looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadSpan {
    /// A row, or a handful.
    Short,
    /// A part of the list, or a count over all of it.
    Long,
}

/// The readers' lines. The first takes every long read; a short one goes where the fewest wait.
#[derive(Default)]
pub(super) struct Readers(Vec<ReaderLine>);

/// What waits for one reader, or is read by it.
pub(super) struct ReaderLine {
    queue: mpsc::Sender<Box<dyn Work>>,
    length: Arc<AtomicUsize>,
}

/// A place in a line; left when it is dropped, with the work that it is for.
pub(super) struct ReaderPlace(Arc<AtomicUsize>);

impl Readers {
    /// One more reader; what it has to do comes out of this.
    pub(super) fn add(&mut self, most: usize) -> mpsc::Receiver<Box<dyn Work>> {
        let (queue, work) = mpsc::channel(most);
        self.0.push(ReaderLine { queue, length: Arc::default() });
        work
    }

    /// Where a read of this span goes.
    pub(super) fn line(&self, span: ReadSpan) -> Option<&ReaderLine> {
        match span {
            ReadSpan::Long => self.0.first(),
            // Of lines of one length the last, which no long read comes to.
            ReadSpan::Short => self.0.iter().rev().min_by_key(|line| line.length.load(Ordering::Relaxed)),
        }
    }
}

impl ReaderLine {
    pub(super) fn join(&self) -> ReaderPlace {
        self.length.fetch_add(1, Ordering::Relaxed);
        ReaderPlace(self.length.clone())
    }

    pub(super) fn queue(&self) -> &mpsc::Sender<Box<dyn Work>> {
        &self.queue
    }
}

impl Drop for ReaderPlace {
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
        let short: Vec<_> = (0..4).map(|_| readers.line(ReadSpan::Short).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (2, 2));
        drop(short);
        let _long: Vec<_> = (0..9).map(|_| readers.line(ReadSpan::Long).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (9, 0));
        let _short: Vec<_> = (0..5).map(|_| readers.line(ReadSpan::Short).unwrap().join()).collect();
        assert_eq!((length(0), length(1)), (9, 5));
    }
}
