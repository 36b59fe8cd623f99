//! One seed from start to end: processes of the daemon one after the other, and the events in them.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio::time::timeout;
use webex_sim::Model;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::sqlite::SqliteStore;
use webex_tokend::tasks::DRAIN_TIMEOUT;

use crate::simulation::crash::CrashPoint;
use crate::simulation::env::SimEnv;
use crate::simulation::faults::FaultInjector;
use crate::simulation::faulty_store::block_in_poll;
use crate::simulation::invariants::InvariantChecker;
use crate::simulation::invariants::RunStats;
use crate::simulation::process::DaemonProcess;
use crate::simulation::rng::SimRng;
use crate::simulation::scenario::EventKind;
use crate::simulation::scenario::Scenario;
use crate::simulation::scenario::SimSize;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::START;
use crate::support::virtual_time::WallClock;

/// The outcome of a seed.
pub(super) struct RunOutcome {
    pub(super) broken: Option<String>,
    pub(super) log: String,
    pub(super) fingerprint: (u64, u64),
    pub(super) stats: RunStats,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    Killed,
    Stopped,
    /// The simulated time is over, or an invariant was violated.
    Over,
}

pub(super) struct SimRun {
    pub(super) env: Arc<SimEnv>,
    pub(super) scenario: Scenario,
    pub(super) rng: SimRng,
    memory: Arc<MemoryStore>,
    dir: Option<TempDir>,
    now: UnixTime,
    end: UnixTime,
    starts: u32,
    refresh_all: bool,
    /// When Webex is going to be down.
    pub(super) planned: Option<(UnixTime, UnixTime)>,
}

/// Runs one seed. Keeps the last `lines` of its log.
pub(super) fn run(seed: u64, size: SimSize, lines: usize) -> RunOutcome {
    capture_thread_logs();
    let mut rng = SimRng::new(seed);
    let scenario = Scenario::draw(seed, size, &mut rng);
    let (days, persons) = (scenario.size.days, scenario.size.persons);
    let mut run = SimRun::new(seed, scenario, lines, rng);
    while run.run_process() != RunEnd::Over {
        run.stay_down();
    }
    let mut checker = run.env.checker.lock().unwrap();
    checker.stats.seeds = 1;
    checker.stats.person_days = u64::from(days) * persons as u64;
    RunOutcome {
        broken: checker.broken.clone(),
        log: checker.log.last_lines(),
        fingerprint: checker.log.fingerprint(),
        stats: checker.stats,
    }
}

impl SimRun {
    fn new(seed: u64, scenario: Scenario, lines: usize, mut rng: SimRng) -> Self {
        let faults = FaultInjector::new(rng.fork(), scenario.background_rate, scenario.ack_lost);
        let env = Arc::new(SimEnv {
            clock: Arc::new(WallClock::new(START)),
            model: Arc::new(Mutex::new(Model::new(scenario.webex.clone()))),
            crash: CrashPoint::default(),
            faults: Mutex::new(faults),
            checker: Mutex::new(InvariantChecker::new(seed, &scenario, lines, START)),
            next_event: Mutex::new(START),
        });
        Self {
            env,
            rng,
            memory: Arc::new(MemoryStore::new()),
            dir: scenario.sqlite.then(|| tempfile::tempdir().unwrap()),
            now: START,
            end: START + scenario.size.days * DAY,
            starts: 0,
            refresh_all: false,
            planned: None,
            scenario,
        }
    }

    /// Runs one process from its start to its end. All its memory is dropped with its runtime.
    fn run_process(&mut self) -> RunEnd {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(async {
            self.env.clock.resume_at(self.now);
            self.env.crash.renew();
            let end = self.work().await;
            self.now = self.env.clock.true_time();
            self.env.checker().ended(&format!("the daemon ends: {end:?}"));
            end
        });
        drop(runtime);
        end
    }

    async fn work(&mut self) -> RunEnd {
        let store = self.store();
        self.check_stored_grants(&*store);
        self.starts += 1;
        let refresh_all = std::mem::take(&mut self.refresh_all);
        self.env.checker().started(
            &format!("start {}, all due: {refresh_all}", self.starts),
            refresh_all || self.starts > 1,
        );
        let (process, mut looping) =
            DaemonProcess::open(&self.env, &self.scenario, store.clone(), self.starts, refresh_all);
        if self.starts == 1 {
            for person in 0..self.scenario.size.persons {
                let delay = self.rng.between(Duration::ZERO, 12 * HOUR);
                process.consent(person, delay, SECOND);
            }
        }
        loop {
            let now = self.env.clock.true_time();
            if now >= self.end {
                return self.finish(&process, &*store).await;
            }
            let gap = self.rng.between(SECOND, self.scenario.size.gap).min(self.end.until(now));
            let planned = self.planned.take_if(|(from, _)| *from <= now + gap);
            let gap = planned.map_or(gap, |(from, _)| from.until(now));
            if let Some(end) = self.wait(gap, &mut looping).await {
                return end;
            }
            if let Some((_, until)) = planned {
                self.planned_outage(until);
                continue;
            }
            if self.env.clock.true_time() < self.end
                && let Some(end) = self.run_event(&process, &mut looping).await
            {
                return end;
            }
        }
    }

    /// Lets time pass. Returns how the process ended, if it did.
    async fn wait(&self, gap: Duration, looping: &mut JoinHandle<()>) -> Option<RunEnd> {
        *self.env.next_event.lock().unwrap() = self.env.clock.true_time() + gap;
        tokio::select! {
            biased;
            () = self.env.crash.crashed() => return Some(self.killed()),
            _ = looping => self.env.checker().violate("9 (bounds)", "the event loop ended by itself"),
            () = sleep(gap) => {}
        }
        self.check_logs();
        self.env.checker().broken.is_some().then_some(RunEnd::Over)
    }

    /// Passes the captured log to the checker.
    fn check_logs(&self) {
        let mut checker = self.env.checker();
        captured_logs().iter().for_each(|(_, line)| checker.holds_no_secret(line));
    }

    pub(super) fn killed(&self) -> RunEnd {
        let mut checker = self.env.checker();
        checker.stats.crashes += 1;
        if checker.broken.is_some() { RunEnd::Over } else { RunEnd::Killed }
    }

    fn store(&self) -> Arc<dyn Store> {
        let now = self.env.clock.now();
        match &self.dir {
            None => {
                self.memory.reopen(now);
                self.memory.clone()
            }
            Some(dir) => {
                let (path, key) = (dir.path().join("db"), dir.path().join("key"));
                Arc::new(SqliteStore::open(&path, &key, "simulated", now).unwrap().0)
            }
        }
    }

    fn id(&self, person: usize) -> PersonId {
        PersonId::parse(&self.scenario.webex.people[person].id).unwrap()
    }

    fn check_stored_grants(&self, store: &dyn Store) {
        for person in 0..self.scenario.size.persons {
            let grant = block_in_poll(store.find(self.id(person))).unwrap();
            self.env.checker().check_restored(person, grant.as_ref());
        }
    }

    /// Stops the process by a signal: work in progress is finished, as in `daemon`.
    pub(super) async fn stop(&mut self, process: &DaemonProcess, looping: &mut JoinHandle<()>) -> RunEnd {
        self.env.checker().record("a signal");
        process.tasks.stop();
        let all = async {
            let _ = looping.await;
            process.tasks.drained().await;
        };
        let drained = tokio::select! {
            biased;
            () = self.env.crash.crashed() => return self.killed(),
            drained = timeout(DRAIN_TIMEOUT, all) => drained.is_ok(),
        };
        let mut checker = self.env.checker();
        if !drained && !checker.in_store_trouble() {
            checker.violate("9 (bounds)", "work in progress was not finished in the grace period");
        }
        if checker.broken.is_some() {
            return RunEnd::Over;
        }
        drop(checker);
        if self.rng.per_mille(200) {
            self.scenario.policy.max_age = self.rng.pick(&[DAY / 2, DAY, 5 * DAY]);
            self.env.checker().max_age(self.scenario.policy.max_age);
        }
        self.refresh_all = self.rng.per_mille(100);
        RunEnd::Stopped
    }

    fn stay_down(&mut self) {
        let down = if self.rng.coin() {
            self.rng.between(SECOND, MINUTE)
        } else {
            self.rng.log_uniform(MINUTE, 2 * DAY)
        };
        self.now = self.now + down;
        if self.scenario.kinds.contains(&EventKind::ClockSet) && self.rng.per_mille(100) {
            self.set_clock(true);
        }
    }

    /// All faults are over. After some sleeps and the longest back-off, every grant must be healthy.
    async fn finish(&self, process: &DaemonProcess, store: &dyn Store) -> RunEnd {
        self.env.faults().clear();
        self.env.crash.renew();
        self.env.checker().record("all faults are over");
        let (rest, over) = (3 * self.scenario.policy.sleep + 16 * HOUR, self.env.clock.true_time());
        *self.env.next_event.lock().unwrap() = over + rest;
        sleep(rest).await;
        self.check_logs();
        let well_since = self.env.checker().last_good;
        if well_since > over + 8 * HOUR && process.refresher.pause().is_some() {
            self.env.checker().violate("at the end", "refreshes pause, though Webex answers well");
        }
        for person in 0..self.scenario.size.persons {
            let grant = block_in_poll(store.find(self.id(person))).unwrap();
            let now = self.env.clock.true_time().0;
            let live = |token: &str| self.env.model().is_live(token, now);
            self.env.checker().at_the_end(person, grant.as_ref(), live);
        }
        RunEnd::Over
    }
}
