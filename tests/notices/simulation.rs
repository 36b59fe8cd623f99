//! Months of notices in virtual time, generated from a seed: sinks that fail in turn, and crashes at any await.
//!
//! A crash drops the runtime with every task in it, wherever each of them waits, as `kill -9` would. Each seed runs with the
//! memory store, which survives the crash like a disk, and with the embedded store. What must hold at the end:
//!
//! - every sink that works within three days gets every event at least once,
//! - no event has two ids, and a sink gets a notice twice only if a crash came between its delivery and the storing of the
//!   outcome,
//! - every sink gets the notices about one person in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;
use webex_sim::RefreshLife;
use webex_sim::Settings;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::notices::Notices;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::notices::sink::Sink;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::tasks::Tasks;

use crate::notices::blocking_outbox::BlockingOutbox;
use crate::notices::world::NoticeHarness;
use crate::notices::world::TestSink;
use crate::store::fixtures::StoreDir;
use crate::support::time::DAY;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;
use crate::support::virtual_time::POLICY;
use crate::support::virtual_time::RATE_LIMITS;
use crate::support::virtual_time::START;
use crate::support::virtual_time::TestServices;
use crate::support::virtual_time::WallClock;

/// A random number generator with a seed (xorshift).
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(super) fn span(&mut self, longest: Duration) -> Duration {
        Duration::from_millis(self.below(u64::try_from(longest.as_millis()).unwrap()))
    }
}

const PERSONS: u64 = 6;

fn fail(rng: &mut Rng) -> DeliveryResult {
    let retry_after = (rng.below(4) == 0).then(|| rng.span(HOUR));
    DeliveryResult::Failed { why: "HTTP 500".to_owned(), retry_after, sink_failed: rng.below(4) > 0 }
}

/// One process: it creates notices, its sinks fail and recover, and it ends at a random time, wherever its tasks wait.
async fn live(harness: &NoticeHarness, sinks: &[Arc<TestSink>], rng: &mut Rng, n: &mut u64) {
    for _ in 0..=rng.below(6) {
        harness.add(&format!("p{}", rng.below(PERSONS)), *n).await;
        *n += 1;
        let sink = &sinks[usize::try_from(rng.below(2)).unwrap()];
        let answer = if rng.below(3) == 0 { fail(rng) } else { DeliveryResult::Taken };
        sink.answers(answer);
        *sink.delay.lock().unwrap() = rng.span(Duration::from_secs(40));
        let longest = if rng.below(3) == 0 { 8 * HOUR } else { 3 * MINUTE };
        sleep(rng.span(longest)).await;
    }
}

/// What survives a crash.
enum Disk {
    Memory,
    /// The files of an embedded store.
    Files(StoreDir),
}

fn run(seed: u64, disk: &Disk) {
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(WallClock::new(START)));
    let sinks = [TestSink::new("webhook"), TestSink::new("command")];
    let (mut now, mut n, mut crashes) = (START, 0, 0);
    let process = |now: UnixTime| {
        clock.resume_at(now);
        store.reopen(clock.now());
        let outbox: Arc<dyn OutboxStore> = match disk {
            Disk::Memory => store.clone(),
            Disk::Files(dir) => Arc::new(BlockingOutbox(dir.open_now(clock.now()))),
        };
        NoticeHarness::with_outbox(outbox, store.clone(), clock.clone(), &[&sinks[0], &sinks[1]])
    };
    while crashes < 25 {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        now = runtime.block_on(async {
            let harness = process(now);
            live(&harness, &sinks, &mut rng, &mut n).await;
            clock.true_time()
        });
        drop(runtime);
        crashes += 1;
        now = now + rng.span(HOUR);
    }
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let _harness = process(now);
        for sink in &sinks {
            sink.answers(DeliveryResult::Taken);
            *sink.delay.lock().unwrap() = Duration::ZERO;
        }
        sleep(3 * DAY).await;
    });
    for sink in &sinks {
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        sink.taken().iter().for_each(|notice| *times.entry(notice.id.clone()).or_default() += 1);
        assert_eq!(times.len() as u64, n, "seed {seed}: events that reached {}", sink.name());
        let again: u32 = times.values().map(|times| times - 1).sum();
        assert!(again <= crashes * 8, "seed {seed}: {again} came again");
        for person in 0..PERSONS {
            let seen = firsts(sink.versions(&format!("p{person}")));
            assert!(
                seen.is_sorted() || sink.has_refused_single_notices(),
                "seed {seed}: p{person}: {seen:?}"
            );
        }
    }
}

/// The versions without repetitions.
fn firsts(versions: Vec<u64>) -> Vec<u64> {
    let mut seen = Vec::new();
    for version in versions {
        if !seen.contains(&version) {
            seen.push(version);
        }
    }
    seen
}

/// `NOTICE_SEEDS=200` runs more seeds.
#[test]
fn sinks_that_fail_and_crashes_at_any_await_lose_no_notice() {
    #[expect(clippy::disallowed_methods, reason = "how much to simulate is asked for in the environment")]
    let seeds = std::env::var("NOTICE_SEEDS").map_or(6, |text| text.parse().unwrap());
    // With seed 20, a sink refuses single notices for days.
    for seed in (1..=seeds).chain([20]) {
        run(seed, &Disk::Memory);
        run(seed, &Disk::Files(StoreDir::new()));
    }
}

/// The notices about three persons' grants within this number of days: for each person, the times by type.
async fn grants_over(refresh_life: RefreshLife, days: u32) -> Vec<BTreeMap<&'static str, Vec<UnixTime>>> {
    let settings = Settings { refresh_life, ..Settings::default() };
    let store = Arc::new(MemoryStore::new());
    let mut services = TestServices::with_store(store.clone(), settings, POLICY, RATE_LIMITS);
    let sink = TestSink::new("webhook");
    let notices = Notices::new(services.context.clone(), store.clone(), store, vec![sink.clone()]);
    let (harness, tasks) = (Arc::new(notices), Tasks::new());
    harness.start(&tasks);
    services.start(false).await;
    services.consent_all(3).await;
    sleep(DAY * days).await;
    services.stop().await;
    tasks.stop();
    let mut persons = vec![BTreeMap::new(); 3];
    for notice in sink.taken().iter() {
        let person = (0..3).find(|person| services.id(*person).to_string() == notice.queue()).unwrap();
        persons[person].entry(notice.kind.as_str()).or_insert_with(Vec::new).push(notice.at);
    }
    persons
}

/// Both ways in which Webex may date refresh tokens (webex-api, open question 3). This is the first: refreshes do not extend a
/// consent.
#[tokio::test(start_paused = true)]
async fn no_grant_ends_without_notices_from_a_month_to_a_day_ahead() {
    for person in grants_over(RefreshLife::CountsDown, 100).await {
        let (expiring, needed) = (&person["consent.expiring"], &person["consent.needed"]);
        assert_eq!((expiring.len(), needed.len()), (5, 1), "{person:?}");
        assert!(needed[0].since(expiring[0]) >= DAY * 7);
        assert_eq!(person["consent.granted"].len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_end_refreshes_move_is_never_told_of_in_four_hundred_days() {
    for person in grants_over(RefreshLife::Renewed, 400).await {
        assert_eq!(person.keys().copied().collect::<Vec<_>>(), ["consent.granted"], "{person:?}");
    }
}
