//! Years of consents in virtual time, with sinks that fail in turn and crashes at any await.
//!
//! Both ways in which Webex may date refresh tokens are simulated (webex-api, open question 3). What must hold:
//!
//! - each event of the history reaches every sink, with one id,
//! - a sink gets an event twice only if a crash came between its delivery and the storing of the outcome,
//! - a grant whose end Webex had reported ends only after a notice at least seven days before,
//! - while refreshes extend a consent, no notice says that it ends.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;
use webex_sim::RefreshLife;
use webex_sim::Settings;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::HistoryPage;
use webex_tokend::notices::Notices;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::Sink;
use webex_tokend::store::history::HistoryStore;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::tasks::Tasks;

use crate::notices::simulation::Rng;
use crate::notices::world::TestSink;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;

const PERSONS: usize = 3;

/// Type, person and time of an event.
type Fact = (String, String, UnixTime);

struct Years {
    services: TestServices,
    store: Arc<MemoryStore>,
    sinks: [Arc<TestSink>; 2],
    rng: Rng,
    crashes: u32,
    facts: BTreeSet<Fact>,
}

impl Years {
    fn new(refresh_life: RefreshLife, seed: u64) -> Self {
        let settings = Settings { refresh_life, ..Settings::default() };
        let store = Arc::new(MemoryStore::new());
        let services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
        let sinks = [TestSink::new("webhook"), TestSink::new("command")];
        let rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { services, store, sinks, rng, crashes: 0, facts: BTreeSet::new() }
    }

    /// Starts a process. It ends with the runtime.
    async fn start(&mut self, now: UnixTime) {
        self.services.clock.resume_at(now);
        self.store.reopen(self.services.clock.now());
        self.services.context.cache.invalidate_all();
        let [webhook, command] = self.sinks.clone();
        let sinks: Vec<Arc<dyn Sink>> = vec![webhook, command];
        let context = self.services.context.clone();
        let notices = Notices::new(context, self.store.clone(), self.store.clone(), sinks);
        Arc::new(notices).start(&Tasks::new());
        self.services.start(false).await;
    }

    /// A few days of a process: one sink at a time fails, and persons consent again some time after they must.
    async fn live(&mut self) {
        for _ in 0..=self.rng.below(12) {
            let failing = usize::try_from(self.rng.below(2)).unwrap();
            self.sinks[failing].is_down();
            sleep(self.rng.span(20 * HOUR)).await;
            self.sinks[failing].answers(DeliveryResult::Taken);
            sleep(2 * HOUR).await;
            let person = usize::try_from(self.rng.below(3)).unwrap();
            if self.services.grant(person).await.status == GrantStatus::ConsentNeeded {
                self.services.consent(person).await;
            }
        }
        sleep(self.rng.span(HOUR)).await;
    }

    /// A process that crashes at a random time. Returns that time.
    async fn live_and_crash(&mut self, now: UnixTime) -> UnixTime {
        self.start(now).await;
        let newcomers = if self.crashes == 0 { PERSONS } else { 0 };
        self.services.consent_all(newcomers).await;
        self.live().await;
        // The history keeps 400 days, so it is read more often.
        self.collect_facts().await;
        self.services.clock.true_time()
    }

    /// Simulates this many days, and then three days without a crash or a failure.
    fn run(&mut self, days: u32) {
        let (mut now, end) = (START, START + DAY * days);
        while now < end {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            now = runtime.block_on(self.live_and_crash(now));
            drop(runtime);
            self.crashes += 1;
            now = now + self.rng.span(HOUR);
        }
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            self.start(now).await;
            sleep(3 * DAY).await;
            self.collect_facts().await;
        });
    }

    /// Remembers the events in the history.
    async fn collect_facts(&mut self) {
        let page = HistoryPage { person: None, before: None, limit: 100_000 };
        let history = self.store.history(page).await.unwrap();
        for (_, entry) in history.into_iter().filter(|(_, entry)| !entry.what.starts_with("refresh.")) {
            let person = entry.person.map(|id| id.to_string());
            self.facts.insert((entry.what, person.unwrap_or_default(), entry.at));
        }
    }

    fn assert_all_facts_reached_every_sink(&self, context: &str) {
        for sink in &self.sinks {
            let (mut ids, mut again) = (BTreeMap::new(), 0);
            for notice in sink.taken().iter() {
                let fact = (notice.kind.as_str().to_owned(), notice.queue(), notice.at);
                let before = ids.insert(notice.id.clone(), fact.clone());
                again += u32::from(before.is_some());
                assert_eq!(before.unwrap_or_else(|| fact.clone()), fact, "{context}: one id, two events");
            }
            let reached: BTreeSet<Fact> = ids.values().cloned().collect();
            assert_eq!(reached.len(), ids.len(), "{context}: one event, two ids");
            assert_eq!(reached, self.facts, "{context}: {}", sink.name());
            assert!(again <= self.crashes * 8, "{context}: {again} came again in {} crashes", self.crashes);
        }
    }
}

/// For each end of a grant, how long before it the first notice about it came.
fn warnings_before_ends(taken: &[Notice]) -> Vec<Duration> {
    let mut first: BTreeMap<String, UnixTime> = BTreeMap::new();
    let mut warnings = Vec::new();
    for notice in taken {
        match notice.kind.as_str() {
            "consent.expiring" => _ = first.entry(notice.queue()).or_insert(notice.at),
            "consent.granted" => _ = first.remove(&notice.queue()),
            "consent.needed" => {
                let warned = first.remove(&notice.queue()).expect("a notice before the end");
                warnings.push(notice.at.since(warned));
            }
            _ => {}
        }
    }
    warnings
}

/// `NOTICE_DAYS=1100 NOTICE_SEEDS=20` simulates three years with more seeds.
fn asked(name: &str, default: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how much to simulate is asked for in the environment")]
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn years_of_consents_that_refreshes_do_not_extend_end_only_after_a_notice_a_week_before() {
    for seed in 1..=u64::from(asked("NOTICE_SEEDS", 1)) {
        let mut years = Years::new(RefreshLife::CountsDown, seed);
        years.run(asked("NOTICE_DAYS", 200));
        let context = format!("seed {seed}");
        years.assert_all_facts_reached_every_sink(&context);
        for sink in &years.sinks {
            let taken = sink.taken();
            let warnings = warnings_before_ends(&taken);
            assert!(warnings.len() >= 4, "{context}: {} grants ended", warnings.len());
            let shortest = warnings.iter().min().unwrap();
            assert!(*shortest >= 7 * DAY, "{context}: a notice came {shortest:?} before the end");
        }
    }
}

#[test]
fn years_of_consents_that_refreshes_extend_are_silent() {
    for seed in 1..=u64::from(asked("NOTICE_SEEDS", 1)) {
        let mut years = Years::new(RefreshLife::Renewed, seed);
        years.run(asked("NOTICE_DAYS", 200));
        years.assert_all_facts_reached_every_sink(&format!("seed {seed}"));
        for sink in &years.sinks {
            let words: BTreeSet<&str> = sink.words().into_iter().collect();
            assert_eq!(words, BTreeSet::from(["consent.granted"]), "seed {seed}");
        }
    }
}
