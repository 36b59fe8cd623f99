//! Runs the real daemon as a process, with its own directory.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use rcgen::CertifiedKey;
use tempfile::TempDir;
use webex_sim::Sim;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::sqlite::SqliteStore;

/// Time limit for everything.
const HANGS: Duration = Duration::from_secs(900);

/// A daemon's directory: its store, its certificate, its settings.
pub(crate) struct Home {
    dir: TempDir,
    settings: Vec<(String, String)>,
    pub(crate) port: u16,
    pub(crate) certificate_pem: String,
    client_id: String,
}

/// A running daemon. It is killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    lines: mpsc::Receiver<(Instant, String)>,
}

impl Home {
    /// Prepares a daemon that uses `sim` as Webex, without rate limits and without a no-op window.
    pub(crate) fn new(sim: &Sim) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem()).unwrap();
        let port = free_port();
        let (client_id, secret) =
            sim.with(|webex| (webex.settings().client_id.clone(), webex.settings().client_secret.clone()));
        let mut home = Self { dir, settings: Vec::new(), port, certificate_pem: cert.pem(), client_id };
        let path = |name: &str| home.path(name).to_str().unwrap().to_owned();
        let settings = [
            ("MY_APP_PORT", port.to_string()),
            ("MY_APP_CLIENT_ID", home.client_id.clone()),
            ("MY_APP_SECRET_ID", secret),
            ("MY_APP_REDIRECT_URI", format!("https://localhost:{port}/oauth")),
            ("WEBEX_API_BASE_URL", sim.base_url()),
            ("TOKEND_STATE_DIR", path("state")),
            ("TOKEND_TLS_CERT", path("cert.pem")),
            ("TOKEND_TLS_KEY", path("key.pem")),
            ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0".to_owned()),
            ("EVENT_LOOP_MAX_PER_SECOND", "0".to_owned()),
            ("EVENT_LOOP_CONCURRENCY", "64".to_owned()),
        ];
        home.settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path("state/control.sock")
    }

    /// Opens the store while no daemon runs.
    pub(crate) fn store(&self, now: UnixTime) -> SqliteStore {
        let state = self.path("state");
        if !state.exists() {
            std::fs::create_dir(&state).unwrap();
            private(&state);
        }
        SqliteStore::open(&state.join("tokend.db"), &state.join("key"), &self.client_id, now).unwrap().0
    }

    /// The size of the store's files in bytes.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let size = |name: &str| std::fs::metadata(self.path("state").join(name)).map_or(0, |meta| meta.len());
        size("tokend.db") + size("tokend.db-wal")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of the daemon's program and returns its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the daemon without waiting for it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Daemon {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if tell.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Daemon { child, lines }
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Daemon {
        let mut daemon = self.spawn(arguments);
        daemon.line("listening on").await;
        daemon
    }
}

impl Daemon {
    /// The next log line that contains `text`, and when it came.
    pub(crate) async fn line(&mut self, text: &str) -> (Instant, String) {
        tokio::task::block_in_place(|| {
            let mut seen = Vec::new();
            loop {
                match self.lines.recv_timeout(HANGS) {
                    Ok((at, line)) if line.contains(text) => return (at, line),
                    Ok((_, line)) => seen.push(line),
                    Err(_) => panic!("no line with {text:?} in:\n{}", seen.join("\n")),
                }
            }
        })
    }

    /// Processor time that the daemon has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(&self.child)
    }

    /// The daemon's resident memory in bytes: all of it, and the part not mapped from files.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (of("VmRSS:"), of("RssAnon:"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // An error only means that the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process has used, to a hundredth of a second (Linux: `proc_pid_stat(5)`, fields 14
/// and 15).
pub(crate) fn cpu(child: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
