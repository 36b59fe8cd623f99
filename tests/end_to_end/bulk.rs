//! Commands with many grants: several requests at once, and none lost when they are interrupted.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;
use webex_sim::Person;
use webex_sim::Settings;

use super::CommandOutput;
use super::DaemonFixture;
use super::always_new;
use super::program;
use crate::support::counters;
use crate::support::eventually;
use crate::support::time::HANG_TIMEOUT;

/// The first two persons of a [`DaemonFixture`] have consented already.
const FIRST: usize = 2;

const GRANTS: usize = 40;

async fn fixture(latency_ms: u64, settings: &[(&str, &str)]) -> DaemonFixture {
    let people = (0..FIRST + GRANTS).map(Person::numbered).collect();
    let latency = Duration::from_millis(latency_ms);
    let fixture = DaemonFixture::with_settings(Settings { people, latency, ..always_new() }, settings).await;
    let now = fixture.sim.now_ms();
    let line = |person| {
        let tokens = fixture.sim.with(|webex| webex.mint(now, FIRST + person));
        format!("{{\"refresh_token\":\"{}\"}}\n", tokens.refresh_token)
    };
    fs::write(file(&fixture), (0..GRANTS).map(line).collect::<String>()).unwrap();
    fixture
}

fn file(fixture: &DaemonFixture) -> std::path::PathBuf {
    fixture.daemon.state_dir().parent().unwrap().join("grants.jsonl")
}

fn refreshes(fixture: &DaemonFixture) -> u64 {
    counters(&fixture.sim).refreshes.attempts
}

#[tokio::test]
async fn many_grants_are_imported_at_once_and_webex_is_asked_once_about_each() {
    let fixture = fixture(50, &[("EVENT_LOOP_MAX_PER_SECOND", "0")]).await;
    let output = fixture.run("import grants.jsonl").await;
    assert_eq!(output.stdout.lines().filter(|line| line.contains(": new ")).count(), GRANTS, "{output:?}");
    assert!(output.stderr.contains("40 grants: 40 new"), "{output:?}");
    let seen = counters(&fixture.sim);
    assert!((5..=16).contains(&seen.most_in_flight), "{} calls at once", seen.most_in_flight);
    assert_eq!(seen.refreshes.attempts, 40);
    let again = fixture.run("import grants.jsonl").await;
    assert!(again.stderr.contains("0 replaced, 40 kept"), "{again:?}");
    assert!(again.stdout.contains("was imported before"), "{again:?}");
    assert_eq!(refreshes(&fixture), 40, "Webex is not asked again about the same grants");
    let output = fixture.run("refresh --all --force -j").await;
    let all: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).unwrap();
    assert!(output.stderr.contains("42 persons: "), "{output:?}");
    assert_eq!(all.len(), FIRST + GRANTS);
}

/// Interrupts the command when Webex has been asked some times, and waits for its end.
async fn interrupt(fixture: &DaemonFixture, command: Child) -> CommandOutput {
    let before = refreshes(fixture);
    eventually("some grants are sent", || refreshes(fixture) >= before + 6).await;
    let pid = command.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    timeout(HANG_TIMEOUT, command.wait_with_output()).await.expect("the command hangs").unwrap().into()
}

/// What a summary says: the number before this word.
fn counted(output: &CommandOutput, word: &str) -> usize {
    let (before, _) = output.stderr.split_once(&format!(" {word}")).unwrap_or_else(|| panic!("{output:?}"));
    before.split([' ', '\n']).next_back().unwrap().parse().unwrap_or_else(|_| panic!("{output:?}"))
}

async fn interrupted_import_loses_nothing(fixture: &DaemonFixture, mut command: tokio::process::Command) {
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = interrupt(fixture, run).await;
    assert_eq!(output.code, 1, "{output:?}");
    let (new, left) = (counted(&output, "new"), counted(&output, "not sent"));
    assert_eq!(new + left, GRANTS, "{output:?}");
    assert!(new >= 6 && left > 0, "{output:?}");
    assert!(output.stderr.contains("not imported; import left.jsonl to continue"), "{output:?}");
    let rest = fixture.daemon.state_dir().parent().unwrap().join("left.jsonl");
    assert_eq!(fs::read_to_string(rest).unwrap().lines().count(), left);
    assert_eq!(refreshes(fixture), new as u64, "each grant that was sent was answered");
}

#[tokio::test]
async fn an_interrupted_import_keeps_what_was_answered_and_names_what_is_left() {
    let fixture = fixture(50, &[]).await;
    let mut command = program(&fixture.daemon.state_dir());
    command.args(["import", "--failed-to", "left.jsonl", "grants.jsonl"]);
    interrupted_import_loses_nothing(&fixture, command).await;
    let again = fixture.run("import left.jsonl").await;
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(refreshes(&fixture), GRANTS as u64);
}

#[tokio::test]
async fn an_import_without_a_daemon_can_be_interrupted() {
    let mut fixture = fixture(50, &[]).await;
    fixture.daemon.terminate().await;
    let (id, secret) = fixture.sim.with(|webex| {
        let settings = webex.settings();
        (settings.client_id.clone(), settings.client_secret.clone())
    });
    let mut command = program(&fixture.daemon.state_dir());
    command.env("MY_APP_CLIENT_ID", id).env("MY_APP_SECRET_ID", secret);
    command.env("WEBEX_API_BASE_URL", fixture.sim.base_url());
    command.args(["import", "--failed-to", "left.jsonl", "grants.jsonl"]);
    interrupted_import_loses_nothing(&fixture, command).await;
}
