//! The real binary over its life: the loop in real time, restarts, the test hook, secrets, wrong settings.

mod certificate;
mod kills;
mod memory;
mod proxy;
mod sandbox;
mod secrets;
mod settings;
mod signals;
mod socket_group;
mod stalled_log_reader;
mod store_faults;
mod suspended;

use std::net::TcpListener;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use webex_sim::Settings;
use webex_sim::Sim;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::Setup;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim;
use crate::support::start_sim_with;

/// At every second wake, every grant is older than this.
const SHORT_LOOP: [(&str, &str); 3] = [
    ("EVENT_LOOP_SLEEP_SECONDS", "1"),
    ("EVENT_LOOP_DAYS", "0.00002"),
    ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
];

const KILLS: usize = 3;

fn renewing() -> Settings {
    Settings { noop_window: Duration::ZERO, ..Settings::default() }
}

fn renewed(sim: &Sim, person: usize) -> u64 {
    counters(sim).people.get(person).map_or(0, |person| person.refreshes.renewed)
}

async fn all_renewed(sim: &Sim, persons: usize, times: u64) {
    let before: Vec<u64> = (0..persons).map(|person| renewed(sim, person)).collect();
    eventually("each is renewed so many times more", || {
        (0..persons).all(|person| renewed(sim, person) >= before[person] + times)
    })
    .await;
}

#[tokio::test]
async fn several_persons_are_refreshed_again_and_again_across_restarts_and_kills() {
    let sim = start_sim_with(renewing()).await;
    let mut daemon = Daemon::start(&sim, &SHORT_LOOP).await;
    for person in 0..4 {
        assert_eq!(BrowserClient::new().consent(&daemon, person).await.status, 200);
    }
    all_renewed(&sim, 4, 3).await;

    let ended = daemon.terminate().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    daemon.restart(&[]).await;
    daemon.wait_for_line("store: 4 grants in").await;
    all_renewed(&sim, 4, 2).await;

    for _ in 0..KILLS {
        daemon.kill();
        daemon.restart(&[]).await;
        daemon.wait_for_line("store: 4 grants in").await;
        all_renewed(&sim, 4, 1).await;
    }

    assert_eq!(counters(&sim).most_in_flight_for_one_token, 1);
    assert_eq!(counters(&sim).refreshes.refused, 0);
    for person in 0..4 {
        let starts = counters(&sim).people[person].starts_ms.clone();
        let gaps: Vec<i64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        // A refresh that was interrupted by a kill is sent again at the next start.
        let early = gaps.iter().filter(|gap| **gap <= 1_700).count();
        assert!(early <= KILLS, "older than 1.728 s each time except after a kill: {gaps:?}");
        let usual = gaps.iter().filter(|gap| (1_700..=3_200).contains(*gap)).count();
        assert!(usual * 2 > gaps.len(), "usually at every second wake: {gaps:?}");
    }
}

#[tokio::test]
async fn the_test_hook_refreshes_its_person_at_the_first_wake() {
    let sim = start_sim().await;
    let two_days_ago = sim.now_ms() - 2 * 86_400_000;
    let tokens = sim.with(|webex| webex.mint(two_days_ago, 0));
    let id = sim.with(|webex| webex.settings().people[0].id.clone());
    let hook = [
        ("TEST_PERSON_ID", id.as_str()),
        ("TEST_ACCESS_TOKEN", tokens.access_token.as_str()),
        ("TEST_REFRESH_TOKEN", tokens.refresh_token.as_str()),
    ];
    let mut daemon = Daemon::start(&sim, &hook).await;
    daemon.wait_for_line("was added to the store, due for a refresh at once").await;
    daemon.wait_for_line(&format!("{id}: access token renewed")).await;
    assert_eq!(counters(&sim).refreshes.attempts, 1);

    daemon.restart(&[]).await;
    daemon.wait_for_line("its tokens are kept and are due").await;
    daemon.wait_for_line(&format!("{id}: access token unchanged")).await;
    assert_eq!(counters(&sim).refreshes.attempts, 2);
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_refused_and_the_first_goes_on() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let state = daemon.state_dir();
    let second = settings::run(&sim, &[("TOKEND_STATE_DIR", state.to_str().unwrap())]);
    assert_eq!(second.code, 5, "{}", second.stderr);
    assert!(second.stderr.contains("is in use by another webex-tokend"), "{}", second.stderr);
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
}

#[tokio::test]
async fn a_port_in_use_is_reported_and_the_daemon_does_not_start() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let port = daemon.port().to_string();
    let second = settings::run(&sim, &[("MY_APP_PORT", &port)]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{}", second.stderr);
    assert!(
        second.stderr.contains("a command needs the TOKEND_STATE_DIR of that daemon"),
        "{}",
        second.stderr
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_reported_with_its_own_advice() {
    let run = settings::run(&start_sim().await, &[("TOKEND_BIND", "192.0.2.1")]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let told = run.stderr.contains("change TOKEND_BIND to an address of this machine");
    assert!(told && !run.stderr.contains("stop what listens there"), "{}", run.stderr);
}

/// Secret files that other users can read are reported. Kubernetes provides secrets with mode 0644, on a read-only file
/// system in memory that only one service has.
#[tokio::test]
async fn secret_files_that_others_can_read_are_reported_at_start() {
    const KEPT: &str = "umask 022; chmod 755 \"$0\"; mkdir \"$0/kept\"; printf secret >\"$0/kept/secret\"";
    const MOUNTED: &str = "umask 022; chmod 755 \"$0\"; mkdir \"$0/kept\"; mount -t tmpfs -o mode=755 tmpfs \"$0/kept\"; \
        printf secret >\"$0/kept/secret\"; mount -o remount,ro \"$0/kept\"";
    let sim = start_sim().await;
    let file = [("MY_APP_SECRET_ID", ""), ("MY_APP_SECRET_ID_FILE", "{home}/kept/secret")];
    for (setup, told) in [(Setup::Shell(KEPT), true), (Setup::Namespace(MOUNTED), false)] {
        if !setup.is_possible() {
            eprintln!("skipped: mounting is not permitted here");
            continue;
        }
        let daemon = Daemon::start_with_setup(&sim, &file, setup).await;
        let log = daemon.log();
        let line = "WARN  MY_APP_SECRET_ID_FILE: every user of this machine can read the secret in ";
        assert_eq!(log.iter().any(|text| text.contains(line)), told, "{setup:?}: {log:?}");
    }
}

/// Browsers try `::1` first for `localhost`: a program that listens there would get the codes.
#[tokio::test]
async fn a_port_in_use_on_ipv6_loopback_fails_the_start() {
    let Ok(other) = TcpListener::bind("[::1]:0") else { return };
    let port = other.local_addr().unwrap().port().to_string();
    let run = settings::run(&start_sim().await, &[("MY_APP_PORT", &port)]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("cannot listen on [::1]:{port}: Address already in use")),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn only_listening_addresses_are_logged() {
    let sim = start_sim().await;
    let open = ("MY_APP_REDIRECT_URI", "https://tokens.example.com/oauth");
    for settings in [vec![open], vec![]] {
        let daemon = Daemon::start_without_health_check(&sim, &settings).await;
        daemon.wait_for_line(" to consent").await;
        let (log, port) = (daemon.log(), daemon.port());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
        let is_told = log.iter().any(|line| line.contains(" INFO  listening on [::"));
        assert_eq!(is_told, TcpStream::connect(("::1", port)).is_ok(), "{log:?}");
    }
}

/// The names of the valid API keys.
async fn key_names(daemon: &Daemon) -> Vec<String> {
    let answer = control(daemon).get("http://localhost/api/v1/keys").send().await.unwrap();
    let keys: Value = answer.json().await.unwrap();
    keys["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
}

async fn revoke_key(daemon: &Daemon, name: &str) {
    let url = format!("http://localhost/api/v1/keys/{name}");
    assert_eq!(control(daemon).delete(url).send().await.unwrap().status(), 204);
}

fn control(daemon: &Daemon) -> reqwest::Client {
    let socket = daemon.state_dir().join("control.sock");
    reqwest::Client::builder().unix_socket(socket).no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_restored_backup_is_refreshed_and_continues() {
    const OLDER: &str = "is older than the one that was here last";
    let sim = start_sim_with(renewing()).await;
    let mut daemon = Daemon::start(&sim, &SHORT_LOOP).await;
    for person in [0, 1] {
        assert_eq!(BrowserClient::new().consent(&daemon, person).await.status, 200);
    }
    for name in ["kept", "stolen"] {
        let made = control(&daemon).post("http://localhost/api/v1/keys").json(&json!({ "name": name }));
        assert_eq!(made.send().await.unwrap().status(), 201);
    }
    daemon.terminate().await;
    let database = daemon.state_dir().join("tokend.db");
    let backup = std::fs::read(&database).unwrap();
    let old = daemon.stored_grants();
    daemon.restart(&[]).await;
    assert!(!daemon.log().iter().any(|line| line.contains(OLDER)), "{:?}", daemon.log());
    all_renewed(&sim, 2, 3).await;
    revoke_key(&daemon, "stolen").await;
    daemon.terminate().await;

    // One person's refresh token has died since the backup, for example by a consent elsewhere.
    sim.with(|webex| webex.revoke_person(1));
    std::fs::write(&database, backup).unwrap();
    assert_eq!(
        format!("{:?}", daemon.stored_grants()),
        format!("{old:?}"),
        "older than the last token that Webex issued"
    );
    daemon.restart(&[]).await;
    let told = daemon.wait_for_line(OLDER).await;
    assert!(told.contains(" WARN ") && told.contains("`webex-tokend key list`"), "{told}");
    assert_eq!(
        key_names(&daemon).await,
        ["kept", "stolen"],
        "the revoked key is valid again, as the warning says"
    );
    daemon.wait_for_line("store: 2 grants in").await;
    all_renewed(&sim, 1, 3).await;
    eventually("the dead refresh token was tried", || counters(&sim).refreshes.refused > 0).await;
    assert_eq!(daemon.stored_grants().len(), 2, "a refusal deletes nothing");
    assert_eq!(BrowserClient::new().consent(&daemon, 1).await.status, 200);
    all_renewed(&sim, 2, 3).await;

    revoke_key(&daemon, "stolen").await;
    daemon.restart(&[]).await;
    assert_eq!(key_names(&daemon).await, ["kept"]);
    assert!(!daemon.log().iter().any(|line| line.contains(OLDER)), "it was reported: {:?}", daemon.log());
}
