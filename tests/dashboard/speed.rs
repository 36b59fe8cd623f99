//! How fast it is at a million people. Prints what it measures; `cargo test --release --test main -- --ignored
//! --nocapture dashboard::speed`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;
use webex_tokend::clock::Clock;
use webex_tokend::clock::SystemClock;
use webex_tokend::domain::schedule::Next;
use webex_tokend::store::Ask;
use webex_tokend::store::Claim;
use webex_tokend::store::Lease;
use webex_tokend::store::Store;
use webex_tokend::store::sqlite::SqliteStore;

use super::world::SECURE;
use super::world::World;
use crate::support::crowd;

fn bytes_of(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("tokend.db")).unwrap().len()
}

fn told(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)];
    println!("{name}: p50 {:?}, p99 {:?}, worst {:?}", at(50), at(99), at(100));
    at(50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fills a store with a million people; run it in a release build"]
async fn the_first_page_is_fast_at_a_million_people() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    crowd::settle(dir.path(), "id", 1_000_000, SystemClock.now()).await;
    println!("1,000,000 people kept in {:?}, {} MB", begun.elapsed(), bytes_of(dir.path()) / 1_000_000);
    let begun = Instant::now();
    let world = World::with(SECURE, &[("TOKEND_STATE_DIR", dir.path().to_str().unwrap())]).await;
    println!("opened and served in {:?}", begun.elapsed());
    let mut browser = world.operator("op").await;
    let mut slowest = Duration::ZERO;
    for path in [
        "/dashboard",
        "/dashboard?q=lovelace",
        "/dashboard?q=ada.99",
        "/dashboard?q=nobody",
        "/dashboard?state=fresh",
        "/dashboard?state=due",
        "/dashboard?state=retrying",
        "/dashboard?state=consent_needed",
        "/dashboard?sort=person",
        "/dashboard?sort=-person",
        "/dashboard?sort=expires",
        "/dashboard?sort=-expires",
        "/dashboard?sort=next",
        "/dashboard?sort=-next",
        "/dashboard?sort=-consent",
    ] {
        let mut times = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            let page = browser.get(path).await;
            times.push(begun.elapsed());
            assert_eq!(page.status, 200);
        }
        slowest = slowest.max(told(path, times));
        // The next parts, each from where the last one ended.
        let (mut next, mut times) = (path.to_owned(), Vec::new());
        for _ in 0..50 {
            let begun = Instant::now();
            let page = browser.get(&next).await;
            times.push(begun.elapsed());
            let Some((before, _)) = page.text.split_once("\">Next</a>") else { break };
            let link = before.rsplit_once("href=\"").unwrap().1;
            next = link.trim_start_matches("/webex").replace("&#38;", "&").replace("&amp;", "&");
        }
        told(&format!("{path}, 50 parts"), times);
    }
    let begun = Instant::now();
    assert_eq!(browser.get("/dashboard/plan.svg").await.status, 200);
    println!("/dashboard/plan.svg, counted: {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(browser.get("/dashboard/plan.svg").await.status, 200);
    println!("/dashboard/plan.svg, known: {:?}", begun.elapsed());
    assert!(slowest < Duration::from_millis(50), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: fills a store with a hundred thousand people; run it in a release build"]
async fn what_a_claim_and_a_commit_cost_at_a_hundred_thousand_people() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), SystemClock);
    crowd::settle(dir.path(), "id", 100_000, clock.now()).await;
    println!("100,000 people: {} MB", bytes_of(dir.path()) / 1_000_000);
    let opened = SqliteStore::open(&dir.path().join("tokend.db"), &dir.path().join("key"), "id", clock.now());
    let store = Arc::new(opened.unwrap().0);
    for round in 0..3 {
        let begun = Instant::now();
        let (mut done, mut running) = (0, JoinSet::new());
        while done < 30_000 {
            let now = clock.now() + Duration::from_secs(30 * 86_400 * (round + 1));
            let lease = Lease { now, owner: "this".to_owned(), end: now + Duration::from_secs(180) };
            let ask = Ask { lease, due_by: now, limit: 64, except: Vec::new(), healthiest_first: false };
            let claims = store.claim_due(ask).await.unwrap().claims;
            for Claim { mut grant, fence } in claims {
                let store = store.clone();
                done += 1;
                running.spawn(async move {
                    grant.renewed_at = now;
                    grant.last.at = now;
                    grant.tokens.expires_at = now + Duration::from_secs(14 * 86_400);
                    grant.tokens.refresh_token_expires_at = Some(now + Duration::from_secs(90 * 86_400));
                    grant.next = Next::at(now + Duration::from_secs(86_400));
                    (grant.failures, grant.standing) = (0, webex_tokend::domain::grant::Standing::Alive);
                    store.commit(fence, grant).await.unwrap()
                });
            }
            while running.len() > 512 {
                running.join_next().await.unwrap().unwrap();
            }
        }
        while let Some(kept) = running.join_next().await {
            kept.unwrap();
        }
        println!(
            "round {round}: {:.0} claims and commits a second",
            f64::from(done) / begun.elapsed().as_secs_f64()
        );
    }
}
