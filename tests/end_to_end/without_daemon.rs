//! Commands without a daemon, which open the store themselves.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tokio::process::Command;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::ADA;
use super::CommandOutput;
use super::always_new;
use super::end;
use super::program;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim_with;

/// A store, and commands with the daemon's settings, but no daemon.
struct OfflineFixture {
    sim: Sim,
    home: tempfile::TempDir,
}

impl OfflineFixture {
    async fn new() -> Self {
        Self { sim: start_sim_with(always_new()).await, home: tempfile::tempdir().unwrap() }
    }

    async fn run(&self, words: &str) -> CommandOutput {
        end(&mut self.command(words)).await
    }

    fn command(&self, words: &str) -> Command {
        let (id, secret) = self.sim.with(|webex| {
            let settings = webex.settings();
            (settings.client_id.clone(), settings.client_secret.clone())
        });
        let state_dir = self.home.path().join("state");
        let mut command = program(&state_dir);
        command.current_dir(self.home.path()).args(words.split(' '));
        command.env("MY_APP_CLIENT_ID", id).env("MY_APP_SECRET_ID", secret);
        command.env("WEBEX_API_BASE_URL", self.sim.base_url());
        command
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// A person's refresh token, as another program would store it.
    fn refresh_token(&self, person: usize) -> String {
        let now = self.sim.now_ms();
        self.sim.with(|webex| webex.mint(now, person)).refresh_token
    }
}

/// A database of the token service sample; the access token is the first of its three parts.
fn token_app(path: &Path, refresh_token: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, org_id VARCHAR(255), cluster_id VARCHAR(255), \
         access_token VARCHAR(255), expires_in INTEGER, refresh_token VARCHAR(255), refresh_token_expires_in INTEGER, \
         token_type VARCHAR(255), created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL)",
    )
    .unwrap();
    let row =
        "INSERT INTO tokens VALUES (1, 'org', 'PF84', 'a', 43199, ?1, 5086614, 'Bearer', '2022', '2022')";
    db.execute(row, [refresh_token]).unwrap();
}

#[tokio::test]
async fn grants_are_imported_from_every_sample_and_used_without_a_daemon() {
    let alone = OfflineFixture::new().await;
    alone.run("people").await.expect_failure(5, "there is no store");
    assert!(!alone.home.path().join("state").exists(), "reading creates no file");

    let lines = format!("{{\"refresh_token\":\"{}\"}}\n", alone.refresh_token(0));
    std::fs::write(alone.file("grants.jsonl"), lines).unwrap();
    let wtr = format!("{{\"refresh_token\":\"{}\",\"token\":\"old\"}}", alone.refresh_token(1));
    std::fs::write(alone.file(".wtr-cli.json"), wtr).unwrap();
    let env = format!("ACCESS_TOKEN=\nREFRESH_TOKEN={}\n", alone.refresh_token(2));
    std::fs::write(alone.file("old.env"), env).unwrap();
    token_app(&alone.file("db.sqlite"), &alone.refresh_token(3));
    for file in ["grants.jsonl", ".wtr-cli.json", "old.env", "db.sqlite"] {
        let out = alone.run(&format!("import {file}")).await.expect_success();
        assert!(out.contains(": new "), "{file}: {out}");
    }
    let again = alone.run("import grants.jsonl").await.expect_success();
    assert!(again.contains(": kept "), "{again}");

    let people: Value = serde_json::from_str(&alone.run("people -j").await.expect_success()).unwrap();
    assert_eq!(people["people"].as_array().unwrap().len(), 4);
    let token = alone.run(&format!("token {ADA}")).await.expect_success();
    let now = alone.sim.now_ms();
    assert!(alone.sim.with(|webex| webex.is_live(token.trim(), now)));
    let refreshed = alone.run(&format!("refresh {ADA} --force")).await.expect_success();
    assert!(refreshed.contains(": renewed"), "{refreshed}");
    let exec = alone.run(&format!("exec {ADA} -- env")).await.expect_success();
    assert!(exec.contains("WEBEX_ACCESS_TOKEN=") && !exec.contains("MY_APP_SECRET_ID"), "{exec}");
    assert!(alone.run(&format!("why {ADA}")).await.expect_success().contains("survival"));
    assert_eq!(alone.run("plan --days 2").await.expect_success().lines().count(), 5);
    assert!(alone.run("key create one --can read").await.expect_success().starts_with("wtk_"));
    assert!(alone.run("key list").await.expect_success().contains("one"));
    alone.run(&format!("forget {ADA} --yes")).await.expect_success();
    let unknown = format!("No person with this id or address has consented: {ADA}. ");
    alone.run(&format!("token {ADA}")).await.expect_failure(3, &unknown);
}

#[tokio::test]
async fn a_dead_grant_is_not_imported_and_the_reason_is_printed() {
    let alone = OfflineFixture::new().await;
    let dead = alone.refresh_token(0);
    alone.sim.with(|webex| webex.kill_refresh_token(&dead));
    std::fs::write(alone.file("grants.jsonl"), format!("{{\"refresh_token\":\"{dead}\"}}\n")).unwrap();
    let output = alone.run("import grants.jsonl").await;
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("refused") && !output.stderr.contains(&dead), "{output:?}");
    assert_eq!(output.stdout, "");
}

#[tokio::test]
async fn closing_the_terminal_does_not_interrupt_a_refresh() {
    let alone = OfflineFixture::new().await;
    let lines = format!("{{\"refresh_token\":\"{}\"}}\n", alone.refresh_token(0));
    std::fs::write(alone.file("grants.jsonl"), lines).unwrap();
    inject_fault(&alone.sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(1)));
    let mut command = alone.command("import grants.jsonl");
    let import = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = import.id().unwrap().to_string();
    eventually("the refresh is at Webex", || counters(&alone.sim).in_flight == 1).await;
    for signal in ["HUP", "USR1"] {
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
    let output: CommandOutput = import.wait_with_output().await.unwrap().into();
    assert!(output.expect_success().contains(": new "));
    assert!(alone.run(&format!("token {ADA}")).await.code == 0);
}
