//! `doctor` for the running daemon, or for the settings in the environment if none runs.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use tokio::process::Command;
use webex_sim::Settings;
use webex_sim::Sim;

use super::DaemonFixture;
use super::end;
use super::program;
use super::run;
use crate::support::CommandOutput;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::start_sim;

const OTHER_USER: u32 = 65_534;

/// A command with the settings of an integration at `sim`, without a daemon.
fn alone(sim: &Sim, state_dir: &Path, secret: &str) -> Command {
    let mut command = program(state_dir);
    let id = sim.with(|webex| webex.settings().client_id.clone());
    command.arg("doctor").env("MY_APP_CLIENT_ID", id).env("MY_APP_SECRET_ID", secret);
    command.env("WEBEX_API_BASE_URL", sim.base_url());
    command
}

fn secret(sim: &Sim) -> String {
    sim.with(|webex| webex.settings().client_secret.clone())
}

/// Whether a line begins with this text.
fn says(output: &CommandOutput, begins: &str) -> bool {
    output
        .stdout
        .lines()
        .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(begins))
}

fn assert_says(output: &CommandOutput, all: &[&str]) {
    for begins in all {
        assert!(says(output, begins), "{begins}: {output:?}");
    }
}

#[tokio::test]
async fn doctor_checks_the_running_daemon_by_the_daemons_own_settings() {
    let fixture = DaemonFixture::new().await;
    let output = fixture.run("doctor").await;
    assert_eq!(output.code, 0, "{output:?}");
    let uri = format!("ok redirect URI {}", fixture.daemon.redirect_uri());
    assert_says(&output, &["ok daemon version", "ok settings all are understood", &uri]);
    assert_says(
        &output,
        &["ok certificate served", "ok key file", "ok store", "ok webex", "ok client", "ok clock"],
    );
    assert_says(&output, &["ok refreshes go on", "ok grants 2 checked"]);
    assert_eq!(counters(&fixture.sim).codes_exchanged, 2, "no token was used");

    // Settings that the daemon does not have are ignored.
    let mut command = program(&fixture.daemon.state_dir());
    command.arg("doctor").env("MY_APP_PORT", "none").env("MY_APP_SCOPES", "spark:kms");
    assert_eq!(end(&mut command).await.code, 0);
}

#[tokio::test]
async fn warnings_and_missing_scopes_of_the_running_daemon_are_reported() {
    let mut fixture = DaemonFixture::new().await;
    fixture.daemon.restart(&[("MY_APP_SCOPES", "spark:all spark:rooms_read"), ("TOKEND_BOND", "x")]).await;
    let output = fixture.run("doctor").await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_says(&output, &["warn settings TOKEND_BOND is set", "warn grants 2 checked, 2 lack a scope"]);
    assert_says(&output, &["warn grants ada@example.com (Ada Lovelace) lacks spark:rooms_read"]);
}

#[tokio::test]
async fn a_refused_client_secret_is_reported_with_and_without_a_daemon() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[("MY_APP_SECRET_ID", "not-the-secret")]).await;
    let output = run(&daemon.state_dir(), &["doctor"]).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_says(&output, &["ok webex", "bad client Webex refuses MY_APP_CLIENT_ID or MY_APP_SECRET_ID"]);

    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let output = end(&mut alone(&sim, &state, "not-the-secret")).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_says(&output, &["warn daemon", "ok webex", "bad client"]);
    assert!(output.stdout.contains("set TOKEND_STATE_DIR"), "{output:?}");
    assert!(!output.stdout.contains("not-the-secret"), "{output:?}");
    let output = end(&mut alone(&sim, &state, &secret(&sim))).await;
    assert_eq!(output.code, 0, "{output:?}");
    assert_says(&output, &["ok client", "ok store", "ok key file"]);
    assert!(!state.exists(), "doctor creates no file");
}

#[tokio::test]
async fn doctor_does_not_offer_to_create_an_unreadable_state_directory() {
    let (sim, home) = (start_sim().await, tempfile::tempdir().unwrap());
    let state = home.path().join("state");
    for (dir, mode) in [(home.path(), 0o755), (&state, 0o700)] {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
    }
    // Root can read everything; other users are restricted by the mode.
    let root = is_root();
    if !root {
        std::fs::set_permissions(&state, PermissionsExt::from_mode(0o000)).unwrap();
    }
    let as_stranger = |command: &mut Command| {
        if root {
            command.as_std_mut().uid(OTHER_USER).gid(OTHER_USER);
        }
    };
    let mut command = alone(&sim, &state, &secret(&sim));
    as_stranger(&mut command);
    let output = end(&mut command).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_says(&output, &["ok settings", "bad daemon", "bad key file", "bad store", "ok client"]);
    assert!(
        output.stdout.contains("Permission denied") && !output.stdout.contains("will be created"),
        "{output:?}"
    );

    // Without settings of its own, the command cannot check the daemon.
    let mut command = program(&state);
    as_stranger(command.arg("doctor"));
    let output = end(&mut command).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_says(&output, &["bad daemon the control socket", "warn settings not checked"]);
    assert!(!says(&output, "bad settings"), "{output:?}");
}

#[tokio::test]
async fn a_path_where_no_state_directory_can_be_created_is_reported() {
    let (sim, home) = (start_sim().await, tempfile::tempdir().unwrap());
    std::fs::write(home.path().join("file"), "").unwrap();
    let mut command = alone(&sim, &home.path().join("file").join("state"), &secret(&sim));
    let output = end(command.current_dir(home.path())).await;
    assert_eq!(output.code, 1, "{output:?}");
    assert_says(&output, &["bad store"]);
    assert!(!output.stdout.contains("will be created"), "{output:?}");
}

#[tokio::test]
async fn an_unreachable_webex_is_reported_with_exit_code_6() {
    let fixture = DaemonFixture::with_sim_settings(Settings::default()).await;
    let DaemonFixture { sim, daemon } = fixture;
    drop(sim);
    let output = run(&daemon.state_dir(), &["doctor"]).await;
    assert_eq!(output.code, 6, "{output:?}");
    assert_says(&output, &["ok daemon", "bad webex"]);
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
