//! A pass over many due grants, compared with a bare client that sends the same requests and stores nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;
use webex_sim::Sim;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::GrantQueries;

use crate::Size;
use crate::client::Way;
use crate::client::share;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::float;
use crate::figures::median;
use crate::figures::spoken;
use crate::persons;
use crate::plain::Plain;
use crate::sample_grants;

/// The value of `EVENT_LOOP_CONCURRENCY`.
const IN_FLIGHT: usize = 64;

/// The durations of one round.
struct Round {
    ours: Duration,
    bare: Duration,
    /// The bare client that stores everything in the simplest way.
    plain: Duration,
    /// webex-sim alone, with the minimal client.
    sim: Duration,
}

pub(crate) async fn measure(table: &mut Table, size: Size) {
    for (people, latency, target) in [
        (size.of(2_000, 100), 50, "at most 1.15x the time of bare, 1.3x of the ideal"),
        (size.of(20_000, 200), 50, "grows with what is due"),
        (size.of(2_000, 100), 0, "at least 0.7x the rate of bare"),
        (size.of(20_000, 200), 0, "grows with what is due"),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..size.of(if people > 10_000 { 3 } else { 5 }, 1) {
            rounds.push(round(people, Duration::from_millis(latency)).await);
        }
        add(table, &rounds, people, latency, target);
    }
}

fn add(table: &mut Table, rounds: &[Round], people: usize, latency: u64, target: &str) {
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let (ours, bare) = (middle(|it| it.ours.as_secs_f64()), middle(|it| it.bare.as_secs_f64()));
    let longer = middle(|it| it.ours.as_secs_f64() / it.bare.as_secs_f64());
    let ideal = float(people) / float(IN_FLIGHT) * Duration::from_millis(latency).as_secs_f64();
    let mut ratio = format!("{longer:.2}x the time, {:.2}x the rate", 1.0 / longer);
    if latency > 0 {
        ratio += &format!("; {:.2}x the ideal {ideal:.2} s", ours / ideal);
    }
    let say = |seconds: f64| format!("{seconds:.3} s, {:.0}/s", float(people) / seconds);
    let what = format!("a pass over {people} due, Webex at {latency} ms, {IN_FLIGHT} in flight");
    table.add(&what, [say(ours), say(bare), ratio], target);
    table.grows(&format!("a pass, Webex at {latency} ms, by what is due"), people, ours, spoken(ours));
    let plain = middle(|it| it.plain.as_secs_f64());
    let than_plain = middle(|it| it.plain.as_secs_f64() / it.ours.as_secs_f64());
    let what = format!(
        "the same {people} calls, a bare client that claims and keeps in one table of SQLite, durably"
    );
    let ratio = format!("{:.2}x the rate of bare; ours is {than_plain:.2}x of this", bare / plain);
    table.add(&what, [String::new(), say(plain), ratio], "the floor");
    let sim = say(middle(|it| it.sim.as_secs_f64()));
    let what = format!("the same {people} calls, webex-sim alone, {IN_FLIGHT} lean connections");
    table.add(&what, [String::new(), sim, String::new()], "faster than the above");
}

/// The daemon's and the bare client's durations for the same persons at the same Webex.
async fn round(people: usize, latency: Duration) -> Round {
    let sim = persons::sim(people, latency).await;
    let home = Home::new(&sim);
    let grants: Vec<_> = (0..people).map(|person| persons::due(&sim, person)).collect();
    let tokens = grants.iter().map(|grant| grant.tokens.refresh_token.expose().to_owned());
    let tokens = Arc::new(tokens.collect::<Vec<_>>());
    {
        let store = Arc::new(home.store(UnixTime(sim.now_ms())));
        assert_eq!(sample_grants::keep(&store, grants.into_iter()).await, people);
    }
    let lean = lean_pass(&sim, tokens.clone()).await;
    let bare = bare_pass(&sim, tokens.clone(), None).await;
    let plain = Plain::new(&home.path("plain.db"), i64::try_from(people).unwrap());
    let plain = bare_pass(&sim, tokens, Some(plain)).await;
    let before = calls(&sim, people);
    let mut daemon = home.spawn(&[]);
    let (begun, _) = daemon.line("looking for old tokens").await;
    let (ended, line) = daemon.line(" due: ").await;
    assert!(line.contains(&format!("{people} due: {people} renewed, 0 unchanged, 0 failed")), "{line}");
    for (person, (after, before)) in calls(&sim, people).into_iter().zip(before).enumerate() {
        assert_eq!(after - before, 1, "person {person} was refreshed once");
    }
    drop(daemon);
    let now = UnixTime(sim.now_ms());
    let store = home.store(now);
    assert_eq!(store.totals().await.unwrap().people, u64::try_from(people).unwrap());
    // No new token is lost: Webex accepts the tokens in the store.
    for person in (0..people).step_by(people.div_ceil(100)) {
        let grant = store.find(persons::known(&sim, person).id).await.unwrap().unwrap();
        let live = sim.with(|webex| webex.is_live(grant.tokens.access_token.expose(), now.0));
        assert!(live, "the token of person {person} is the last one");
    }
    Round { ours: ended.duration_since(begun), bare, plain, sim: lean }
}

/// The number of refresh requests of each person.
fn calls(sim: &Sim, people: usize) -> Vec<usize> {
    let counters = sim.with(|webex| webex.counters());
    let of = |person: usize| counters.people.get(person).map_or(0, |person| person.starts_ms.len());
    (0..people).map(of).collect()
}

async fn lean_pass(sim: &Sim, tokens: Arc<Vec<String>>) -> Duration {
    let (id, secret) = client(sim);
    let count = tokens.len();
    let way = Way::Plain(sim.address());
    let work = share(&way, IN_FLIGHT, count, move |mut client, at| {
        let (tokens, id, secret) = (tokens.clone(), id.clone(), secret.clone());
        async move {
            let answered = client.post("/v1/access_token", &form(&id, &secret, &tokens[at])).await;
            assert_eq!(answered.status, 200);
            client
        }
    });
    work.await.1
}

async fn bare_pass(sim: &Sim, tokens: Arc<Vec<String>>, plain: Option<Plain>) -> Duration {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let (id, secret) = client(sim);
    let url = format!("{}/access_token", sim.base_url());
    let next = Arc::new(AtomicUsize::new(0));
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..IN_FLIGHT {
        let (http, url, id, secret) = (http.clone(), url.clone(), id.clone(), secret.clone());
        let (tokens, next, plain) = (tokens.clone(), next.clone(), plain.clone());
        tasks.spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(token) = tokens.get(at) else { break };
                let person = i64::try_from(at).unwrap();
                if let Some(plain) = &plain {
                    plain.claim(person).await;
                }
                let answer = http.post(&url).form(&form(&id, &secret, token)).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let body = answer.bytes().await.unwrap();
                let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert!(answer["access_token"].is_string());
                if let Some(plain) = &plain {
                    plain.keep(person, &body).await;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    begun.elapsed()
}

fn client(sim: &Sim) -> (String, String) {
    sim.with(|webex| (webex.settings().client_id.clone(), webex.settings().client_secret.clone()))
}

fn form<'a>(id: &'a str, secret: &'a str, token: &'a str) -> [(&'static str, &'a str); 4] {
    [("grant_type", "refresh_token"), ("client_id", id), ("client_secret", secret), ("refresh_token", token)]
}
