//! People, the real daemon and the real commands together.

mod bulk;
mod commands;
mod doctor;
mod exit_codes;
mod login;
mod python;
mod without_daemon;

use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use webex_sim::Settings;
use webex_sim::Sim;

use crate::support::BrowserClient;
use crate::support::CommandOutput;
use crate::support::Daemon;
use crate::support::start_sim_with;
use crate::support::time::HANG_TIMEOUT;

/// The first two people of the simulator.
const ADA: &str = "ada@example.com";
const GRACE: &str = "grace@example.com";

/// A simulated Webex, a daemon, and commands beside them.
struct DaemonFixture {
    sim: Sim,
    daemon: Daemon,
}

impl DaemonFixture {
    /// The first two people have consented.
    async fn new() -> Self {
        Self::with_sim_settings(Settings::default()).await
    }

    async fn with_sim_settings(settings: Settings) -> Self {
        Self::with_settings(settings, &[]).await
    }

    /// Refreshes of one person may follow one another at once.
    async fn without_refresh_floor(settings: Settings) -> Self {
        Self::with_settings(settings, &[("EVENT_LOOP_FLOOR_SECONDS", "0")]).await
    }

    async fn with_settings(settings: Settings, variables: &[(&str, &str)]) -> Self {
        let sim = start_sim_with(settings).await;
        let variables = [&[("RUST_LOG", "trace")], variables].concat();
        let daemon = Daemon::start(&sim, &variables).await;
        let fixture = Self { sim, daemon };
        for person in [0, 1] {
            assert_eq!(BrowserClient::new().consent(&fixture.daemon, person).await.status, 200);
        }
        fixture
    }

    /// Runs the program; its environment only says where the daemon is.
    async fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> CommandOutput {
        run(&self.daemon.state_dir(), words).await
    }

    /// Words are separated by spaces.
    async fn run(&self, words: &str) -> CommandOutput {
        self.command(&words.split(' ').collect::<Vec<_>>()).await
    }

    async fn json(&self, words: &str) -> Value {
        let out = self.run(words).await.expect_success();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{words}: {e}: {out}"))
    }

    /// The live token that the command prints.
    async fn token(&self, person: &str) -> String {
        self.run(&format!("token {person}")).await.expect_success().trim_end().to_owned()
    }

    /// Whether Webex accepts this token now.
    fn is_live(&self, token: &str) -> bool {
        let now_ms = self.sim.now_ms();
        self.sim.with(|webex| webex.is_live(token, now_ms))
    }
}

/// The program with an environment that only says where the daemon is.
fn program(state_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TOKEND_STATE_DIR", state_dir);
    command.current_dir(state_dir.parent().unwrap()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn end(command: &mut Command) -> CommandOutput {
    timeout(HANG_TIMEOUT, command.output()).await.expect("the command hangs").unwrap().into()
}

async fn run<S: AsRef<OsStr>>(state_dir: &Path, words: &[S]) -> CommandOutput {
    end(program(state_dir).args(words)).await
}

/// A Webex that issues a new token at every refresh.
fn always_new() -> Settings {
    Settings { noop_window: Duration::ZERO, ..Settings::default() }
}

/// A path below `target`, outside version control.
fn in_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(name)
}
