//! Counts the refreshes that are due, and logs a backlog.

use std::sync::atomic::Ordering;
use std::time::Duration;

use log::Level;
use tokio::time::Instant;
use tokio::time::timeout;

use crate::domain::grant::Grant;
use crate::domain::grant::GrantStatus;
use crate::domain::queue_place::QueuePlace;
use crate::domain::time::UnixTime;
use crate::refresh::backlog::Backlog;
use crate::refresh::backlog::BacklogPace;
use crate::refresh::backlog::Counted;
use crate::refresh::backlog::LOOK_INTERVAL;
use crate::refresh::backlog::sent_within_a_minute;
use crate::refresh::backlog::time_after;
use crate::refresh::pace::is_urgent;
use crate::refresh::rate_limit::RateLimits;
use crate::refresh::service::RefreshService;
use crate::store::BacklogCounts;
use crate::store::BacklogRequest;
use crate::store::StoreError;

/// How often a backlog is counted and logged.
const LOG_INTERVAL: Duration = Duration::from_secs(600);

/// The event loop waits at most this long for a count.
const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// A backlog is counted up to this number: about a tenth of a second on an index.
const COUNT_LIMIT: u64 = 1_000_000;

/// The place of one person is counted up to this number, because every caller may ask for it.
const PLACE_LIMIT: u64 = 100_000;

impl RefreshService {
    /// The backlog of the event loop, if there is one. Reads nothing from the store.
    #[must_use]
    pub fn backlog(&self) -> Option<Backlog> {
        if self.breaker().is_open() {
            return None;
        }
        self.backlog.backlog(self.context.clock.now(), self.backlog_pace())
    }

    fn backlog_pace(&self) -> BacklogPace {
        let rate = |limits: RateLimits| Some(limits.per_second).filter(|rate| *rate > 0.0);
        BacklogPace {
            configured: rate(self.limits),
            current: rate(self.current_limits()),
            max_per_second: self.pace.max_per_second(),
        }
    }

    /// The place of a due grant in the backlog. `None` if it is not due, or if there is no backlog.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot count.
    pub async fn queue_place(&self, grant: &Grant) -> Result<Option<QueuePlace>, StoreError> {
        let now = self.context.clock.now();
        let is_due = grant.status == GrantStatus::Active && grant.next.due_at <= now;
        let Some(backlog) = self.backlog().filter(|_| is_due) else { return Ok(None) };
        let ahead_of = Some(grant.tokens.expires_at);
        let ask = BacklogRequest { now, limit: PLACE_LIMIT, ahead_of };
        let counts = self.context.store.backlog(ask).await?;
        // Only living tokens with less life left go before a living token. If it is within its margin, they
        // are too.
        let not_urgent = if grant.life_left(now).is_zero() {
            counts.living_ahead()
        } else if is_urgent(grant, now) {
            0
        } else {
            counts.ahead
        };
        let waits =
            [(not_urgent, backlog.not_urgent_per_second), (counts.ahead - not_urgent, backlog.per_second)];
        Ok(Some(QueuePlace { ahead: counts.ahead, at: time_after(&waits, now) }))
    }

    /// Counts the due refreshes. Logs a backlog at once, and again about every ten minutes. A call before the next check is due
    /// does nothing.
    pub(super) async fn watch_backlog(&self) {
        if self.breaker().is_open() {
            return self.backlog.clear();
        }
        self.backlog.sample();
        if self.backlog.state().look_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let (now, limits) = (self.context.clock.now(), self.limits);
        let threshold = sent_within_a_minute(limits);
        let counted = match self.count_backlog(now, threshold).await {
            Some(few) if few.or_more => self.count_backlog(now, COUNT_LIMIT.max(threshold)).await,
            _ => None,
        };
        let Some(counts) = counted else {
            let mut state = self.backlog.state();
            (state.counted, state.look_at) = (None, Some(Instant::now() + LOOK_INTERVAL));
            return;
        };
        let sent = self.backlog.sent.load(Ordering::Relaxed);
        {
            let mut state = self.backlog.state();
            // The pace grows within a minute.
            let soon = state.counted.is_none() && counts.expired > 0 && self.pace.max_per_second().is_some();
            let next = if soon { LOOK_INTERVAL } else { LOG_INTERVAL };
            (state.counted, state.look_at) = (Some(Counted { counts, sent }), Some(Instant::now() + next));
        }
        if let Some(backlog) = self.backlog.backlog(now, self.backlog_pace()) {
            let level = if backlog.expired > 0 { Level::Warn } else { Level::Info };
            log::log!(level, "event loop: {}", backlog.sentence());
        }
    }

    /// `None` if the store fails, or is too busy to count in time: refreshes must not wait for a log line.
    async fn count_backlog(&self, now: UnixTime, limit: u64) -> Option<BacklogCounts> {
        let counted = self.context.store.backlog(BacklogRequest { now, limit, ahead_of: None });
        let counted = timeout(COUNT_TIMEOUT, counted).await.ok()?;
        // The next claim logs the error of a failing store.
        counted
            .inspect_err(|why| log::debug!("event loop: cannot count the refreshes that are due: {why}"))
            .ok()
    }
}
