//! The cost of stored grants that are not due: start, memory, wakes, bytes.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::Lease;
use webex_tokend::store::sqlite::SqliteStore;

use crate::Size;
use crate::client::Tls;
use crate::client::Way;
use crate::daemon::Daemon;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::Times;
use crate::figures::float;
use crate::figures::spoken;
use crate::persons;
use crate::sample_grants;

const DUE: usize = 1_000;

pub(crate) async fn measure(table: &mut Table, size: Size) {
    let sizes: &[usize] = if size.small { &[0, 1_000] } else { &[0, 1_000, 100_000, 1_000_000] };
    for people in sizes.iter().copied() {
        let sim = persons::sim(1, Duration::ZERO).await;
        let home = Home::new(&sim);
        let now = UnixTime(sim.now_ms());
        {
            let store = Arc::new(home.store(now));
            let kept =
                sample_grants::keep(&store, (0..people).map(|number| sample_grants::stored(number, now)))
                    .await;
            assert_eq!(store.totals().await.unwrap().people, u64::try_from(kept).unwrap());
        }
        if people > 0 {
            let bytes = home.stored_bytes() / u64::try_from(people).unwrap();
            let shown = format!("{bytes} bytes a grant");
            table.note(&format!("{people} stored: size of the store"), shown.clone(), "none set");
            table.grows("size of the store", people, float(usize::try_from(bytes).unwrap()), shown);
        }
        starts(table, &home, people, size).await;
        memory(table, &home, people).await;
        let store = Arc::new(home.store(now));
        idle_wakes(table, &store, people, now, size).await;
        if people >= DUE {
            busy_wakes(table, &store, people, now, size).await;
        }
        assert_eq!(store.totals().await.unwrap().people, u64::try_from(people).unwrap());
    }
}

/// From the start of the process to the first response, including the first TLS handshake.
async fn starts(table: &mut Table, home: &Home, people: usize, size: Size) {
    let mut times = Times::default();
    for _ in 0..size.of(20, 1) {
        let way = Way::Http1(Tls::new(home.port, &home.certificate_pem, "http/1.1", false));
        let begun = Instant::now();
        let daemon = home.spawn(&[]);
        let mut client = loop {
            match way.try_connect().await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_micros(200)).await,
            }
        };
        assert_eq!(client.get("/healthz", &[]).await.status, 200);
        times.add(begun.elapsed());
        drop(daemon);
    }
    let times = times.sorted();
    let what = format!("{people} stored: process start to /healthz (p50 / p99 / p99.9)");
    table.note(&what, times.spread(), "under 40 ms");
    grew(table, "process start to /healthz, by what is stored", people, times.middle());
}

/// Records a duration at this number of stored grants.
fn grew(table: &mut Table, what: &str, people: usize, seconds: f64) {
    if people > 0 {
        table.grows(what, people, seconds, spoken(seconds));
    }
}

async fn memory(table: &mut Table, home: &Home, people: usize) {
    let daemon = home.start(&[]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (all, _) = daemon.resident();
    let target = if people == 0 { "under 12 MiB" } else { "under 64 MiB" };
    let what = format!("{people} stored: resident memory, idle (of this its own, not mapped from files)");
    table.note(&what, held(&daemon), target);
    if people == 0 {
        return;
    }
    let (all, shown) = (float(usize::try_from(all).unwrap()), held(&daemon));
    table.grows("resident memory, idle, by what is stored", people, all, shown);
    // Reads the tokens of many persons, one after another, to fill the caches of the daemon and of SQLite.
    let mut client = Way::Unix(home.control_socket()).connect().await;
    for number in (0..people).step_by((people / 20_000).max(1)) {
        let id = sample_grants::stored(number, UnixTime(0)).person.id;
        let answered = client.get(&format!("/api/v1/people/{id}/token"), &[]).await;
        assert_eq!(answered.status, 200);
    }
    let what = format!("{people} stored: resident memory after reading up to 20,000 tokens");
    table.note(&what, held(&daemon), target);
}

fn held(daemon: &Daemon) -> String {
    let (all, own) = daemon.resident();
    let [all, own] = [all, own].map(|bytes| {
        let tenths = bytes * 10 / (1 << 20);
        format!("{}.{} MiB", tenths / 10, tenths % 10)
    });
    format!("{all} ({own})")
}

/// The queries of a wake with nothing due.
async fn idle_wakes(table: &mut Table, store: &SqliteStore, people: usize, now: UnixTime, size: Size) {
    let mut times = Times::default();
    for _ in 0..size.of(5_000, 20) {
        let asked = Instant::now();
        let claims = store.claim_due(ask(now, 16)).await.unwrap();
        store.next_wake(UnixTime(i64::MIN)).await.unwrap();
        times.add(asked.elapsed());
        assert!(claims.claims.is_empty());
    }
    let times = times.sorted();
    let what = format!("{people} stored: a wake with nothing due (p50 / p99 / p99.9)");
    table.note(&what, times.spread(), "under 1 ms, at most 2x its cost at 1,000");
    grew(table, "a wake with nothing due, by what is stored", people, times.middle());
}

/// The queries of a wake with a thousand grants due.
async fn busy_wakes(table: &mut Table, store: &Arc<SqliteStore>, people: usize, now: UnixTime, size: Size) {
    let mut times = Times::default();
    for _ in 0..size.of(10, 1) {
        let due = (0..DUE).map(|number| {
            let mut grant = sample_grants::stored(number * (people / DUE), now);
            grant.next = Schedule::at(now);
            grant
        });
        sample_grants::keep(store, due).await;
        let begun = Instant::now();
        assert_eq!(one_pass(store, now).await, DUE);
        times.add(begun.elapsed());
    }
    let times = times.sorted();
    let what = format!("{people} stored: {DUE} due claimed and kept, 64 at a time (p50 / p99 / p99.9)");
    table.note(&what, times.spread(), "grows with what is due");
    grew(table, &format!("a wake with {DUE} due, by what is stored"), people, times.middle());
}

/// Claims all due grants and commits them as renewed; returns their number.
async fn one_pass(store: &Arc<SqliteStore>, now: UnixTime) -> usize {
    let mut done = 0;
    loop {
        let claims = store.claim_due(ask(now, 64)).await.unwrap().claims;
        if claims.is_empty() {
            return done;
        }
        done += claims.len();
        let mut commits = JoinSet::new();
        for claim in claims {
            let (store, mut grant) = (store.clone(), claim.grant);
            grant.next = Schedule::at(now + sample_grants::DAY);
            commits.spawn(async move { store.commit(claim.fence, grant).await.unwrap() });
        }
        while let Some(committed) = commits.join_next().await {
            assert_eq!(committed.unwrap(), Committed::Kept);
        }
    }
}

fn ask(now: UnixTime, limit: usize) -> ClaimRequest {
    let lease = Lease { now, owner: "load".to_owned(), end: now + Duration::from_secs(600) };
    ClaimRequest { lease, due_by: now, limit, except: Vec::new(), order: ClaimOrder::LeastLife }
}
