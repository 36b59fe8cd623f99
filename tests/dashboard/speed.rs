//! Speed with a million people. Prints its measurements: `cargo test --release --test main -- --ignored --nocapture
//! dashboard::speed`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use webex_tokend::clock::Clock;
use webex_tokend::clock::SystemClock;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Claim;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::Lease;
use webex_tokend::store::sqlite::SqliteStore;

use super::harness::DashboardServer;
use super::harness::HTTPS_REDIRECT_URI;
use super::harness::OperatorBrowser;
use crate::support::many_grants;

fn bytes_of(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("tokend.db")).unwrap().len()
}

fn told(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!("{name}: p50 {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100));
    at(50)
}

/// The time for each of the first pages, each from the end of the one before.
async fn parts(browser: &mut OperatorBrowser, path: &str) -> Vec<Duration> {
    let (mut next, mut times) = (path.to_owned(), Vec::new());
    while times.len() < 50 {
        let begun = Instant::now();
        let page = browser.get(&next).await;
        times.push(begun.elapsed());
        let Some((before, _)) = page.text.split_once("\">Next</a>") else { return times };
        let link = before.rsplit_once("href=\"").unwrap().1;
        next = link.trim_start_matches("/webex").replace("&#38;", "&").replace("&amp;", "&");
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fills a store with a million people; run it in a release build"]
async fn the_first_page_is_fast_at_a_million_people() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    many_grants::store_many(dir.path(), "id", 1_000_000, SystemClock.now()).await;
    println!("1,000,000 people stored in {:?}, {} MB", begun.elapsed(), bytes_of(dir.path()) / 1_000_000);
    let begun = Instant::now();
    let server = DashboardServer::with_settings(
        HTTPS_REDIRECT_URI,
        &[("TOKEND_STATE_DIR", dir.path().to_str().unwrap())],
    )
    .await;
    println!("opened and served in {:?}", begun.elapsed());
    let mut browser = server.sign_in_operator("op").await;
    let mut slowest = Duration::ZERO;
    for path in [
        "/dashboard",
        "/dashboard?q=lovelace",
        "/dashboard?q=ada.99",
        "/dashboard?q=unknown",
        "/dashboard?state=consent_needed",
        "/dashboard?state=consent_ending",
        "/dashboard?state=retrying",
        "/dashboard?state=working",
        "/dashboard?sort=person",
        "/dashboard?sort=-person",
        "/dashboard?sort=next",
        "/dashboard?sort=-next",
    ] {
        let mut times = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            let page = browser.get(path).await;
            times.push(begun.elapsed());
            assert_eq!(page.status, 200);
        }
        slowest = slowest.max(told(path, times));
        told(&format!("{path}, 50 parts"), parts(&mut browser, path).await);
    }
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fills a store with a hundred thousand people; run it in a release build"]
async fn claim_and_commit_are_fast_at_a_hundred_thousand_people() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock);
    many_grants::store_many(dir.path(), "id", 100_000, clock.now()).await;
    println!("100,000 people: {} MB", bytes_of(dir.path()) / 1_000_000);
    let opened = SqliteStore::open(&dir.path().join("tokend.db"), &dir.path().join("key"), "id", clock.now());
    let store = Arc::new(opened.unwrap().0);
    // A few due grants at a time, as the loop claims them.
    let mut running = JoinSet::new();
    let (begun, mut done) = (Instant::now(), 0);
    for hour in 0..30 {
        let now = clock.now() + Duration::from_secs(3600 * hour);
        let claims = claims(&store, now).await;
        done += claims.len();
        claims.into_iter().for_each(|claim| {
            running.spawn(commit(store.clone(), claim, now));
        });
        while let Some(kept) = running.join_next().await {
            kept.unwrap();
        }
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    println!("{done} claims and commits, {rate:.0} a second");
}

async fn claims(store: &SqliteStore, now: UnixTime) -> Vec<Claim> {
    let lease = Lease { now, owner: "this".to_owned(), end: now + Duration::from_secs(180) };
    let ask =
        ClaimRequest { lease, due_by: now, limit: 4096, except: Vec::new(), order: ClaimOrder::LeastLife };
    store.claim_due(ask).await.unwrap().claims
}

async fn commit(store: Arc<SqliteStore>, claim: Claim, now: UnixTime) {
    let Claim { mut grant, fence } = claim;
    (grant.renewed_at, grant.last.at) = (now, now);
    grant.tokens.expires_at = now + Duration::from_secs(14 * 86_400);
    grant.tokens.refresh_token_expires_at = Some(now + Duration::from_secs(90 * 86_400));
    grant.next = Schedule::at(now + Duration::from_secs(86_400));
    store.commit(fence, grant).await.unwrap();
}
