//! One seed from its first moment to its last: processes of the daemon one after the other, and what happens to them.

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
use webex_tokend::tasks::GRACE;

use crate::simulation::crash::Fuse;
use crate::simulation::env::Stage;
use crate::simulation::faults::Weather;
use crate::simulation::faulty_store::in_the_poll;
use crate::simulation::invariants::Tally;
use crate::simulation::invariants::Witness;
use crate::simulation::process::House;
use crate::simulation::rng::Dice;
use crate::simulation::scenario::Kind;
use crate::simulation::scenario::Scenario;
use crate::simulation::scenario::Size;
use crate::support::heard_here;
use crate::support::listen_here;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::time::SECOND;
use crate::support::virtual_time::DAWN;
use crate::support::virtual_time::WallClock;

/// What came of a seed.
pub(super) struct Outcome {
    pub(super) broken: Option<String>,
    pub(super) log: String,
    pub(super) fingerprint: (u64, u64),
    pub(super) tally: Tally,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Killed,
    Stopped,
    /// The simulated time is over, or something broke.
    Over,
}

pub(super) struct Run {
    pub(super) stage: Arc<Stage>,
    pub(super) scenario: Scenario,
    pub(super) dice: Dice,
    memory: Arc<MemoryStore>,
    dir: Option<TempDir>,
    now: UnixTime,
    end: UnixTime,
    starts: u32,
    all_now: bool,
    /// From when until when Webex is going to be down.
    pub(super) planned: Option<(UnixTime, UnixTime)>,
}

/// Keeps the last `lines` of what happened.
pub(super) fn run(seed: u64, size: Size, lines: usize) -> Outcome {
    listen_here();
    let mut dice = Dice::new(seed);
    let scenario = Scenario::draw(seed, size, &mut dice);
    let (days, persons) = (scenario.size.days, scenario.size.persons);
    let mut run = Run::new(seed, scenario, lines, dice);
    while run.live() != End::Over {
        run.be_down();
    }
    let mut witness = run.stage.witness.lock().unwrap();
    witness.tally.seeds = 1;
    witness.tally.person_days = u64::from(days) * persons as u64;
    Outcome {
        broken: witness.broken.clone(),
        log: witness.log.last_lines(),
        fingerprint: witness.log.fingerprint(),
        tally: witness.tally,
    }
}

impl Run {
    fn new(seed: u64, scenario: Scenario, lines: usize, mut dice: Dice) -> Self {
        let weather = Weather::new(dice.others(), scenario.blips, scenario.liar);
        let stage = Arc::new(Stage {
            clock: Arc::new(WallClock::at(DAWN)),
            model: Arc::new(Mutex::new(Model::new(scenario.webex.clone()))),
            fuse: Fuse::default(),
            weather: Mutex::new(weather),
            witness: Mutex::new(Witness::new(seed, &scenario, lines, DAWN)),
            next_event: Mutex::new(DAWN),
        });
        Self {
            stage,
            dice,
            memory: Arc::new(MemoryStore::new()),
            dir: scenario.sqlite.then(|| tempfile::tempdir().unwrap()),
            now: DAWN,
            end: DAWN + scenario.size.days * DAY,
            starts: 0,
            all_now: false,
            planned: None,
            scenario,
        }
    }

    /// One process, from its start to its end. With its runtime everything goes that it had in memory.
    fn live(&mut self) -> End {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(async {
            self.stage.clock.go_on(self.now);
            self.stage.fuse.renew();
            let end = self.work().await;
            self.now = self.stage.clock.true_time();
            self.stage.witness().ended(&format!("the daemon ends: {end:?}"));
            end
        });
        drop(runtime);
        end
    }

    async fn work(&mut self) -> End {
        let store = self.store();
        self.look_after_the_start(&*store);
        self.starts += 1;
        let all_now = std::mem::take(&mut self.all_now);
        self.stage
            .witness()
            .started(&format!("start {}, all due: {all_now}", self.starts), all_now || self.starts > 1);
        let (house, mut looping) =
            House::open(&self.stage, &self.scenario, store.clone(), self.starts, all_now);
        if self.starts == 1 {
            for person in 0..self.scenario.size.persons {
                let delay = self.dice.between(Duration::ZERO, 12 * HOUR);
                house.consent(person, delay, SECOND);
            }
        }
        loop {
            let now = self.stage.clock.true_time();
            if now >= self.end {
                return self.finish(&house, &*store).await;
            }
            let gap = self.dice.between(SECOND, self.scenario.size.gap).min(self.end.until(now));
            let planned = self.planned.take_if(|(from, _)| *from <= now + gap);
            let gap = planned.map_or(gap, |(from, _)| from.until(now));
            if let Some(end) = self.wait(gap, &mut looping).await {
                return end;
            }
            if let Some((_, until)) = planned {
                self.planned_outage(until);
                continue;
            }
            if self.stage.clock.true_time() < self.end
                && let Some(end) = self.happen(&house, &mut looping).await
            {
                return end;
            }
        }
    }

    /// Lets time go by; says so if the process did not live to see the end of it.
    async fn wait(&self, gap: Duration, looping: &mut JoinHandle<()>) -> Option<End> {
        *self.stage.next_event.lock().unwrap() = self.stage.clock.true_time() + gap;
        tokio::select! {
            biased;
            () = self.stage.fuse.blown() => return Some(self.killed()),
            _ = looping => self.stage.witness().breach("9 (bounds)", "the event loop ended by itself"),
            () = sleep(gap) => {}
        }
        self.hear();
        self.stage.witness().broken.is_some().then_some(End::Over)
    }

    /// Shows the witness what was logged.
    fn hear(&self) {
        let mut witness = self.stage.witness();
        heard_here().iter().for_each(|(_, line)| witness.holds_no_secret(line));
    }

    pub(super) fn killed(&self) -> End {
        let mut witness = self.stage.witness();
        witness.tally.crashes += 1;
        if witness.broken.is_some() { End::Over } else { End::Killed }
    }

    fn store(&self) -> Arc<dyn Store> {
        let now = self.stage.clock.now();
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

    fn look_after_the_start(&self, store: &dyn Store) {
        for person in 0..self.scenario.size.persons {
            let grant = in_the_poll(store.find(self.id(person))).unwrap();
            self.stage.witness().found(person, grant.as_ref());
        }
    }

    /// A signal: what runs is finished, as `daemon` does.
    pub(super) async fn stop(&mut self, house: &House, looping: &mut JoinHandle<()>) -> End {
        self.stage.witness().tell("a signal");
        house.tasks.stop();
        let all = async {
            let _ = looping.await;
            house.tasks.drained().await;
        };
        let drained = tokio::select! {
            biased;
            () = self.stage.fuse.blown() => return self.killed(),
            drained = timeout(GRACE, all) => drained.is_ok(),
        };
        let mut witness = self.stage.witness();
        if !drained && !witness.in_store_trouble() {
            witness.breach("9 (bounds)", "what runs was not finished in the time of grace");
        }
        if witness.broken.is_some() {
            return End::Over;
        }
        drop(witness);
        if self.dice.thousandths(200) {
            self.scenario.policy.max_age = self.dice.pick(&[DAY / 2, DAY, 5 * DAY]);
            self.stage.witness().max_age(self.scenario.policy.max_age);
        }
        self.all_now = self.dice.thousandths(100);
        End::Stopped
    }

    fn be_down(&mut self) {
        let down = if self.dice.coin() {
            self.dice.between(SECOND, MINUTE)
        } else {
            self.dice.spread(MINUTE, 2 * DAY)
        };
        self.now = self.now + down;
        if self.scenario.kinds.contains(&Kind::ClockSet) && self.dice.thousandths(100) {
            self.set_clock(true);
        }
    }

    /// All trouble is over. After some sleeps and the longest back-off everything must be well.
    async fn finish(&self, house: &House, store: &dyn Store) -> End {
        self.stage.weather().clear();
        self.stage.fuse.renew();
        self.stage.witness().tell("all trouble is over");
        let (rest, over) = (3 * self.scenario.policy.sleep + 16 * HOUR, self.stage.clock.true_time());
        *self.stage.next_event.lock().unwrap() = over + rest;
        sleep(rest).await;
        self.hear();
        let well_since = self.stage.witness().last_good;
        if well_since > over + 8 * HOUR && house.refresher.pause().is_some() {
            self.stage.witness().breach("at the end", "refreshes pause, though Webex answers well");
        }
        for person in 0..self.scenario.size.persons {
            let grant = in_the_poll(store.find(self.id(person))).unwrap();
            let now = self.stage.clock.true_time().0;
            let live = |token: &str| self.stage.model().is_live(token, now);
            self.stage.witness().at_the_end(person, grant.as_ref(), live);
        }
        End::Over
    }
}
