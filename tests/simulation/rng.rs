//! Random numbers from a seed: the same seed yields the same numbers on every machine.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#[derive(Debug)]
pub(super) struct SimRng(u64);

impl SimRng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A separate generator, whose numbers do not depend on how often this one is used.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// One of `0..end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    /// True with a probability of `of` in a thousand.
    pub(super) fn per_mille(&mut self, of: u64) -> bool {
        self.below(1000) < of
    }

    pub(super) fn coin(&mut self) -> bool {
        self.per_mille(500)
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    /// A duration between the two, to the millisecond.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_millis()).unwrap();
        least + Duration::from_millis(self.below(span + 1))
    }

    /// Short durations often, long ones rarely: each power of two between the two is equally likely.
    pub(super) fn log_uniform(&mut self, least: Duration, most: Duration) -> Duration {
        let mut top = most;
        while top > least * 2 && self.coin() {
            top /= 2;
        }
        self.between(least, top.max(least))
    }
}
