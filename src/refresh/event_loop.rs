//! The event loop: alternates passes with sleeps. It wakes every `EVENT_LOOP_SLEEP_SECONDS`, counted from wake to wake, and
//! earlier only if a retry falls due, a token would not outlive the sleep, or another task wakes it.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::time::UnixTime;
use crate::refresh::clock_correction::PendingCorrections;
use crate::refresh::clocks::Clocks;
use crate::refresh::clocks::Shift;
use crate::refresh::pass::Pass;
use crate::refresh::pass::PassStep;
use crate::refresh::service::RefreshService;
use crate::store::StoreError;

/// Longest uninterrupted wait. Timers stand still while the machine is suspended, and the clock may be set.
const MAX_SLEEP_SLICE: Duration = Duration::from_secs(60);

/// A pass that lasts longer includes grants that have fallen due since it began, at this interval.
const RECHECK_DUE: Duration = Duration::from_secs(15);

/// Shortest sleep before an early wake, whatever is due, so that the loop never spins.
const MIN_SLEEP: Duration = Duration::from_secs(1);

/// The event loop.
pub struct EventLoop {
    refresher: Arc<RefreshService>,
    stopping: CancellationToken,
    pass: Pass,
    /// The time of the next regular wake.
    regular: UnixTime,
    /// Whether the last pass ended while grants were due, because the breaker held them back.
    held: bool,
    /// Grants that were due at the first time cannot be claimed before the second.
    stuck: Option<(UnixTime, UnixTime)>,
    /// When the store is tried again, if it has failed.
    retry_at: Option<UnixTime>,
    clocks: Clocks,
    /// Stored dates that are still to be corrected.
    corrections: PendingCorrections,
}

impl EventLoop {
    /// Creates an event loop that is not running yet.
    #[must_use]
    pub fn new(refresher: Arc<RefreshService>) -> Self {
        let pass = Pass::new(refresher.clone());
        let clocks = Clocks::at(refresher.context.clock.now());
        let stopping = refresher.context.tasks.stopping();
        Self {
            refresher,
            stopping,
            pass,
            regular: UnixTime::NEVER,
            held: false,
            stuck: None,
            retry_at: None,
            clocks,
            corrections: PendingCorrections::default(),
        }
    }

    /// Runs until the daemon stops, then waits for the refreshes under way.
    pub async fn run(mut self) {
        self.regular = self.now();
        while !self.stopping.is_cancelled() {
            self.one_pass().await;
            self.sleep_until_next_wake().await;
        }
        while !self.pass.is_idle() {
            self.pass.wait_for_one().await;
        }
        self.refresher.consent_log.log_others(true);
        if let Some(tally) = self.pass.take_result() {
            log::info!("event loop: {tally}");
        }
    }

    fn now(&self) -> UnixTime {
        self.refresher.context.clock.now()
    }

    /// Starts the refreshes of all grants that are due now. Ends early at the next regular wake, whose pass continues with
    /// the rest. So a pass may take longer than the sleep, but passes never pile up.
    async fn one_pass(&mut self) {
        let mut began = self.now();
        while self.regular <= began {
            self.regular = self.regular.max(began - self.sleep_interval()) + self.sleep_interval();
        }
        // While refreshes pause, each probe is a pass.
        let level = if self.refresher.breaker().is_open() { Level::Debug } else { Level::Info };
        log::log!(level, "event loop: looking for old tokens");
        self.refresher.retry_reconcile().await;
        self.refresher.save_breaker().await;
        (self.held, self.stuck, self.retry_at) = (false, None, None);
        let mut started_all = false;
        while !self.stopping.is_cancelled() && !started_all && self.now() < self.regular {
            self.check_clock().await;
            // Grants that have fallen due meanwhile are included, but not at each claim, because a new time makes the store
            // read all due rows again.
            let now = self.now();
            if now < began || now >= began + RECHECK_DUE {
                began = now;
            }
            self.refresher.watch_backlog().await;
            self.refresher.consent_log.log_others(false);
            match self.pass.step(began).await {
                PassStep::More => {}
                PassStep::Full => self.wait_for_one(MAX_SLEEP_SLICE).await,
                PassStep::Later(wait) => self.wait_for_one(wait).await,
                PassStep::Done => {
                    self.refresher.backlog.clear();
                    started_all = true;
                }
                PassStep::Held => (self.held, started_all) = (true, true),
                PassStep::Stuck { due_by, until } => {
                    (self.stuck, started_all) = (Some((due_by, until)), true);
                }
                PassStep::Failed(retry_at) => {
                    self.retry_at = Some(retry_at);
                    started_all = true;
                }
            }
        }
    }

    /// Waits until a refresh has ended, if one is running, but not longer than `most`.
    async fn wait_for_one(&mut self, most: Duration) {
        let left = self.regular.until(self.now()).min(most).min(MAX_SLEEP_SLICE);
        tokio::select! {
            biased;
            () = self.pass.wait_for_one(), if !self.pass.is_idle() => {}
            () = sleep(left) => {}
            () = self.stopping.cancelled() => {}
        }
    }

    fn sleep_interval(&self) -> Duration {
        self.refresher.context.policy.sleep
    }

    /// Waits for the next wake in slices, and logs the results of the refreshes under way when they have ended.
    async fn sleep_until_next_wake(&mut self) {
        let mut earliest = self.now() + MIN_SLEEP;
        let mut told = false;
        loop {
            self.check_clock().await;
            self.refresher.consent_log.log_others(false);
            let now = self.now();
            // If the clock was set back, the sleep must not become longer.
            self.regular = self.regular.min(now + self.sleep_interval());
            earliest = earliest.min(now + MIN_SLEEP);
            let until = self.next_wake(earliest).await;
            if !told && self.pass.is_idle() {
                self.log_summary(until.until(now));
                told = true;
            }
            let over = until <= now || self.stopping.is_cancelled();
            if over && !told {
                let waiting = self.refresher.backlog().map(|backlog| format!(" and {} wait", backlog.due));
                let waiting = waiting.unwrap_or_default();
                log::info!("event loop: {} refreshes are still under way{waiting}", self.pass.in_flight());
            }
            if over {
                return;
            }
            self.sleep_slice(until.until(now).min(MAX_SLEEP_SLICE)).await;
        }
    }

    /// The time of the next wake: the regular one, or an early one. While the breaker is open or the store fails, only their
    /// next attempt is an early one.
    async fn next_wake(&self, earliest: UnixTime) -> UnixTime {
        if let Some(retry_at) = self.retry_at {
            return retry_at.max(earliest).min(self.regular);
        }
        let waiting = self.refresher.due_summary().await.map_err(log_store_error).unwrap_or_default();
        let probe = self.refresher.breaker().next_probe(&waiting, self.now());
        let early = match (self.stuck, probe) {
            (Some((due_by, until)), _) => self.next_stored_wake(due_by).await.min(until),
            (None, Some(probe)) if waiting.due => probe,
            // If no living grant waits, those that are due have ended, and are no probes.
            (None, Some(_)) => self.next_stored_wake(self.now()).await,
            // The breaker has closed meanwhile.
            (None, None) if self.held => earliest,
            (None, None) => self.next_stored_wake(UnixTime(i64::MIN)).await,
        };
        early.max(earliest).min(self.regular)
    }

    /// The first wake after this time that a stored grant needs.
    async fn next_stored_wake(&self, after: UnixTime) -> UnixTime {
        let stored = self.refresher.context.store.next_wake(after).await;
        stored.map_err(log_store_error).unwrap_or_default().unwrap_or(UnixTime::NEVER)
    }

    /// Waits for one slice of the sleep, or until something happens.
    async fn sleep_slice(&mut self, length: Duration) {
        tokio::select! {
            biased;
            () = sleep(length) => {}
            () = self.refresher.context.wake.notified() => {}
            () = self.stopping.cancelled() => {}
            () = self.pass.wait_for_one(), if !self.pass.is_idle() => {}
        }
    }

    /// Detects whether the clock was set since the last call, and continues the correction of stored dates.
    async fn check_clock(&mut self) {
        let now = self.now();
        match self.clocks.shift(now) {
            Some(Shift::Back(back)) => {
                let seconds = back.as_secs();
                log::warn!("event loop: the clock was set back by {seconds} s; stored dates are corrected");
                self.stuck = None;
                // The retry keeps its distance, because nothing else wakes the loop for grants that are due already.
                self.retry_at = self.retry_at.map(|at| at - back);
                self.refresher.breaker().set_back(back, now);
                self.corrections.add(&self.refresher, back);
            }
            Some(Shift::Ahead(ahead)) => {
                let seconds = ahead.as_secs();
                log::warn!(
                    "event loop: the clock went {seconds} s ahead (was the machine suspended?); continuing from there"
                );
            }
            None => {}
        }
        self.corrections.go_on(&self.refresher).await;
    }

    fn log_summary(&mut self, nap: Duration) {
        let found = self
            .pass
            .take_result()
            .map_or_else(|| self.pass.idle_reason().to_owned(), |tally| tally.to_string());
        let held = self
            .refresher
            .breaker()
            .trouble()
            .map(|cause| format!("; refreshes pause: {cause}"))
            .unwrap_or_default();
        let level = if held.is_empty() { Level::Info } else { Level::Debug };
        log::log!(level, "event loop: {found}{held}; sleeping for {} seconds", nap.as_secs_f64().ceil());
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn log_store_error(why: StoreError) {
    log::log!(why.log_level(), "event loop: cannot read when the next grant is due: {why}");
}
