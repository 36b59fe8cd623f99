//! When the daemon repeats a failed delivery of a notice to a sink.

use std::time::Duration;

use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use strum::EnumString;
use strum::IntoStaticStr;

use crate::domain::time::UnixTime;

/// Waits between tries, from the Standard Webhooks specification: ten tries in a little more than three days.
pub const RETRY_DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(14 * 3600),
    Duration::from_secs(20 * 3600),
    Duration::from_secs(24 * 3600),
];

/// Maximum time between two probes of a failing sink, unless its `Retry-After` is longer. A probe sends one waiting notice.
/// So a sink that works for an hour within three days gets every notice, whatever the retry steps of single notices are.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1800);

/// A notice that is older than this is given up when a try fails, if it was tried at least [`MIN_TRIES`] times.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(72 * 3600);

/// Minimum number of tries before a notice is given up, however old it is, because the daemon may have been stopped for days.
pub const MIN_TRIES: u32 = 4;

/// Maximum wait after a `Retry-After`. A longer one is cut to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(6 * 3600);

/// The state of a notice at one sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryState {
    /// The notice waits for its first or next try.
    Waiting,
    /// The sink accepted the notice.
    Sent,
    /// All tries failed for three days, or the receiver turned the sink off.
    GivenUp,
    /// The notice no longer applied when it was to be sent.
    Outdated,
}

impl DeliveryState {
    /// The word for this state in the store and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The state with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// When to send a notice again that was tried `tries` times (at least once). The jitter is a hash of the notice, the sink and
/// the number of tries, and only makes a step longer. The last step repeats.
#[must_use]
pub fn next_try(id: &str, sink: &str, tries: u32, retry_after: Option<Duration>, now: UnixTime) -> UnixTime {
    let index = usize::try_from(tries.max(1) - 1).unwrap_or(usize::MAX);
    let step = RETRY_DELAYS.get(index).or(RETRY_DELAYS.last()).copied().unwrap_or(PROBE_INTERVAL);
    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
    now + (step + step.mul_f64(0.1 * jitter(id, sink, tries))).max(asked)
}

/// Whether a notice of an event at `at` is given up at `now`, after its try number `tries` has failed.
#[must_use]
pub fn is_over(at: UnixTime, tries: u32, now: UnixTime) -> bool {
    tries >= MIN_TRIES && now.since(at) >= GIVE_UP_AFTER
}

/// A number from 0 to 1.
fn jitter(id: &str, sink: &str, tries: u32) -> f64 {
    let hash = digest(&SHA256, format!("{id}\n{sink}\n{tries}").as_bytes());
    let bytes = hash.as_ref().first_chunk::<2>().copied().unwrap_or_default();
    f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixTime = UnixTime(1_795_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    /// The times of all tries of a notice that the sink never accepts.
    fn tries(id: &str) -> Vec<UnixTime> {
        let (mut all, mut now) = (vec![START], START);
        while !is_over(START, u32::try_from(all.len()).unwrap(), now) {
            now = next_try(id, "webhook", u32::try_from(all.len()).unwrap(), None, now);
            all.push(now);
        }
        all
    }

    #[test]
    fn a_notice_is_tried_ten_times_in_more_than_three_days_and_then_given_up() {
        for n in 0..200 {
            let tries = tries(&n.to_string());
            assert_eq!(tries.len(), 10);
            let whole = tries.last().unwrap().since(START);
            assert!(whole >= 75 * HOUR && whole <= 84 * HOUR, "{whole:?}");
        }
    }

    #[test]
    fn a_notice_that_was_tried_in_vain_after_days_without_a_daemon_is_tried_on() {
        assert!(!is_over(START, 3, START + 100 * HOUR));
        assert!(is_over(START, 4, START + 100 * HOUR));
        assert!(!is_over(START, 40, START + 71 * HOUR), "not before three days, however many tries failed");
    }

    #[test]
    fn the_jitter_is_drawn_once_and_spreads() {
        assert_eq!(tries("a"), tries("a"));
        let second = |n: u32| next_try(&n.to_string(), "webhook", 2, None, START);
        let mut times: Vec<UnixTime> = (0..500).map(second).collect();
        times.sort_unstable();
        assert!(times[0] >= START + RETRY_DELAYS[1]);
        assert!(times[499].since(times[0]) > Duration::from_secs(25), "a tenth of five minutes");
    }

    #[test]
    fn a_longer_retry_after_wins_up_to_six_hours() {
        let next = |after| next_try("a", "webhook", 1, after, START).since(START);
        assert_eq!(next(Some(HOUR)), HOUR);
        assert_eq!(next(Some(400 * HOUR)), RETRY_AFTER_MAX);
        assert!(next(Some(Duration::ZERO)) >= RETRY_DELAYS[0]);
    }
}
