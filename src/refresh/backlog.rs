//! A backlog: more refreshes are due than can be sent within a minute.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::time::Instant;

use crate::domain::time::UnixTime;
use crate::refresh::rate_limit::RateLimits;
use crate::store::BacklogCounts;

/// How often the event loop checks for a backlog within a pass, if the last check found none.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// The rate is measured over this time, at least over the second one.
const RATE_WINDOW: Duration = Duration::from_secs(30);
const MIN_RATE_WINDOW: Duration = Duration::from_secs(10);
/// A rate that is measured by whole refreshes differs a little from the pace.
const KEEPS_UP: f64 = 0.9;
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Refreshes that wait, and how long they will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Grants that are due: the last count, minus the refreshes sent since then.
    pub due: u64,
    /// Whether more may be due.
    pub or_more: bool,
    /// Persons whose access token had expired at the last count, at most `due`.
    pub expired: u64,
    /// Refreshes per second: the current pace, or the measured one where that is lower. `None` if no rate is configured and none
    /// has been measured yet.
    pub per_second: Option<f64>,
    /// As `per_second`, of tokens that are neither expired nor within their survival margin: never above the configured rate.
    pub not_urgent_per_second: Option<f64>,
    /// Maximum refreshes per second, if the pace may grow.
    pub most_per_second: Option<f64>,
    /// An estimate of when the last of them is sent: the expired ones at `per_second`, the others at
    /// `not_urgent_per_second`.
    pub until: Option<UnixTime>,
}

/// What the event loop knows of the backlog.
#[derive(Debug, Default)]
pub(super) struct BacklogWatch {
    /// Refreshes sent since the start of the daemon.
    pub(super) sent: AtomicU64,
    state: Mutex<WatchState>,
}

#[derive(Debug, Default)]
pub(super) struct WatchState {
    pub(super) counted: Option<Counted>,
    pub(super) look_at: Option<Instant>,
    /// Times, and [`BacklogWatch::sent`] at each.
    samples: VecDeque<(Instant, u64)>,
}

/// The pace that a backlog is judged by, in refreshes per second; each `None` if there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct BacklogPace {
    pub(super) configured: Option<f64>,
    pub(super) current: Option<f64>,
    pub(super) max_per_second: Option<f64>,
}

/// The result of the last count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) counts: BacklogCounts,
    /// [`BacklogWatch::sent`] at that moment.
    pub(super) sent: u64,
}

impl BacklogWatch {
    pub(super) fn state(&self) -> MutexGuard<'_, WatchState> {
        self.state.lock()
    }

    /// Counts a refresh that was sent.
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets the last count, because there is no backlog or refreshes pause.
    pub(super) fn clear(&self) {
        *self.state() = WatchState::default();
    }

    /// Notes how many refreshes were sent by now, to measure their rate.
    pub(super) fn sample(&self) {
        let (now, sent) = (Instant::now(), self.sent.load(Ordering::Relaxed));
        let samples = &mut self.state().samples;
        if samples.back().is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_INTERVAL) {
            samples.push_back((now, sent));
        }
        while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            samples.pop_front();
        }
    }

    /// The current pace, or the rate measured over the last half minute where that is clearly lower.
    fn rate(&self, pace: Option<f64>) -> Option<f64> {
        let sent = self.sent.load(Ordering::Relaxed);
        let first = self.state().samples.front().copied();
        let measured = first.filter(|(at, _)| at.elapsed() >= MIN_RATE_WINDOW);
        let measured =
            measured.map(|(at, before)| as_float(sent.saturating_sub(before)) / at.elapsed().as_secs_f64());
        let measured = measured.filter(|rate| *rate > 0.0);
        let keeps_up = |pace: &f64| measured.is_none_or(|rate| rate >= pace * KEEPS_UP);
        pace.filter(keeps_up).or(measured)
    }

    /// The backlog at the current pace. Only the refreshes of expired tokens are faster than the configured rate.
    pub(super) fn backlog(&self, now: UnixTime, pace: BacklogPace) -> Option<Backlog> {
        let Counted { counts, sent } = self.state().counted?;
        let since = self.sent.load(Ordering::Relaxed).saturating_sub(sent);
        let due = counts.due.saturating_sub(since);
        let expired = counts.expired.min(due);
        let per_second = self.rate(pace.current);
        let not_urgent_per_second = pace.configured.into_iter().chain(per_second).min_by(f64::total_cmp);
        let until = time_after(&[(expired, per_second), (due - expired, not_urgent_per_second)], now);
        let most_per_second =
            pace.max_per_second.filter(|max| expired > 0 && per_second.is_some_and(|rate| rate < *max));
        (due > 0).then_some(Backlog {
            due,
            or_more: counts.or_more,
            expired,
            per_second,
            not_urgent_per_second,
            most_per_second,
            until,
        })
    }
}

/// When these numbers of refreshes have been sent at these rates, one after the other, as an estimate.
pub(super) fn time_after(refreshes: &[(u64, Option<f64>)], now: UnixTime) -> Option<UnixTime> {
    let mut at = now;
    for (number, per_second) in refreshes.iter().filter(|(number, _)| *number > 0) {
        at = at + Duration::try_from_secs_f64(as_float(*number) / (*per_second)?).ok()?;
    }
    Some(UnixTime::from_seconds(at.seconds()))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of persons are far below 2^52")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// The refreshes that the configured rate sends within a minute. Without a rate, a call is assumed to take a second.
pub(super) fn sent_within_a_minute(limits: RateLimits) -> u64 {
    if limits.per_second <= 0.0 {
        return u64::try_from(limits.concurrency).unwrap_or(u64::MAX).saturating_mul(60);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; never negative")]
    let refreshes = (limits.per_second * 60.0) as u64;
    refreshes.max(1)
}

impl Backlog {
    /// The numbers in a sentence without a full stop, for operators.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { due, or_more, expired, most_per_second, until, .. } = *self;
        let more = if or_more { " or more" } else { "" };
        let dead = if expired == 0 {
            String::new()
        } else {
            format!(", {expired} of them for persons whose access token has expired")
        };
        let rate = self.rates();
        let growth =
            most_per_second.map(|most| format!("; earlier if the rate grows, to at most {}", rounded(most)));
        let growth = growth.unwrap_or_default();
        let end =
            until.map(|until| format!(", the last one is sent at about {until}{growth}")).unwrap_or_default();
        format!("{due}{more} refreshes are due{dead}; {rate}{end}")
    }

    /// The rates of expired tokens and of the others, where they differ.
    fn rates(&self) -> String {
        let text = |rate: f64| format!("{} a second", rounded(rate));
        let (fast, slow) = (self.per_second.map(text), self.not_urgent_per_second.map(text));
        match (fast, slow) {
            (Some(fast), Some(slow)) if fast != slow && self.expired == 0 => format!("at {slow}"),
            (Some(fast), Some(slow)) if fast != slow && self.expired < self.due => {
                format!("at {fast} for these and {slow} for the others")
            }
            (Some(fast), _) => format!("at {fast}"),
            (None, _) => "at an unknown rate".to_owned(),
        }
    }
}

/// A rate with at most two digits after the point.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rates_are_named_where_they_differ() {
        let backlog = |due, expired, rate: Option<f64>, not_urgent| Backlog {
            due,
            or_more: false,
            expired,
            per_second: rate,
            not_urgent_per_second: not_urgent,
            most_per_second: None,
            until: None,
        };
        for (backlog, says) in [
            (
                backlog(9, 4, Some(200.0), Some(20.0)),
                "at 200 a second for these and 20 a second for the others",
            ),
            (backlog(9, 4, Some(20.0), Some(20.0)), "at 20 a second"),
            (backlog(9, 9, Some(200.0), Some(20.0)), "at 200 a second"),
            (backlog(9, 0, Some(200.0), Some(20.0)), "at 20 a second"),
            (backlog(9, 4, None, None), "at an unknown rate"),
        ] {
            assert_eq!(backlog.sentence().split("; ").nth(1), Some(says));
        }
    }
}
