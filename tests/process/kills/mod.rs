//! SIGKILL at random times, while refreshes are always running, clients read tokens and people consent.
//!
//! The short form (ten kills) runs with all tests. The long form kills a hundred times, or as often as `KILLS` says:
//!
//! ```sh
//! KILLS=300 KILLS_SEED=7 cargo test --test main -- --ignored --nocapture process::kills
//! ```
//!
//! `KILLS_SEED` determines the times; without it, a seed is drawn and printed. The times are the same for the same
//! seed, but what the daemon does at those times is not.
//!
//! After each kill the files are copied, and the copy is opened as the next start would open it: everything that was
//! ever shown (a token to a reader, *Access Granted* to a person) must be in it, or something newer. A loss of power
//! cannot be tested this way, because the system keeps what a killed process has written.
//!
//! A refresh in flight when its daemon is killed counts until Webex notices that the connection is gone; the next start
//! waits for that. From then on no two refreshes of one grant may be in flight at once.

mod durability;
mod load;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use reqwest::StatusCode;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use webex_sim::Person;
use webex_sim::RefreshToken;
use webex_sim::Settings;
use webex_sim::Sim;

use crate::process::kills::load::Load;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim_with;
use crate::support::time::HANG_TIMEOUT;

/// Number of persons who consent before the first kill.
const CONSENTED_BEFORE: usize = 40;

/// Number of persons who first consent while the daemon is being killed.
const CONSENTING_DURING: usize = 20;

/// Refreshes are always running: every grant is due again after 864 ms, and the loop wakes every second.
const ALWAYS_DUE: [(&str, &str); 5] = [
    ("EVENT_LOOP_SLEEP_SECONDS", "1"),
    ("EVENT_LOOP_DAYS", "0.00001"),
    ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
    ("EVENT_LOOP_FLOOR_SECONDS", "0"),
    ("EVENT_LOOP_MAX_PER_SECOND", "0"),
];

/// No grant is due for a day.
const NEVER_DUE: [(&str, &str); 2] = [("EVENT_LOOP_SLEEP_SECONDS", "3600"), ("EVENT_LOOP_DAYS", "1")];

/// Random numbers (splitmix64) that are the same for the same seed.
struct KillRng(u64);

impl KillRng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    /// How long a daemon runs until it is killed, and whether that counts from its start (one in three) or from when it
    /// listens.
    fn life(&mut self) -> (bool, Duration) {
        let young = self.below(3) == 0;
        (young, Duration::from_millis(5 + self.below(if young { 120 } else { 1_400 })))
    }
}

/// Counts of kills by what the daemon was doing.
#[derive(Debug, Default)]
struct KillCounts {
    kills: usize,
    starting: usize,
    refreshing: usize,
}

/// Webex with a new access token at each refresh and no limit on their number.
fn webex_without_limits(refresh_token: RefreshToken) -> Settings {
    Settings {
        refresh_token,
        noop_window: Duration::ZERO,
        token_limit: usize::MAX,
        people: Person::some(CONSENTED_BEFORE + CONSENTING_DURING),
        ..Settings::default()
    }
}

const ROTATING: RefreshToken = RefreshToken::RotatingWithGrace(Duration::from_secs(60));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_lose_no_token() {
    survive(webex_without_limits(RefreshToken::Stable), 10, seed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_lose_no_token_with_rotating_refresh_tokens() {
    survive(webex_without_limits(ROTATING), 10, seed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a hundred kills or more, two minutes for each hundred"]
async fn a_hundred_kills_lose_no_token() {
    survive(webex_without_limits(RefreshToken::Stable), kills(), seed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: a hundred kills or more, two minutes for each hundred"]
async fn a_hundred_kills_lose_no_token_with_rotating_refresh_tokens() {
    survive(webex_without_limits(ROTATING), kills(), seed()).await;
}

fn kills() -> usize {
    number("KILLS").map_or(100, |kills| usize::try_from(kills).unwrap())
}

fn seed() -> u64 {
    number("KILLS_SEED").unwrap_or_else(fresh)
}

/// Differs in each process and at each call.
fn fresh() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0)
}

#[expect(clippy::disallowed_methods, reason = "a parameter of the test run")]
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

async fn survive(settings: Settings, kills: usize, seed: u64) {
    println!("{kills} kills, {:?}, KILLS_SEED={seed}", settings.refresh_token);
    let begun = Instant::now();
    let sim = Arc::new(start_sim_with(settings).await);
    let mut daemon = Daemon::start(&sim, &ALWAYS_DUE).await;
    consent_all(&daemon).await;
    let load = Arc::new(Load::new(sim.clone(), &daemon, reading_key(&daemon).await));
    (0..CONSENTED_BEFORE).for_each(|person| load.granted(person));

    let mut working = JoinSet::new();
    load.clone().begin(&mut working, seed);
    let counts = kill_repeatedly(&mut daemon, &load, kills, KillRng(seed)).await;
    load.end();
    while let Some(ended) = working.join_next().await {
        ended.expect("a task of the load panicked");
    }

    all_are_renewed(&sim).await;
    daemon.restart(&NEVER_DUE).await;
    every_grant_works(&daemon, &load).await;
    assert_eq!(daemon.terminate().await.code, Some(0));
    durability::holds_everything_shown(&daemon.state_dir(), &load).await;
    let counters = counters(&sim);
    assert_eq!(counters.most_in_flight_for_one_token, 1, "never two refreshes of one grant at once");
    assert_eq!(counters.refreshes.refused, 0, "no refresh token was lost");
    load.assert_no_failures();
    println!("{counts:?}, {:?}; {load}; {:.1?}", counters.refreshes, begun.elapsed());
}

async fn kill_repeatedly(daemon: &mut Daemon, load: &Load, kills: usize, mut rng: KillRng) -> KillCounts {
    let mut counts = KillCounts::default();
    while counts.kills < kills {
        let (young, life) = rng.life();
        if !young {
            eventually("the daemon listens", || listens(daemon) || daemon.has_ended()).await;
        }
        tokio::time::sleep(life).await;
        let in_flight = counters(load.sim()).in_flight;
        // While no daemon runs the port is free, and another test may be using it right now.
        if daemon.has_ended() {
            let log = daemon.final_log().await;
            assert!(
                log.iter().any(|line| line.contains("cannot listen")),
                "the daemon ended by itself: {log:?}"
            );
            daemon.begin_restart(&[]);
            continue;
        }
        daemon.kill();
        let log = daemon.final_log().await;
        counts.kills += 1;
        counts.starting += usize::from(!listens(daemon));
        counts.refreshing += usize::from(in_flight > 0);
        let panics = log.iter().filter(|line| line.contains("panicked"));
        assert_eq!(panics.count(), 0, "{log:?}");
        let _paused = load.pause().await;
        durability::holds_everything_shown(&daemon.state_dir(), load).await;
        eventually("Webex notices that the daemon is gone", || counters(load.sim()).in_flight == 0).await;
        daemon.begin_restart(&[]);
    }
    daemon.wait_for_line("listening on").await;
    counts
}

fn listens(daemon: &Daemon) -> bool {
    daemon.log().iter().any(|line| line.contains("listening on"))
}

/// With real consents, several at a time.
async fn consent_all(daemon: &Daemon) {
    let some = |first: usize| async move {
        let visitor = BrowserClient::new();
        for person in (first..CONSENTED_BEFORE).step_by(4) {
            assert_eq!(visitor.consent(daemon, person).await.status, 200);
        }
    };
    tokio::join!(some(0), some(1), some(2), some(3));
}

/// A client of the control socket.
fn control(daemon: &Daemon) -> Client {
    let socket = daemon.state_dir().join("control.sock");
    Client::builder().unix_socket(socket).no_proxy().timeout(HANG_TIMEOUT * 2).build().unwrap()
}

async fn reading_key(daemon: &Daemon) -> String {
    let ask = control(daemon).post("http://localhost/api/v1/keys");
    let made = ask.json(&json!({"name": "reader", "can": ["read"]})).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

/// Claims that were open at a kill are taken over at the next start, not when their leases end.
async fn all_are_renewed(sim: &Sim) {
    let renewed = || -> Vec<u64> {
        let people = counters(sim).people;
        people[..CONSENTED_BEFORE].iter().map(|person| person.refreshes.renewed).collect()
    };
    let before = renewed();
    eventually("each is renewed once more", || renewed().iter().zip(&before).all(|(now, then)| now > then))
        .await;
}

/// Asserts for every grant that its refresh token yields a new access token which Webex accepts.
async fn every_grant_works(daemon: &Daemon, load: &Load) {
    let control = control(daemon);
    for (person, email) in load.persons() {
        let url = format!("http://localhost/api/v1/people/{email}");
        let forced =
            control.post(format!("{url}/refresh")).json(&json!({"force": true})).send().await.unwrap();
        let forced: Value = forced.json().await.unwrap();
        assert_eq!(forced["outcome"], "renewed", "{email}: {forced}");
        let answer = control.get(format!("{url}/token")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer: Value = answer.json().await.unwrap();
        load.shown(person, answer["access_token"].as_str().unwrap());
    }
}
