//! A backlog: more refreshes are due than can be sent within a minute.

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

/// Refreshes that wait, and how long they will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backlog {
    /// Grants that are due: the last count, minus the refreshes sent since then.
    pub due: u64,
    /// Whether more may be due.
    pub or_more: bool,
    /// Persons whose access token had expired at the last count, at most `due`.
    pub expired: u64,
    /// Refreshes per second: the configured rate, or the measured one where that is lower. `None` if no rate is configured and
    /// none has been measured yet.
    pub per_second: Option<f64>,
    /// An estimate of when the last of them is sent, at this rate.
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
}

/// The result of the last count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub(super) counts: BacklogCounts,
    pub(super) at: Instant,
    /// [`BacklogWatch::sent`] at that moment.
    pub(super) sent: u64,
    pub(super) per_second: Option<f64>,
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

    /// The lower of the configured rate and the rate measured since the last count. If the last count is too recent to measure
    /// a rate, its rate is returned.
    pub(super) fn rate(&self, limits: RateLimits) -> Option<f64> {
        let configured = Some(limits.per_second).filter(|rate| *rate > 0.0);
        let (counted, sent) = (self.state().counted, self.sent.load(Ordering::Relaxed));
        let Some(counted) = counted.filter(|counted| counted.at.elapsed() >= LOOK_INTERVAL) else {
            return counted.map_or(configured, |counted| counted.per_second);
        };
        let measured = as_float(sent.saturating_sub(counted.sent)) / counted.at.elapsed().as_secs_f64();
        let measured = Some(measured).filter(|rate| *rate > 0.0);
        configured.into_iter().chain(measured).min_by(f64::total_cmp)
    }

    pub(super) fn backlog(&self, now: UnixTime) -> Option<Backlog> {
        let Counted { counts, sent, per_second, .. } = self.state().counted?;
        let since = self.sent.load(Ordering::Relaxed).saturating_sub(sent);
        let due = counts.due.saturating_sub(since);
        let until = time_after(due, per_second, now);
        let expired = counts.expired.min(due);
        (due > 0).then_some(Backlog { due, or_more: counts.or_more, expired, per_second, until })
    }
}

/// When this number of refreshes has been sent, as an estimate.
pub(super) fn time_after(refreshes: u64, per_second: Option<f64>, now: UnixTime) -> Option<UnixTime> {
    let wait = Duration::try_from_secs_f64(as_float(refreshes) / per_second?).ok()?;
    Some(UnixTime::from_seconds((now + wait).seconds()))
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
        let Self { due, or_more, expired, per_second, until } = *self;
        let more = if or_more { " or more" } else { "" };
        let dead = if expired == 0 {
            String::new()
        } else {
            format!(", {expired} of them for persons whose access token has expired")
        };
        let rate = match per_second {
            Some(rate) => format!("at {} a second", rounded(rate)),
            None => "at an unknown rate".to_owned(),
        };
        let end = until.map(|until| format!(", the last one is sent at about {until}")).unwrap_or_default();
        format!("{due}{more} refreshes are due{dead}; {rate}{end}")
    }
}

/// A rate with at most two digits after the point.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}
