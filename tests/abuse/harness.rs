//! A daemon under attack, with an honest client beside the attackers.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::time::timeout;
use webex_sim::Sim;

use super::client::tls;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::Setup;
use crate::support::eventually;
use crate::support::http;
use crate::support::start_sim;

/// Generous, because the machine may run other tests, but below the ten seconds after which silent clients are
/// disconnected anyway. The printed figures say more.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Connection limits of the address and the control socket, and the files that the daemon needs besides.
const MAX_OPEN_FILES: usize = 1024 + 256 + 64;

/// Resident memory in MiB that the daemon may need under any attack, in a debug build and with its log.
const MAX_MEMORY_MIB: u64 = 192;

/// A daemon with one grant and one key.
pub(super) struct AttackHarness {
    pub(super) sim: Sim,
    pub(super) daemon: Daemon,
    /// With all rights.
    pub(super) key: String,
    baseline_files: usize,
}

/// How long the slowest honest request of each kind took.
type SlowestResponses = BTreeMap<&'static str, Duration>;

/// How long `asked` took; it must be answered in time.
async fn timed_response(kind: &str, asked: impl Future<Output = String>, status: &str) -> Duration {
    let begun = Instant::now();
    let answer = timeout(ANSWERED_WITHIN, asked).await;
    let answer = answer.unwrap_or_else(|_| panic!("{kind}: no answer within {ANSWERED_WITHIN:?}"));
    assert!(answer.lines().next().unwrap_or_default().contains(status), "{kind}: {answer:?}");
    begun.elapsed()
}

/// How long an attack continues after its connections are open.
pub(super) fn attack_duration() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a parameter of the test run, not a setting")]
    let asked = std::env::var("ABUSE_SECONDS").ok();
    Duration::from_secs_f64(asked.map_or(0.7, |text| text.parse().unwrap()))
}

impl AttackHarness {
    pub(super) async fn new() -> Self {
        Self::with_setup(Setup::None).await
    }

    /// With a daemon that may open 400 files.
    pub(super) async fn with_few_files() -> Self {
        Self::with_setup(Setup::Shell("ulimit -n 400")).await
    }

    async fn with_setup(setup: Setup) -> Self {
        raise_fd_limit();
        let sim = start_sim().await;
        let daemon = Daemon::start_with_setup(&sim, &[], setup).await;
        assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
        let mut harness = Self { sim, daemon, key: String::new(), baseline_files: 0 };
        let made =
            harness.control("POST", "/keys", r#"{"name":"honest","can":["read","refresh","admin"]}"#).await;
        let made: Value = serde_json::from_str(made.split_once("\r\n\r\n").unwrap().1).unwrap();
        harness.key = made["secret"].as_str().unwrap().to_owned();
        // Files opened at the first use stay open.
        harness.honest_requests(&http(), &mut SlowestResponses::new()).await;
        let seen = harness.idle_open_files().await;
        harness.baseline_files = seen;
        harness
    }

    /// Runs `attack` to its end while an honest client keeps sending requests. Then waits until nothing of the
    /// attackers is left, and checks the daemon's memory.
    pub(super) async fn run_attack(&self, name: &str, attack: impl Future<Output = u64>) {
        let begun = Instant::now();
        let (over, mut ended) = watch::channel(false);
        let mut worst = SlowestResponses::new();
        let attacked = async {
            let sent = attack.await;
            over.send_replace(true);
            sent
        };
        let honest = async {
            let (kept, mut most) = (http(), 0);
            while !*ended.borrow_and_update() {
                self.honest_requests(&kept, &mut worst).await;
                most = most.max(self.open_files());
            }
            most
        };
        let (sent, files) = tokio::join!(attacked, honest);
        eventually("all connections of the attackers have ended", || {
            self.open_files() <= self.baseline_files
        })
        .await;
        let memory = self.peak_memory_mib();
        let slowest =
            worst.iter().map(|(kind, took)| format!("{kind} {:.0?}", took)).collect::<Vec<_>>().join(", ");
        eprintln!("| {name} | {sent} | {slowest} | {memory} MiB | {files} files | {:.1?} |", begun.elapsed());
        assert!(files <= MAX_OPEN_FILES, "{name}: {files} files");
        assert!(memory <= MAX_MEMORY_MIB, "{name}: {memory} MiB");
    }

    /// Sends each kind of honest request once, on new connections and on a kept-alive one.
    async fn honest_requests(&self, kept: &reqwest::Client, worst: &mut SlowestResponses) {
        let token = "/api/v1/people/ada@example.com/token";
        let took = [
            ("health", timed_response("health", self.get("/healthz"), " 200 ").await),
            ("consent", timed_response("consent", self.get("/oauth"), " 302 ").await),
            ("token", timed_response("token", self.get_on(kept, token), "200").await),
            (
                "control",
                timed_response("control", self.control("GET", &token["/api/v1".len()..], ""), " 200 ").await,
            ),
        ];
        for (kind, took) in took {
            let slowest = worst.entry(kind).or_default();
            *slowest = took.max(*slowest);
        }
    }

    /// On a new connection; tries again if it is lost before the response, as browsers do.
    async fn get(&self, path: &str) -> String {
        loop {
            if let Ok(answer) = self.try_to_get(path).await {
                return answer;
            }
        }
    }

    async fn try_to_get(&self, path: &str) -> io::Result<String> {
        let lost = || io::Error::other("no TLS");
        let mut stream = tls(self.daemon.port(), b"http/1.1").await.ok_or_else(lost)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// On the kept-alive connection; tries again if it was just evicted.
    async fn get_on(&self, client: &reqwest::Client, path: &str) -> String {
        loop {
            match client.get(self.daemon.url(path)).bearer_auth(&self.key).send().await {
                Ok(answer) => return answer.status().to_string(),
                Err(lost) => assert!(lost.is_request(), "{lost:?}"),
            }
        }
    }

    pub(super) async fn control_stream(&self) -> UnixStream {
        UnixStream::connect(self.daemon.state_dir().join("control.sock")).await.unwrap()
    }

    /// The whole response to one request on the control socket.
    pub(super) async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = self.control_stream().await;
        let length = body.len();
        let head = format!("{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let request =
            format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// How many files the daemon has open.
    pub(super) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.daemon.pid())).unwrap().count()
    }

    /// How many files it has open when no client is connected.
    async fn idle_open_files(&self) -> usize {
        let (mut last, mut same) = (self.open_files(), 0);
        while same < 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = self.open_files();
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Peak resident memory of the daemon, in MiB.
    pub(super) fn peak_memory_mib(&self) -> u64 {
        self.status("VmHWM:") / 1024
    }

    /// Present resident memory, in KiB.
    pub(super) fn memory_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Each connection needs a file descriptor here, and one in the daemon, which inherits the limit.
fn raise_fd_limit() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let this = std::process::id().to_string();
        // If this fails, the usual limit applies.
        let _ = Command::new("prlimit").args(["--pid", &this, "--nofile=16384:"]).output();
    });
}
