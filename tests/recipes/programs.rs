//! The programs in `examples/` that fetch tokens, as another user or machine runs them, against a real daemon and a
//! simulated Webex.

use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rcgen::CertificateParams;
use rcgen::KeyPair;
use tempfile::TempDir;
use tokio::time::Instant;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use crate::support::BrowserClient;
use crate::support::CommandOutput;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::inject_fault;
use crate::support::start_sim_with;
use crate::support::time::HANG_TIMEOUT;

/// No other part of the environment is passed on.
const SEARCH_PATH: &str = "PATH=/usr/local/bin:/usr/bin:/bin";

const ADA: &str = "Ada Lovelace";

/// Whether these programs are installed. Prints a note if one is not.
fn has(programs: &[&str]) -> bool {
    let is_here = |program: &&str| {
        let mut probe = Command::new("env");
        probe.args(["-i", SEARCH_PATH, program, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let all = programs.iter().all(is_here);
    if !all {
        eprintln!("SKIPPED: needs {}", programs.join(" and "));
    }
    all
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

/// A simulated Webex, and a daemon with a certificate and one person.
struct RecipeFixture {
    sim: Sim,
    daemon: Daemon,
    dir: TempDir,
}

impl RecipeFixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let [pem, key_pem] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        fs::write(&pem, certificate.pem()).unwrap();
        fs::write(&key_pem, key.serialize_pem()).unwrap();
        fs::set_permissions(&key_pem, Permissions::from_mode(0o600)).unwrap();
        let settings = [
            ("TOKEND_TLS_CERT", pem.to_str().unwrap()),
            ("TOKEND_TLS_KEY", key_pem.to_str().unwrap()),
            ("EVENT_LOOP_FLOOR_SECONDS", "0"),
        ];
        let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
        let daemon = Daemon::start(&sim, &settings).await;
        assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
        Self { sim, daemon, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Creates a key for the person with these rights.
    fn key(&self, can: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
        command.env_clear().env("TOKEND_STATE_DIR", self.daemon.state_dir());
        let words = ["key", "create", "report", "--person", "ada@example.com", "--can", can];
        CommandOutput::from(command.args(words).output().unwrap()).expect_success().trim().to_owned()
    }

    /// `program` with an environment that only says where things are.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("env");
        command.env_clear().arg(SEARCH_PATH).arg(program).stdin(Stdio::null());
        command.env("WEBEX_API_BASE_URL", self.sim.base_url());
        // For curl, and for OpenSSL in Python.
        command.env("CURL_CA_BUNDLE", self.path("cert.pem")).env("SSL_CERT_FILE", self.path("cert.pem"));
        command
    }

    fn socket(&self) -> PathBuf {
        self.daemon.state_dir().join("control.sock")
    }

    fn origin(&self) -> String {
        format!("https://localhost:{}", self.daemon.port())
    }

    fn refreshes(&self) -> u64 {
        counters(&self.sim).refreshes.attempts
    }
}

fn end(mut command: Command) -> CommandOutput {
    command.output().unwrap().into()
}

/// A run must fail and say why while Webex names no person.
fn fails_if_webex_does(fixture: &RecipeFixture, run: impl Fn() -> CommandOutput) {
    let faults = [
        (FaultKind::Client401, "401"),
        (FaultKind::OkHtml, "names no person"),
        (FaultKind::OkEmpty, "names no person"),
        (FaultKind::OkNoToken, "names no person"),
    ];
    for (fault, told) in faults {
        let what = format!("{fault:?}");
        inject_fault(&fixture.sim, Endpoint::PeopleMe, 1, fault);
        let output = run();
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{what}: {output:?}");
        assert!(output.stderr.contains(told), "{what}: {output:?}");
    }
    // curl prints the answer of the first try as well.
    inject_fault(&fixture.sim, Endpoint::PeopleMe, 1, FaultKind::Unavailable { status: 503, html: false });
    assert_eq!(run().expect_success(), format!("{ADA}\n"));
}

fn asks_to_wait() -> FaultKind {
    FaultKind::TooMany429 { retry_after: Some("1".to_owned()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_script_over_the_control_socket_names_the_person() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let fixture = RecipeFixture::new().await;
    let run = |person: &str| {
        let mut command = fixture.command(example("shell/socket.sh"));
        command.env("TOKEND_CONTROL_SOCKET", fixture.socket()).env("REPORT_PERSON", person);
        end(command)
    };
    assert_eq!(run("ada@example.com").expect_success(), format!("{ADA}\n"));
    inject_fault(&fixture.sim, Endpoint::PeopleMe, 1, asks_to_wait());
    assert_eq!(run("ada@example.com").expect_success(), format!("{ADA}\n"), "it waits and asks again");
    let output = run("bob@example.com");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("`webex-tokend people` lists"), "it says what to do: {output:?}");
    fails_if_webex_does(&fixture, || run("ada@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cron_job_over_https_names_the_person_and_prints_no_token() {
    if !has(&["curl", "jq"]) {
        return;
    }
    let fixture = RecipeFixture::new().await;
    let header = fixture.path("report.header");
    fs::write(&header, format!("Authorization: Bearer {}\n", fixture.key("read"))).unwrap();
    let run = || {
        let mut command = fixture.command(example("shell/report.sh"));
        command.env("REPORT_TOKEND", fixture.origin()).env("REPORT_KEY", &header);
        end(command)
    };
    let output = run();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("Ada Lovelace\n", ""), "{output:?}");
    fails_if_webex_does(&fixture, run);

    fs::write(&header, "Authorization: Bearer nonsense\n").unwrap();
    let output = run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("401") && output.stderr.contains("key"), "{output:?}");

    fs::remove_file(&header).unwrap();
    let output = run();
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("report.header cannot be read"), "{output:?}");
}

/// A running program, and the lines of its output.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (told, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let outputs: [Box<dyn BufRead + Send>; 2] =
            [Box::new(BufReader::new(out)), Box::new(BufReader::new(err))];
        for output in outputs {
            let told = told.clone();
            std::thread::spawn(move || {
                output.lines().map_while(Result::ok).try_for_each(|line| told.send(line))
            });
        }
        Self { child, lines }
    }

    /// Reads until a line contains `text`.
    fn says(&self, text: &str) {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < HANG_TIMEOUT {
            let Ok(line) = self.lines.recv_timeout(HANG_TIMEOUT / 4) else { continue };
            if line.contains(text) {
                return;
            }
            last = line;
        }
        panic!("no {text:?} in {HANG_TIMEOUT:?}; the last line was: {last}");
    }

    /// Waits for two lines: the first may have been printed before.
    fn goes_on(&self) {
        while self.lines.try_recv().is_ok() {}
        self.says(ADA);
        self.says(ADA);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_long_running_program_survives_restarts_outages_and_a_refused_key() {
    if !has(&["python3"]) {
        return;
    }
    let mut fixture = RecipeFixture::new().await;
    let key = fixture.path("report.key");
    fs::write(&key, fixture.key("read,refresh")).unwrap();
    let mut command = fixture.command("python3");
    command.arg(example("python/weeks.py")).env("REPORT_KEY_FILE", &key).env("REPORT_PAUSE", "0.1");
    command.env("REPORT_PERSON_URL", format!("{}/api/v1/people/ada@example.com", fixture.origin()));
    let program = Running::start(command);
    program.goes_on();

    // Webex revokes a token early: one refresh, and the program takes the new token.
    let before = fixture.refreshes();
    inject_fault(&fixture.sim, Endpoint::PeopleMe, 1, FaultKind::Client401);
    program.goes_on();
    assert_eq!(fixture.refreshes(), before + 1, "a 401 causes one refresh");

    inject_fault(&fixture.sim, Endpoint::PeopleMe, 2, asks_to_wait());
    program.says("429: ");
    program.goes_on();

    // The daemon is restarted after a while.
    let output = fixture.daemon.terminate().await;
    assert_eq!(output.code, Some(0));
    program.says("the next try is in 5 s");
    fixture.daemon.restart(&[]).await;
    program.goes_on();

    // A problem that only people can fix is reported, and the program continues when it is fixed.
    let forget = ["forget", "ada@example.com", "--yes"];
    let mut command = fixture.command(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env("TOKEND_STATE_DIR", fixture.daemon.state_dir()).args(forget);
    end(command).expect_success();
    program.says("403 ");
    assert_eq!(BrowserClient::new().consent(&fixture.daemon, 0).await.status, 200);
    program.goes_on();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_program_over_the_control_socket_names_the_person() {
    let fixture = RecipeFixture::new().await;
    let run = |person: &str| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--locked", "--example", "live_token", "--", person]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("WEBEX_API_BASE_URL", fixture.sim.base_url());
        end({
            command.env("TOKEND_CONTROL_SOCKET", fixture.socket());
            command
        })
    };
    assert_eq!(run("ada@example.com").expect_success(), format!("{ADA}\n"));
    let output = run("bob@example.com");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    assert!(output.stderr.contains("`webex-tokend people` lists"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_long_running_program_ends_if_it_does_not_trust_the_certificate() {
    if !has(&["python3"]) {
        return;
    }
    let fixture = RecipeFixture::new().await;
    let key = fixture.path("report.key");
    fs::write(&key, fixture.key("read,refresh")).unwrap();
    let mut command = fixture.command("python3");
    command.arg(example("python/weeks.py")).env("REPORT_KEY_FILE", &key).env_remove("SSL_CERT_FILE");
    command.env("REPORT_PERSON_URL", format!("{}/api/v1/people/ada@example.com", fixture.origin()));
    let output = end(command);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{output:?}");
    let one_line = output.stderr.lines().count() == 1;
    assert!(one_line && output.stderr.contains("name it with SSL_CERT_FILE"), "{output:?}");
}
