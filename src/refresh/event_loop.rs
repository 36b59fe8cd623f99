//! The event loop: pass, nap, pass. It wakes every `EVENT_LOOP_SLEEP_SECONDS`, from wake to wake, and earlier only
//! when a retry falls due, a token would not outlive the sleep, or somebody nudges it.

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

/// No nap is longer: timers stand still while the machine is suspended, and clocks are set.
const SLICE: Duration = Duration::from_secs(60);

/// A pass that lasts takes up what has fallen due meanwhile after this.
const TAKE_UP: Duration = Duration::from_secs(15);

/// No nap before an early wake is shorter, whatever the store says is due: the loop never spins.
const SHORTEST: Duration = Duration::from_secs(1);

/// The loop and its parts.
pub struct EventLoop {
    refresher: Arc<Refresher>,
    wake: Wake,
    stopping: CancellationToken,
    pass: Pass,
    /// When the next regular wake is.
    regular: UnixTime,
    /// The last pass ended although something was due: the breaker held it back.
    held: bool,
    /// What was due at the first time cannot be claimed before the second.
    stuck: Option<(UnixTime, UnixTime)>,
    /// When the store is tried again, if it failed.
    retry_at: Option<UnixTime>,
    clocks: Clocks,
    /// Dates that are still to be mended.
    mendings: Mendings,
}

impl EventLoop {
    /// A loop that has not begun.
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

    /// Runs until it is told to stop; finishes the refreshes under way then.
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

    /// Starts everything that is due now. Ends early when the next regular wake comes, which goes on where it stopped:
    /// a pass may be longer than the sleep, but passes never pile up.
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
            // What falls due meanwhile is taken up, but not at each claim: then all that is due is looked at.
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

    /// Waits until a refresh has ended, if one runs, but not longer than `most`.
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

    /// Waits for the next wake, in slices, and tells what the refreshes under way came to.
    async fn nap(&mut self) {
        let mut earliest = self.now() + SHORTEST;
        let mut told = false;
        loop {
            self.compare_clocks().await;
            let now = self.now();
            // A clock set back must not stretch the sleep.
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

    /// The next wake: the regular one, or an early one, but not while the breaker holds or the store fails.
    async fn until(&self, earliest: UnixTime) -> UnixTime {
        if let Some(retry_at) = self.retry_at {
            return retry_at.max(earliest).min(self.regular);
        }
        let waiting = self.refresher.waiting().await.map_err(unknown).unwrap_or_default();
        let probe = self.refresher.breaker().next_probe(&waiting, self.now());
        let early = match (self.stuck, probe) {
            (Some((due_by, until)), _) => self.stored_wake(due_by).await.min(until),
            (None, Some(probe)) if waiting.due => probe,
            // What is due already, and does not wait, is a grant that has ended: it is no probe.
            (None, Some(_)) => self.stored_wake(self.now()).await,
            // The breaker has closed since.
            (None, None) if self.held => earliest,
            (None, None) => self.stored_wake(UnixTime(i64::MIN)).await,
        };
        early.max(earliest).min(self.regular)
    }

    /// The first wake after this time that a grant asks for.
    async fn stored_wake(&self, after: UnixTime) -> UnixTime {
        let stored = self.refresher.parts().store.next_wake(after).await;
        stored.map_err(unknown).unwrap_or_default().unwrap_or(UnixTime::NEVER)
    }

    /// One slice of a nap; shorter when something happens.
    async fn slice(&mut self, length: Duration) {
        tokio::select! {
            biased;
            () = sleep(length) => {}
            () = self.wake.nudged() => {}
            () = self.stopping.cancelled() => {}
            () = self.pass.ended(), if !self.pass.idle() => {}
        }
    }

    /// Notices a clock that was set since this was last called, whatever was done meanwhile.
    async fn compare_clocks(&mut self) {
        let now = self.now();
        match self.clocks.shift(now) {
            Some(Shift::Back(back)) => {
                let seconds = back.as_secs();
                log::warn!(
                    "event loop: the clock was set back by {seconds} s; dates in its future are mended"
                );
                self.stuck = None;
                // Still in its time: nothing else wakes the loop for those who are due already.
                self.retry_at = self.retry_at.map(|at| at - back);
                self.refresher.breaker().set_back(back, now);
                self.mendings.add(&self.refresher, back);
            }
            Some(Shift::Ahead(ahead)) => {
                let seconds = ahead.as_secs();
                log::warn!(
                    "event loop: the clock went {seconds} s ahead (a suspended machine?); going on from there"
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
    log::log!(why.level(), "event loop: the next wake is not known: {why}");
}
