//! The event loop: alternates passes with sleeps. It wakes every `EVENT_LOOP_SLEEP_SECONDS`, counted from wake to wake, and
//! earlier only if a retry falls due, a token would not outlive the sleep, or another task wakes it.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::time::UnixTime;
use crate::refresh::clocks::Clocks;
use crate::refresh::clocks::Shift;
use crate::refresh::pass::Pass;
use crate::refresh::pass::Step;
use crate::refresh::refresher::Refresher;
use crate::refresh::revise::Mendings;
use crate::store::StoreError;
use crate::tasks::Wake;

/// Longest uninterrupted wait. Timers stand still while the machine is suspended, and the clock may be set.
const SLICE: Duration = Duration::from_secs(60);

/// A pass that lasts longer includes grants that have fallen due since it began, at this interval.
const TAKE_UP: Duration = Duration::from_secs(15);

/// Shortest sleep before an early wake, whatever is due, so that the loop never spins.
const SHORTEST: Duration = Duration::from_secs(1);

/// The event loop.
pub struct EventLoop {
    refresher: Arc<Refresher>,
    wake: Wake,
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
    mendings: Mendings,
}

impl EventLoop {
    /// Creates an event loop that is not running yet.
    #[must_use]
    pub fn new(refresher: Arc<Refresher>, wake: Wake, stopping: CancellationToken) -> Self {
        let pass = Pass::new(refresher.clone());
        let clocks = Clocks::at(refresher.parts().clock.now());
        Self {
            refresher,
            wake,
            stopping,
            pass,
            regular: UnixTime::NEVER,
            held: false,
            stuck: None,
            retry_at: None,
            clocks,
            mendings: Mendings::default(),
        }
    }

    /// Runs until the daemon stops, then waits for the refreshes under way.
    pub async fn run(mut self) {
        self.regular = self.now();
        while !self.stopping.is_cancelled() {
            self.one_pass().await;
            self.nap().await;
        }
        while !self.pass.idle() {
            self.pass.ended().await;
        }
        if let Some(tally) = self.pass.result() {
            log::info!("event loop: {tally}");
        }
    }

    fn now(&self) -> UnixTime {
        self.refresher.parts().clock.now()
    }

    /// Starts the refreshes of all grants that are due now. Ends early at the next regular wake, whose pass continues with
    /// the rest. So a pass may take longer than the sleep, but passes never pile up.
    async fn one_pass(&mut self) {
        let mut began = self.now();
        while self.regular <= began {
            self.regular = self.regular.max(began - self.sleep()) + self.sleep();
        }
        // While refreshes pause, each probe is a pass.
        let level = if self.refresher.breaker().is_open() { Level::Debug } else { Level::Info };
        log::log!(level, "event loop: looking for old tokens");
        self.refresher.prepare_again().await;
        self.refresher.keep_breaker().await;
        (self.held, self.stuck, self.retry_at) = (false, None, None);
        let mut started_all = false;
        while !self.stopping.is_cancelled() && !started_all && self.now() < self.regular {
            self.compare_clocks().await;
            // Grants that have fallen due meanwhile are included, but not at each claim, because a new time makes the store
            // read all due rows again.
            let now = self.now();
            if now < began || now >= began + TAKE_UP {
                began = now;
            }
            match self.pass.step(began).await {
                Step::More => {}
                Step::Full => self.one_ended(SLICE).await,
                Step::Later(wait) => self.one_ended(wait).await,
                Step::Done => started_all = true,
                Step::Held => (self.held, started_all) = (true, true),
                Step::Stuck { due_by, until } => {
                    (self.stuck, started_all) = (Some((due_by, until)), true);
                }
                Step::Failed(retry_at) => {
                    self.retry_at = Some(retry_at);
                    started_all = true;
                }
            }
        }
    }

    /// Waits until a refresh has ended, if one is running, but not longer than `most`.
    async fn one_ended(&mut self, most: Duration) {
        let left = self.regular.until(self.now()).min(most).min(SLICE);
        tokio::select! {
            biased;
            () = self.pass.ended(), if !self.pass.idle() => {}
            () = sleep(left) => {}
            () = self.stopping.cancelled() => {}
        }
    }

    fn sleep(&self) -> Duration {
        self.refresher.parts().policy.sleep
    }

    /// Waits for the next wake in slices, and logs the results of the refreshes under way when they have ended.
    async fn nap(&mut self) {
        let mut earliest = self.now() + SHORTEST;
        let mut told = false;
        loop {
            self.compare_clocks().await;
            let now = self.now();
            // If the clock was set back, the sleep must not become longer.
            self.regular = self.regular.min(now + self.sleep());
            earliest = earliest.min(now + SHORTEST);
            let until = self.until(earliest).await;
            if !told && self.pass.idle() {
                self.tell(until.until(now));
                told = true;
            }
            let over = until <= now || self.stopping.is_cancelled();
            if over && !told {
                log::info!("event loop: {} refreshes are still under way", self.pass.under_way());
            }
            if over {
                return;
            }
            self.slice(until.until(now).min(SLICE)).await;
        }
    }

    /// The time of the next wake: the regular one, or an early one. While the breaker is open or the store fails, only their
    /// next attempt is an early one.
    async fn until(&self, earliest: UnixTime) -> UnixTime {
        if let Some(retry_at) = self.retry_at {
            return retry_at.max(earliest).min(self.regular);
        }
        let waiting = self.refresher.waiting().await.map_err(unknown).unwrap_or_default();
        let probe = self.refresher.breaker().next_probe(&waiting, self.now());
        let early = match (self.stuck, probe) {
            (Some((due_by, until)), _) => self.stored_wake(due_by).await.min(until),
            (None, Some(probe)) if waiting.due => probe,
            // If no living grant waits, those that are due have ended, and are no probes.
            (None, Some(_)) => self.stored_wake(self.now()).await,
            // The breaker has closed meanwhile.
            (None, None) if self.held => earliest,
            (None, None) => self.stored_wake(UnixTime(i64::MIN)).await,
        };
        early.max(earliest).min(self.regular)
    }

    /// The first wake after this time that a stored grant needs.
    async fn stored_wake(&self, after: UnixTime) -> UnixTime {
        let stored = self.refresher.parts().store.next_wake(after).await;
        stored.map_err(unknown).unwrap_or_default().unwrap_or(UnixTime::NEVER)
    }

    /// Waits for one slice of the sleep, or until something happens.
    async fn slice(&mut self, length: Duration) {
        tokio::select! {
            biased;
            () = sleep(length) => {}
            () = self.wake.nudged() => {}
            () = self.stopping.cancelled() => {}
            () = self.pass.ended(), if !self.pass.idle() => {}
        }
    }

    /// Detects whether the clock was set since the last call, and continues the correction of stored dates.
    async fn compare_clocks(&mut self) {
        let now = self.now();
        match self.clocks.shift(now) {
            Some(Shift::Back(back)) => {
                let seconds = back.as_secs();
                log::warn!("event loop: the clock was set back by {seconds} s; stored dates are corrected");
                self.stuck = None;
                // The retry keeps its distance, because nothing else wakes the loop for grants that are due already.
                self.retry_at = self.retry_at.map(|at| at - back);
                self.refresher.breaker().set_back(back, now);
                self.mendings.add(&self.refresher, back);
            }
            Some(Shift::Ahead(ahead)) => {
                let seconds = ahead.as_secs();
                log::warn!(
                    "event loop: the clock went {seconds} s ahead (was the machine suspended?); continuing from there"
                );
            }
            None => {}
        }
        self.mendings.go_on(&self.refresher).await;
    }

    fn tell(&mut self, nap: Duration) {
        let found =
            self.pass.result().map_or_else(|| self.pass.nothing().to_owned(), |tally| tally.to_string());
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
fn unknown(why: StoreError) {
    log::log!(why.level(), "event loop: cannot read when the next grant is due: {why}");
}
