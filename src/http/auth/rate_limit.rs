//! Rate limits by name: a burst, then one more for each interval (GCRA, a leaky bucket as a meter). One point
//! in time is stored for each name, and the table is bounded.

use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use crate::bounded_map::BoundedMap;

/// Names that are remembered at least; twice as many are remembered at most. Each takes less than 200 bytes.
const NAMES: usize = 4096;

/// For each name, the time at which its earlier use no longer counts.
#[derive(Debug)]
pub(in crate::http) struct RateLimit<K> {
    /// How many are allowed at once.
    burst: u32,
    /// After the burst, one more is allowed for each interval.
    step: Duration,
    names: BoundedMap<K, Instant>,
}

impl<K: Eq + Hash> RateLimit<K> {
    pub(in crate::http) fn new(burst: u32, step: Duration) -> Self {
        Self { burst, step, names: BoundedMap::new(NAMES) }
    }

    /// Checks whether `name` may proceed now, without counting it. `Err` holds the time to wait.
    pub(in crate::http) fn check(&self, name: &K, now: Instant) -> Result<(), Duration> {
        self.after_one_more(name, now).1
    }

    /// Counts one use by `name`. `Err` holds the time to wait; the use is not counted then, so a name that
    /// waits for that time may proceed.
    pub(in crate::http) fn take(&mut self, name: K, now: Instant) -> Result<(), Duration> {
        let (forgotten_at, allowed) = self.after_one_more(&name, now);
        let kept = if allowed.is_ok() { forgotten_at } else { forgotten_at - self.step };
        self.names.insert(name, kept);
        allowed
    }

    /// When one more use of `name` would no longer count, and whether it is allowed.
    fn after_one_more(&self, name: &K, now: Instant) -> (Instant, Result<(), Duration>) {
        let known = self.names.peek(name).copied();
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
        assert_eq!(limit.check(&"one", Instant::now()), Err(STEP));
        assert_eq!(limit.check(&"other", Instant::now()), Ok(()));
        assert_eq!(limit.take("one", Instant::now()), Err(STEP));
        assert_eq!(limit.take("one", Instant::now()), Err(STEP), "a refused use is not counted");
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
    async fn a_name_that_is_used_again_stays_limited_in_a_flood_of_others() {
        let mut limit = RateLimit::new(10, STEP);
        let often = usize::MAX;
        for name in (0..NAMES * 5).flat_map(|other| [other, often]) {
            let _ = limit.take(name, Instant::now());
        }
        assert!(limit.take(often, Instant::now()).is_err());
    }
}
