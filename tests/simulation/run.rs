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
use webex_tokend::domain::grant::Standing;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::sqlite::SqliteStore;
use webex_tokend::tasks::GRACE;

use crate::simulation::dice::Dice;
use crate::simulation::fuse::Fuse;
use crate::simulation::house::House;
use crate::simulation::scenario::Kind;
use crate::simulation::scenario::MINUTE;
use crate::simulation::scenario::SECOND;
use crate::simulation::scenario::Scenario;
use crate::simulation::scenario::Size;
use crate::simulation::shelf::in_the_poll;
use crate::simulation::stage::Stage;
use crate::simulation::weather::Weather;
use crate::simulation::weather::name;
use crate::simulation::witness::Tally;
use crate::simulation::witness::Witness;
use crate::support::world::DAWN;
use crate::support::world::DAY;
use crate::support::world::HOUR;
use crate::support::world::WallClock;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What came of a seed.
pub(super) struct Outcome {
    pub(super) broken: Option<String>,
    pub(super) log: String,
    pub(super) fingerprint: (u64, u64),
    pub(super) tally: Tally,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Stopped,
    /// The simulated time is over, or something broke.
    Over,
}

struct Run {
    stage: Arc<Stage>,
    scenario: Scenario,
    dice: Dice,
    memory: Arc<MemoryStore>,
    dir: Option<TempDir>,
    now: UnixTime,
    end: UnixTime,
    starts: u32,
    all_now: bool,
}

pub(super) fn run(seed: u64, size: Size) -> Outcome {
    let mut dice = Dice::new(seed);
    let scenario = Scenario::draw(seed, size, &mut dice);
    let (days, persons) = (scenario.size.days, scenario.size.persons);
    let mut run = Run::new(seed, scenario, dice);
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
    fn new(seed: u64, scenario: Scenario, mut dice: Dice) -> Self {
        let weather = Weather::new(dice.others(), scenario.blips, scenario.liar);
        let stage = Arc::new(Stage {
            clock: Arc::new(WallClock::at(DAWN)),
            model: Arc::new(Mutex::new(Model::new(scenario.webex.clone()))),
            fuse: Fuse::default(),
            weather: Mutex::new(weather),
            witness: Mutex::new(Witness::new(seed, &scenario, DAWN)),
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
            if let Some(end) = self.wait(gap, &mut looping).await {
                return end;
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
        self.stage.witness().broken.is_some().then_some(End::Over)
    }

    fn killed(&self) -> End {
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

    fn somebody(&mut self) -> usize {
        self.dice.index(self.scenario.size.persons)
    }

    async fn happen(&mut self, house: &House, looping: &mut JoinHandle<()>) -> Option<End> {
        self.stage.witness().grant_verbs(60);
        self.needy_consent(house);
        if self.scenario.kinds.is_empty() {
            return None;
        }
        let kind = self.dice.pick(&self.scenario.kinds);
        let person = self.somebody();
        let now = self.stage.clock.true_time();
        match kind {
            Kind::Consent => house.consent(person, Duration::ZERO, self.pause()),
            Kind::TwoConsents => {
                let pause = self.pause();
                house.consent(person, Duration::ZERO, pause);
                house.consent(person, self.pause() / 100, pause);
            }
            Kind::ConsentDuringRefresh => self.consent_during_refresh(house, person),
            Kind::Forget => house.forget(person),
            Kind::Renew => house.renew(person, self.dice.coin()),
            Kind::Read => self.readers(house, person),
            Kind::Outage => {
                let (until, kind) = self.stage.weather().outage(now);
                let mut witness = self.stage.witness();
                witness.trouble_for_all(until);
                witness.tell(&format!("an outage until {until}: {}", name(&kind)));
            }
            Kind::Sickness => {
                let (until, kind) = self.stage.weather().sickness(person, now);
                let mut witness = self.stage.witness();
                witness.sick(person, until);
                witness.tell(&format!("person {person} is ill until {until}: {}", name(&kind)));
            }
            Kind::StoreTrouble => {
                let until = self.stage.weather().store_trouble(now);
                let mut witness = self.stage.witness();
                witness.store_trouble(until);
                witness.tell(&format!("the store is in trouble until {until}"));
            }
            Kind::Revoke => {
                self.stage.model().revoke_person(person);
                self.stage.witness().tell(&format!("person {person} revokes"));
            }
            Kind::ClockSet => self.set_clock(false),
            Kind::Suspend => {
                let span = self.dice.spread(MINUTE, 10 * DAY);
                self.stage.witness().suspended(span);
                self.stage.clock.suspend(span);
            }
            Kind::Crash => {
                self.stage.fuse.blow();
                return Some(self.killed());
            }
            Kind::CrashAtStep => {
                // Something that has steps, now and then.
                if self.dice.coin() {
                    house.renew(person, true);
                }
                if self.dice.coin() {
                    house.consent(person, Duration::ZERO, Duration::ZERO);
                }
                self.stage.fuse.set(1 + self.dice.below(40));
            }
            Kind::Restart => return Some(self.stop(house, looping).await),
        }
        None
    }

    fn pause(&mut self) -> Duration {
        self.dice.spread(Duration::from_millis(1), 4 * MINUTE)
    }

    /// People who must consent do so, sooner or later.
    fn needy_consent(&mut self, house: &House) {
        let first = self.somebody();
        let needs = |person: &usize| {
            let witness = self.stage.witness();
            let kept = witness.seen(*person).kept.as_ref();
            kept.is_none_or(|kept| kept.grant.standing == Standing::ConsentNeeded)
        };
        let persons = self.scenario.size.persons;
        let needy = (0..persons).map(|n| (first + n) % persons).find(needs);
        if let Some(person) = needy
            && self.dice.thousandths(300)
        {
            house.consent(person, Duration::ZERO, SECOND);
        }
    }

    fn consent_during_refresh(&mut self, house: &House, person: usize) {
        let by = self.dice.between(SECOND, 30 * SECOND);
        let now = self.stage.clock.true_time();
        self.stage.weather().slow(person, by, now);
        self.stage.witness().sick(person, now + 3 * MINUTE);
        house.renew(person, true);
        let delay = self.dice.between(Duration::ZERO, by);
        house.consent(person, delay, Duration::ZERO);
        if self.dice.coin() {
            house.forget(person);
        }
    }

    fn readers(&mut self, house: &House, person: usize) {
        let long = self.dice.coin();
        for _ in 0..1 + self.dice.below(5) {
            // All at once, or one after the other.
            let delay = if long { self.dice.between(Duration::ZERO, 10 * MINUTE) } else { Duration::ZERO };
            let min_ttl = self.dice.spread(Duration::ZERO, 15 * DAY);
            let patience = self.dice.pick(&[SECOND / 20, SECOND, 5 * MINUTE, 5 * MINUTE]);
            let other = if self.dice.coin() { person } else { self.somebody() };
            house.read(other, min_ttl, [delay, patience]);
        }
    }

    fn set_clock(&mut self, while_down: bool) {
        let span = self.dice.spread(SECOND, 3 * YEAR);
        let ms = i64::try_from(span.as_millis()).unwrap();
        // It comes back to the truth half of the time, and never goes further off than some years.
        let shift = self.stage.clock.shift_ms();
        let ms = if shift != 0 && (self.dice.coin() || shift.abs() > 2 * ms) {
            -shift
        } else if self.dice.coin() {
            -ms
        } else {
            ms
        };
        self.stage.clock.set_by(ms);
        self.stage.witness.lock().unwrap().clock_set(ms, while_down);
    }

    /// A signal: what runs is finished, as `daemon` does.
    async fn stop(&mut self, house: &House, looping: &mut JoinHandle<()>) -> End {
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
