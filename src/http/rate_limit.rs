//! How often each of many may do something: a burst, then one more for each step of time (a leaky bucket as a meter,
//! known as GCRA). One point in time is kept for each name, and the table is bounded.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Names remembered, in each of two generations. Under 200 bytes each.
pub(super) const NAMES: usize = 4096;

/// For each name, when all that it did is forgotten. Two generations: when the young one is full it becomes the old
/// one, and what was in the old one is forgotten unless it came again.
#[derive(Debug)]
pub(super) struct RateLimit<K> {
    /// At once.
    burst: u32,
    /// After them, one more for each of these.
    step: Duration,
    young: HashMap<K, Instant>,
    old: HashMap<K, Instant>,
}

impl<K: Eq + Hash> RateLimit<K> {
    pub(super) fn new(burst: u32, step: Duration) -> Self {
        Self { burst, step, young: HashMap::new(), old: HashMap::new() }
    }

    /// Whether `name` may do it now, without taking note of it. `Err` says how long it has to wait.
    pub(super) fn look(&self, name: &K, now: Instant) -> Result<(), Duration> {
        let known = self.young.get(name).or_else(|| self.old.get(name)).copied();
        self.after_one_more(known, now).1
    }

    /// Takes note that `name` does it. `Err` says how long it has to wait, and then nothing is noted: a name that waits
    /// as it was told may go on.
    pub(super) fn take(&mut self, name: K, now: Instant) -> Result<(), Duration> {
        let known = self.young.get(&name).copied().or_else(|| self.old.remove(&name));
        let (forgotten_at, allowed) = self.after_one_more(known, now);
        let kept = if allowed.is_ok() { forgotten_at } else { forgotten_at - self.step };
        if self.young.len() >= NAMES && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, kept);
        allowed
    }

    /// When one more would be forgotten, and whether it is allowed.
    fn after_one_more(&self, known: Option<Instant>, now: Instant) -> (Instant, Result<(), Duration>) {
        let forgotten_at = known.unwrap_or(now).max(now) + self.step;
        let wait = forgotten_at.saturating_duration_since(now).saturating_sub(self.step * self.burst);
        (forgotten_at, if wait.is_zero() { Ok(()) } else { Err(wait) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(6);

    #[tokio::test(start_paused = true)]
    async fn after_a_burst_one_more_is_allowed_for_each_step() {
        let mut limit = RateLimit::new(10, STEP);
        for _ in 0..10 {
            assert_eq!(limit.take("one", Instant::now()), Ok(()));
        }
        assert_eq!(limit.look(&"one", Instant::now()), Err(STEP));
        assert_eq!(limit.look(&"other", Instant::now()), Ok(()));
        assert_eq!(limit.take("one", Instant::now()), Err(STEP));
        assert_eq!(limit.take("one", Instant::now()), Err(STEP), "what is refused is not counted");
        assert_eq!(limit.take("other", Instant::now()), Ok(()));
        tokio::time::advance(STEP).await;
        assert_eq!(limit.take("one", Instant::now()), Ok(()));
        assert_eq!(limit.take("one", Instant::now()), Err(STEP));
        tokio::time::advance(STEP * 10).await;
        for _ in 0..10 {
            assert_eq!(limit.take("one", Instant::now()), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_keeps_a_name_that_comes_again() {
        let mut limit = RateLimit::new(10, STEP);
        let often = usize::MAX;
        for name in (0..NAMES * 5).flat_map(|other| [other, often]) {
            let _ = limit.take(name, Instant::now());
        }
        assert!(limit.young.len() + limit.old.len() <= 2 * NAMES);
        assert!(limit.take(often, Instant::now()).is_err());
    }
}
