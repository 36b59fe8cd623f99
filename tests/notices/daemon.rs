//! The real daemon: it sends notices to a receiver over sockets, the test kills it meanwhile, and its commands list the
//! notices.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;

use crate::notices::world::WEBHOOK_KEY;
use crate::support::BrowserClient;
use crate::support::CommandOutput;
use crate::support::Daemon;
use crate::support::eventually;
use crate::support::start_sim;
use crate::support::time::HANG_TIMEOUT;

async fn start(sim: &Sim) -> Daemon {
    let url = format!("http://{}/hooks/notices", sim.address());
    Daemon::start(sim, &[("NOTIFY_WEBHOOK_URL", &url), ("NOTIFY_WEBHOOK_SECRET", WEBHOOK_KEY)]).await
}

pub(super) async fn run(state_dir: &Path, words: &str) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TOKEND_STATE_DIR", state_dir);
    command.args(words.split(' ')).stdin(Stdio::null()).kill_on_drop(true);
    timeout(HANG_TIMEOUT, command.output()).await.expect("the command hangs").unwrap().into()
}

/// The names of the keys in the notices that the receiver got, with the ids of the notices.
fn told(sim: &Sim) -> BTreeMap<String, BTreeSet<String>> {
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for hook in sim.with(|webex| webex.webhooks().to_vec()) {
        let event: Value = serde_json::from_str(&hook.body).unwrap();
        if event["type"] == "key.created" {
            let (name, id) = (event["data"]["name"].as_str().unwrap(), event["id"].as_str().unwrap());
            names.entry(name.to_owned()).or_default().insert(id.to_owned());
        }
    }
    names
}

/// `NOTICE_KILLS=50` kills the daemon fifty times.
#[tokio::test]
async fn every_fact_is_told_by_one_id_however_often_the_daemon_is_killed() {
    let sim = start_sim().await;
    let mut daemon = start(&sim).await;
    #[expect(clippy::disallowed_methods, reason = "how often to kill is asked for in the environment")]
    let kills: usize = std::env::var("NOTICE_KILLS").map_or(6, |text| text.parse().unwrap());
    let mut names = BTreeSet::new();
    for kill in 0..kills {
        if kill % 3 == 1 {
            let kind = FaultKind::Unavailable { status: 500, html: true };
            sim.with(|webex| webex.fault(Fault { on: Endpoint::Hook, person: None, times: Some(2), kind }));
        }
        for n in 0..3 {
            let name = format!("key-{kill}-{n}");
            run(&daemon.state_dir(), &format!("key create {name}")).await.expect_success();
            names.insert(name);
        }
        daemon.kill();
        daemon.restart(&[]).await;
    }
    eventually("a notice about every key", || told(&sim).len() == names.len()).await;
    for (name, ids) in told(&sim) {
        assert_eq!(ids.len(), 1, "{name}: {ids:?}");
    }
    let text = format!("{:?}", sim.with(|webex| webex.webhooks().to_vec()));
    assert!(!text.contains("wtk_"), "a key is in a notice");
}

#[tokio::test]
async fn the_commands_show_test_and_resend_what_is_told() {
    let sim = start_sim().await;
    let daemon = start(&sim).await;
    let state = daemon.state_dir();
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    assert_eq!(run(&state, "notices test").await.expect_success(), "webhook: delivered\n");
    let kind = FaultKind::Unavailable { status: 500, html: true };
    sim.with(|webex| webex.fault(Fault { on: Endpoint::Hook, person: None, times: Some(1), kind }));
    let failed = run(&state, "notices test --sink webhook").await;
    assert_eq!((failed.code, failed.stdout.as_str()), (1, "webhook: not delivered: HTTP 500\n"));
    run(&state, "notices test --sink mail").await.expect_failure(1, "no such sink");
    run(&state, "key create ci").await.expect_success();
    eventually("the notice about the key", || told(&sim).contains_key("ci")).await;
    let list: Value = serde_json::from_str(&run(&state, "notices -j").await.expect_success()).unwrap();
    let notices = list["notices"].as_array().unwrap();
    let kinds: Vec<&str> = notices.iter().filter_map(|notice| notice["type"].as_str()).collect();
    assert_eq!(kinds, ["key.created", "consent.granted"]);
    let id = notices[0]["id"].as_str().unwrap().to_owned();
    let out = run(&state, &format!("notices resend {id}")).await.expect_success();
    assert_eq!(out, format!("{id}: sent again to 1 sink\n"));
    eventually("it came twice", || {
        let body = |hook: &webex_sim::model::Webhook| hook.body.contains(&id);
        sim.with(|webex| webex.webhooks().iter().filter(|hook| body(hook)).count()) == 2
    })
    .await;
    let history = run(&state, "history").await.expect_success();
    assert!(history.contains("consent.granted") && history.contains("key.created"), "{history}");
    let hers = run(&state, "history ada@example.com").await.expect_success();
    assert!(hers.contains("consent.granted") && !hers.contains("key.created"), "{hers}");
    let line = run(&state, "check --warn-consent --warn-expiring 30").await.expect_success();
    assert!(line.starts_with("OK - nothing needs an operator | fresh=1 "), "{line}");
}

#[tokio::test]
async fn a_daemon_that_is_gone_is_critical() {
    let sim = start_sim().await;
    let mut daemon = start(&sim).await;
    let state = daemon.state_dir();
    daemon.terminate().await;
    let ended = run(&state, "check").await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stdout.starts_with("CRITICAL - the daemon cannot be reached"), "{ended:?}");
}
