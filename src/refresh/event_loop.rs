//! The event loop: pass, nap, pass. It wakes every `EVENT_LOOP_SLEEP_SECONDS`, from wake to wake, and earlier only
//! when a retry falls due, a token would not outlive the sleep, or somebody nudges it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::time::UnixTime;
use crate::refresh::clocks::Clocks;
use crate::refresh::clocks::Shift;
use crate::refresh::pass::Pass;
use crate::refresh::pass::Step;
use crate::refresh::refresher::Refresher;
use crate::refresh::revise::Mendings;
use crate::tasks::Wake;

/// No nap is longer: timers stand still while the machine is suspended, and clocks are set.
const SLICE: Duration = Duration::from_secs(60);

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
    /// When the breaker lets the next refresh through.
    held_until: Option<UnixTime>,
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
            held_until: None,
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
        log::info!("event loop: looking for old tokens");
        self.refresher.prepare_again().await;
        self.refresher.keep_breaker().await;
        (self.held_until, self.retry_at) = (None, None);
        let mut started_all = false;
        while !self.stopping.is_cancelled() && !started_all && self.now() < self.regular {
            self.compare_clocks().await;
            // A clock set back must not make each claim look for another moment.
            began = began.min(self.now());
            match self.pass.step(began).await {
                Step::More => {}
                Step::Full => self.one_ended(SLICE).await,
                Step::Later(wait) => self.one_ended(wait).await,
                Step::Done(held_until) => {
                    self.held_until = held_until;
                    started_all = true;
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
        let stored = self.refresher.parts().store.next_wake().await.unwrap_or_else(|why| {
            log::log!(why.level(), "event loop: the next wake is not known: {why}");
            None
        });
        let early = stored.unwrap_or(UnixTime::NEVER).max(earliest).max(self.held_until.unwrap_or(earliest));
        early.min(self.regular)
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
                self.held_until = None;
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
        log::info!("event loop: {found}{held}; sleeping for {} seconds", nap.as_secs_f64().ceil());
    }
}
