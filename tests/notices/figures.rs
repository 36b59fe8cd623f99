//! Measures the cost of notices, with the embedded store and the real clock.
//!
//!     cargo test --release --test main -- --ignored --nocapture notices::figures

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::facts::after_refresh;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::store::Claim;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::store::sqlite::SqliteStore;

use crate::notices::world::NoticeHarness;
use crate::notices::world::TestSink;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::ask;
use crate::store::fixtures::claim;
use crate::store::fixtures::grant;
use crate::store::fixtures::renewed;
use crate::support::virtual_time::WallClock;

const PERSONS: usize = 10_000;

/// Maximum time for a commit of another refresh, on a busy machine.
const SLOWEST_COMMIT: Duration = Duration::from_secs(2);

async fn store_with(dir: &StoreDir, persons: usize) -> Arc<SqliteStore> {
    let store = Arc::new(dir.open());
    let mut consents = JoinSet::new();
    for n in 0..persons {
        let store = store.clone();
        consents.spawn(async move { store.save_consent(grant(&format!("p{n}"))).await.unwrap() });
    }
    consents.join_all().await;
    store
}

async fn claim_all(store: &SqliteStore) -> Vec<Claim> {
    let mut claims = Vec::new();
    loop {
        let some = claim(store, ask(0)).await;
        if some.is_empty() {
            return claims;
        }
        claims.extend(some);
    }
}

/// Commits all of these concurrently. Returns the average time of a commit.
async fn commit_all(store: &Arc<SqliteStore>, grants: Vec<(Claim, Grant)>) -> Duration {
    let (begun, number) = (Instant::now(), u32::try_from(grants.len()).unwrap());
    let mut commits = JoinSet::new();
    for (claim, grant) in grants {
        let store = store.clone();
        commits.spawn(async move { store.commit(claim.fence, grant).await });
    }
    assert!(commits.join_all().await.iter().all(|done| *done == Ok(Committed::Kept)));
    begun.elapsed() / number
}

/// A refresh that Webex refused for good.
fn refused(before: &Grant) -> Grant {
    let mut after = before.clone();
    (after.status, after.refused_since) = (GrantStatus::ConsentNeeded, Some(before.next.due_at));
    (after.last.outcome, after.last.at) = (Outcome::ConsentNeeded, before.next.due_at);
    after_refresh(before, after)
}

/// The grant after a refresh of this kind: 0 is a renewal that the history does not count, 1 one that is counted, and 2 a
/// refusal with a notice.
fn outcome(kind: usize, before: &Grant) -> Grant {
    match kind {
        0 => Grant { outbox_entries: OutboxEntries::default(), ..renewed(before, 0) },
        1 => after_refresh(before, renewed(before, 0)),
        _ => refused(before),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn the_cost_of_a_commit_with_and_without_news() {
    let mut rounds: Vec<[Duration; 3]> = Vec::new();
    for _ in 0..5 {
        let mut times = [Duration::ZERO; 3];
        for (kind, time) in times.iter_mut().enumerate() {
            let dir = StoreDir::new();
            let store = store_with(&dir, 2000).await;
            let sink = TestSink::new("webhook");
            let clock = Arc::new(WallClock::new(ask(0).lease.now));
            let memory = Arc::new(MemoryStore::new());
            let _harness = NoticeHarness::with_outbox(store.clone(), memory, clock, &[&sink]);
            let claims = claim_all(&store).await.into_iter();
            let commits =
                claims.map(|claim| (outcome(kind, &claim.grant), claim)).map(|(after, claim)| (claim, after));
            *time = commit_all(&store, commits.collect()).await;
        }
        println!(
            "one commit without news {:?}, counted {:?}, with a notice {:?}",
            times[0], times[1], times[2]
        );
        rounds.push(times);
    }
    let median = |kind: usize| {
        let mut all: Vec<Duration> = rounds.iter().map(|times| times[kind]).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    println!("medians: {:?}, {:?}, {:?}", median(0), median(1), median(2));
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three minutes"]
async fn ten_thousand_persons_losing_their_consents_in_a_minute_delay_no_refresh() {
    let dir = StoreDir::new();
    let store = store_with(&dir, PERSONS + 1).await;
    let mut claims = claim_all(&store).await;
    let healthy = claims.pop().unwrap();
    let sink = TestSink::new("webhook");
    let clock = Arc::new(WallClock::new(ask(0).lease.now));
    let _harness = NoticeHarness::with_outbox(store.clone(), Arc::new(MemoryStore::new()), clock, &[&sink]);
    let before = resident();
    let (begun, refreshing) = (Instant::now(), store.clone());
    let mut other = JoinSet::new();
    other.spawn(async move {
        let mut times = Vec::new();
        while begun.elapsed() < Duration::from_secs(90) {
            let asked = Instant::now();
            // The fence is no longer valid after the first commit. The store checks it all the same.
            let _ = refreshing.commit(healthy.fence, renewed(&healthy.grant, 1)).await.unwrap();
            times.push(asked.elapsed());
            sleep(Duration::from_millis(50)).await;
        }
        times
    });
    let step = Duration::from_secs(60) / u32::try_from(PERSONS).unwrap();
    for (n, claim) in (0..).zip(claims) {
        tokio::time::sleep_until(begun + step * n).await;
        let committed = store.commit(claim.fence, refused(&claim.grant)).await;
        assert_eq!(committed, Ok(Committed::Kept));
    }
    println!("all refused after {:?}", begun.elapsed());
    let mut times = other.join_all().await.concat();
    times.sort_unstable();
    // A digest is held, because more notices may join it.
    for _ in 0..180 {
        if sink.taken().is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    }
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    let grown = resident().saturating_sub(before) / 1024;
    println!("other commits: median {median:?}, slowest {slowest:?}; memory grew by {grown} KiB");
    assert_eq!(sink.words(), ["digest"]);
    assert_eq!(sink.taken()[0].data["persons"], PERSONS);
    assert!(slowest < SLOWEST_COMMIT, "{slowest:?}");
    assert!(grown < 64 * 1024, "{grown} KiB");
    assert_eq!(store.outbox_counts().await.unwrap()[0].waiting, 0);
}
