//! Measures small parts one by one. `cargo bench --bench parts`

#![expect(clippy::unwrap_used, reason = "a failed measurement aborts")]

mod sample_grants;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::BatchSize;
use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::Throughput;
use criterion::criterion_group;
use criterion::criterion_main;
use sample_grants::DAY;
use sample_grants::POLICY;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::ticket::Ticket;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::TokenResponse;
use webex_tokend::domain::verdict::TokenSet;
use webex_tokend::domain::verdict::Verdict;
use webex_tokend::grant_cache::GrantCache;
use webex_tokend::store::ClaimOrder;
use webex_tokend::store::ClaimRequest;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::Lease;
use webex_tokend::store::seal::Sealer;
use webex_tokend::store::sqlite::SqliteStore;

const NOW: UnixTime = UnixTime(1_790_000_000_000);

fn policy(bench: &mut Criterion) {
    let grant = sample_grants::stored(7, NOW);
    let (dates, who) = (grant.dates(), grant.person.id.clone());
    bench.bench_function("schedule: after an answer", |b| {
        b.iter(|| POLICY.after_answer(black_box(&dates), NOW))
    });
    bench.bench_function("schedule: after a failure", |b| {
        b.iter(|| Policy::after_failure(black_box(&dates), 3, None, &who, NOW));
    });
    let granted = TokenResponse::Granted(TokenSet {
        access_token: Secret::new("n".repeat(101)),
        refresh_token: None,
        expires_in: 14 * DAY,
        refresh_token_expires_in: Some(90 * DAY),
        token_type: None,
        scope: None,
    });
    let refused = TokenResponse::Refused {
        status: 400,
        text: "{\"message\":\"The refresh token provided is invalid, expired or revoked\"}".to_owned(),
        shown: "The refresh token provided is invalid".to_owned(),
    };
    for (name, fact) in [("renewed", granted), ("consent needed", refused)] {
        bench.bench_function(&format!("verdict: {name}"), |b| {
            let judge = |fact: TokenResponse| Verdict::from_response(fact, &grant.tokens.access_token);
            b.iter_batched(|| fact.clone(), judge, BatchSize::SmallInput);
        });
    }
}

fn sealing(bench: &mut Criterion) {
    let sealer = Sealer::new(&[7; 32]).unwrap();
    let token = Secret::new("t".repeat(101));
    let sealed = sealer.seal(&token, "grants\nclient\nperson\naccess_token").unwrap();
    bench.bench_function("seal a token", |b| {
        b.iter(|| sealer.seal(black_box(&token), "grants\nclient\nperson\naccess_token").unwrap());
    });
    bench.bench_function("open a token", |b| {
        b.iter(|| sealer.open(black_box(&sealed), "grants\nclient\nperson\naccess_token").unwrap());
    });
    bench.bench_function("seal a ticket and open it", |b| {
        b.iter(|| {
            let ticket = Ticket::new([1; 32], [2; 32], NOW);
            let sealed = sealer.seal(&ticket.to_text(), "ticket").unwrap();
            Ticket::from_text(&sealer.open(&sealed, "ticket").unwrap()).unwrap()
        });
    });
}

/// An empty store and its directory, which is removed when the value is dropped.
fn store() -> (Arc<SqliteStore>, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let (store, _) = SqliteStore::open(&path("tokend.db"), &path("key"), "client", NOW).unwrap();
    (Arc::new(store), home)
}

/// Claims due grants and commits them again, in one claim and one burst of durable commits.
fn claims(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (store, _home) = store();
    let due = (0..1_000).map(|number| {
        let mut grant = sample_grants::stored(number, NOW);
        grant.next = Schedule::at(NOW);
        grant
    });
    runtime.block_on(sample_grants::keep(&store, due));
    let mut group = bench.benchmark_group("claim and keep");
    for batch in [1_usize, 10, 100, 1_000] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(BenchmarkId::from_parameter(batch), &batch, |b, batch| {
            b.to_async(&runtime).iter(|| claim_and_keep(store.clone(), *batch));
        });
    }
    group.finish();
}

async fn claim_and_keep(store: Arc<SqliteStore>, batch: usize) {
    let lease = Lease { now: NOW, owner: "bench".to_owned(), end: NOW + Duration::from_secs(600) };
    let ask =
        ClaimRequest { lease, due_by: NOW, limit: batch, except: Vec::new(), order: ClaimOrder::LeastLife };
    let claims = store.claim_due(ask).await.unwrap().claims;
    assert_eq!(claims.len(), batch);
    let mut commits = JoinSet::new();
    for claim in claims {
        let (store, grant) = (store.clone(), claim.grant);
        commits.spawn(async move { store.commit(claim.fence, grant).await.unwrap() });
    }
    while let Some(done) = commits.join_next().await {
        done.unwrap();
    }
}

fn reads(bench: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (store, _home) = store();
    runtime
        .block_on(sample_grants::keep(&store, (0..1_000).map(|number| sample_grants::stored(number, NOW))));
    let cache = GrantCache::new(store);
    let person = sample_grants::stored(500, NOW).person.id;
    bench.bench_function("grant cache: a token at hand", |b| {
        b.to_async(&runtime).iter(|| async { cache.get(&person).await.unwrap().unwrap() });
    });
    bench.bench_function("grant cache: a token from the store", |b| {
        b.to_async(&runtime).iter(|| async {
            cache.invalidate(&person);
            cache.get(&person).await.unwrap().unwrap()
        });
    });
}

criterion_group!(parts, policy, sealing, claims, reads);
criterion_main!(parts);
