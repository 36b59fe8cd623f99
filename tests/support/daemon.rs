//! The real binary, in its own directory and environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::Instant;
use url::Url;
use webex_sim::Sim;

use super::browser_client::http;
use super::daemon_log::DaemonLog;
use super::daemon_log::StallGuard;
use super::eventually;
use super::free_port;
use super::stored_grants;
use super::stored_grants::StoredGrant;
use crate::support::time::HANG_TIMEOUT;

/// A setting for [`Daemon::start`]: plain HTTP.
pub(crate) const PLAIN: (&str, &str) = ("MY_APP_REDIRECT_URI", "http://localhost:{port}/oauth");

/// Another process may take the port before the daemon does.
const PORT_ATTEMPTS: usize = 5;

/// A running daemon. It is killed when this is dropped; a failing test then prints its log.
pub(crate) struct Daemon {
    home: TempDir,
    port: u16,
    settings: BTreeMap<String, String>,
    setup: Setup,
    run: DaemonRun,
}

/// What a shell does before it executes the daemon, with the daemon's working directory as `$0`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setup {
    /// Nothing.
    None,
    /// This script.
    Shell(&'static str),
    /// This script in its own mount namespace.
    Namespace(&'static str),
}

/// How a daemon ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DaemonExit {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The time from the signal to the end.
    pub(crate) took: Duration,
}

struct DaemonRun {
    child: Child,
    log: DaemonLog,
}

impl Daemon {
    /// Starts a daemon that uses `sim` as Webex and serves `https://localhost:PORT/oauth`. Returns when it answers.
    /// `settings` are added to the usual ones; `{port}` and `{home}` (its working directory) in their values are
    /// replaced.
    pub(crate) async fn start(sim: &Sim, settings: &[(&str, &str)]) -> Self {
        Self::start_with_setup(sim, settings, Setup::None).await
    }

    /// The same for a redirect URI that does not lead to this daemon: returns when it listens.
    pub(crate) async fn start_without_health_check(sim: &Sim, settings: &[(&str, &str)]) -> Self {
        Self::start_inner(sim, settings, Setup::None, false).await
    }

    /// The same in an environment that a shell has set up.
    pub(crate) async fn start_with_setup(sim: &Sim, settings: &[(&str, &str)], setup: Setup) -> Self {
        Self::start_inner(sim, settings, setup, true).await
    }

    async fn start_inner(sim: &Sim, settings: &[(&str, &str)], setup: Setup, reached: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut all = settings_for(sim, home.path());
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            let run = DaemonRun::start(home.path(), port, &all, setup);
            if run.log.wait_for_line("listening on").await.is_some() {
                let daemon = Self { home, port, settings: all, setup, run };
                daemon.wait_until_healthy(reached).await;
                return daemon;
            }
            assert!(
                run.log.lines().iter().any(|line| line.contains("cannot listen")),
                "the daemon did not start:\n{}",
                run.log.lines().join("\n")
            );
        }
        panic!("no port stayed free in {PORT_ATTEMPTS} attempts")
    }

    /// Waits until its certificate, its store and its HTTP server are ready.
    async fn wait_until_healthy(&self, reached: bool) {
        if !reached {
            return;
        }
        let (http, url) = (http(), self.url("/healthz"));
        let healthy = async {
            while !http.get(url.clone()).send().await.is_ok_and(|answer| answer.status() == 200) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(HANG_TIMEOUT, healthy).await.expect("the daemon is not healthy");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The redirect URI as registered.
    pub(crate) fn redirect_uri(&self) -> Url {
        let text = self.settings.get("MY_APP_REDIRECT_URI").unwrap();
        Url::parse(&fill_placeholders(text, self.port, self.home.path())).unwrap()
    }

    /// The URL of `path` (and query) at this daemon.
    pub(crate) fn url(&self, path: &str) -> Url {
        self.redirect_uri().join(path).unwrap()
    }

    /// The directory with the store and the key.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.home.path().join("state")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.run.child.id()
    }

    /// The log lines since its last start that have been read up to now: after a response, the lines about its request
    /// may still be missing. Wait for one with [`Daemon::wait_for_line`] first, or use [`Daemon::final_log`].
    pub(crate) fn log(&self) -> Vec<String> {
        self.run.log.lines()
    }

    /// All log lines since its last start. Waits for its end, which the caller has caused.
    pub(crate) async fn final_log(&self) -> Vec<String> {
        self.run.log.wait_for_end().await;
        self.log()
    }

    /// Stops reading its log until the result is dropped.
    pub(crate) fn stall_log_reader(&self) -> StallGuard {
        self.run.log.stall()
    }

    /// Waits for the first line with `text` since its last start.
    pub(crate) async fn wait_for_line(&self, text: &str) -> String {
        let found = self.run.log.wait_for_line(text).await;
        found.unwrap_or_else(|| panic!("the daemon ended without a line with {text:?}"))
    }

    /// The grants in its store, by address.
    pub(crate) fn stored_grants(&self) -> Vec<StoredGrant> {
        stored_grants::read_all(&self.state_dir())
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn terminate(&mut self) -> DaemonExit {
        self.signal("TERM");
        let begun = Instant::now();
        self.run.log.wait_for_end().await;
        let code = self.run.child.wait().unwrap().code();
        DaemonExit { code, took: begun.elapsed() }
    }

    /// Sends a signal and does not wait.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.run.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.run.kill();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.run.child.try_wait().unwrap().is_some()
    }

    /// Starts it again, whether it has ended or not, with the same store and port. `settings` are added to its former
    /// ones.
    pub(crate) async fn restart(&mut self, settings: &[(&str, &str)]) {
        self.begin_restart(settings);
        self.wait_for_line("listening on").await;
        self.wait_until_healthy(true).await;
    }

    /// Like [`Daemon::restart`], but does not wait until it answers.
    pub(crate) fn begin_restart(&mut self, settings: &[(&str, &str)]) {
        self.kill();
        self.settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.run = DaemonRun::start(self.home.path(), self.port, &self.settings, self.setup);
    }

    /// Waits until its store holds grants of exactly these people (addresses before the `@`).
    pub(crate) async fn wait_until_stored(&self, people: &[&str]) {
        let kept = || self.stored_grants();
        eventually(&format!("{people:?} are kept"), || {
            kept().iter().map(StoredGrant::name).eq(people.iter().copied())
        })
        .await;
    }
}

impl Setup {
    fn command(self, home: &Path) -> Command {
        let binary = env!("CARGO_BIN_EXE_webex-tokend");
        let (mut command, script) = match self {
            Self::None => return Command::new(binary),
            Self::Shell(script) => (Command::new("sh"), script),
            Self::Namespace(script) => {
                let mut command = Command::new("unshare");
                command.args(["--user", "--map-root-user", "--mount", "sh"]);
                (command, script)
            }
        };
        command.args(["-ec", &format!("{script}\nexec \"$@\"")]).arg(home).arg(binary);
        command
    }

    /// Whether the system permits such a setup.
    pub(crate) fn is_possible(self) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let (Self::Shell(script) | Self::Namespace(script)) = self else { return true };
        let namespace = ["unshare", "--user", "--map-root-user", "--mount"];
        let before: &[&str] = if matches!(self, Self::Namespace(_)) { &namespace } else { &["env"] };
        let mut probe = Command::new(before[0]);
        probe.args(&before[1..]).args(["sh", "-ec", script]).arg(dir.path());
        probe.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl DaemonRun {
    fn start(home: &Path, port: u16, settings: &BTreeMap<String, String>, setup: Setup) -> Self {
        let mut child = setup
            .command(home)
            .arg("--debug")
            .current_dir(home)
            .env_clear()
            .env("MY_APP_PORT", port.to_string())
            .envs(settings.iter().map(|(name, value)| (name, fill_placeholders(value, port, home))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = DaemonLog::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    fn kill(&mut self) {
        // An error only means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for DaemonRun {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log.lines().join("\n"));
        }
    }
}

fn settings_for(sim: &Sim, home: &Path) -> BTreeMap<String, String> {
    let (id, secret) = sim.with(|webex| {
        let settings = webex.settings();
        (settings.client_id.clone(), settings.client_secret.clone())
    });
    let mut all = BTreeMap::from(
        [
            ("MY_APP_CLIENT_ID", id.as_str()),
            ("MY_APP_SECRET_ID", secret.as_str()),
            ("MY_APP_REDIRECT_URI", "https://localhost:{port}/oauth"),
            ("MY_APP_SCOPES", "spark:all spark:kms"),
            ("WEBEX_API_BASE_URL", sim.base_url().as_str()),
            ("TOKEND_STATE_DIR", "{home}/state"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    if let Some(pem) = sim.ca_pem() {
        let file = home.join("webex-ca.pem");
        std::fs::write(&file, pem).unwrap();
        all.insert("WEBEX_CA_FILE".to_owned(), file.to_str().unwrap().to_owned());
    }
    all
}

fn fill_placeholders(text: &str, port: u16, home: &Path) -> String {
    text.replace("{port}", &port.to_string()).replace("{home}", home.to_str().unwrap())
}
