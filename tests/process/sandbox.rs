//! `cargo run --example sandbox`, as documented.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::ChildStdout;
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::support::BrowserClient;
use crate::support::CommandOutput;
use crate::support::free_port;
use crate::support::http;
use crate::support::time::HANG_TIMEOUT;

/// The example may have to be built first.
const BUILDS: Duration = Duration::from_secs(300);

struct Sandbox {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Sandbox {
    fn start(port: u16) -> Self {
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--locked", "--example", "sandbox", "--", &port.to_string()]);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        let line = timeout(BUILDS, self.lines.next_line()).await.unwrap().unwrap();
        line.expect("the sandbox ended without the line")
    }

    /// The rest of the output line that contains `begins`.
    async fn says(&mut self, begins: &str) -> String {
        loop {
            if let Some((_, rest)) = self.line().await.split_once(begins) {
                return rest.trim().to_owned();
            }
        }
    }

    async fn end(self) -> CommandOutput {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().await.unwrap().success());
        timeout(HANG_TIMEOUT, self.child.wait_with_output()).await.unwrap().unwrap().into()
    }
}

async fn command(socket: &str, words: &str) -> CommandOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_CONTROL_SOCKET", socket).env("HOME", "/nowhere").args(words.split(' '));
    timeout(HANG_TIMEOUT, command.output()).await.unwrap().unwrap().into()
}

#[tokio::test]
async fn the_sandbox_serves_the_dashboard_and_accepts_commands() {
    let port = free_port();
    let mut sandbox = Sandbox::start(port);
    let socket = sandbox.says("export TOKEND_CONTROL_SOCKET=").await;
    let link = sandbox.says("Dashboard:").await;
    let (link, code) = link.split_once(", code ").unwrap();
    assert!(link.starts_with(&format!("https://localhost:{port}/dashboard/open?link=")), "{link}");
    let page = http().get(link).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let (_, id) = link.split_once("link=").unwrap();
    let url = Url::parse(link).unwrap().join("/dashboard/open").unwrap();
    let code = &code[..6];
    let entered = http()
        .post(url)
        .header("origin", format!("https://localhost:{port}"))
        .form(&[("link", id), ("code", code)])
        .send()
        .await
        .unwrap();
    assert_eq!(entered.status(), 303, "{code}");

    assert!(command(&socket, "people").await.expect_success().is_empty());
    let start = Url::parse(&format!("https://localhost:{port}/oauth?person=ada@example.com")).unwrap();
    assert_eq!(BrowserClient::new().get(start).await.status, 302);
    let doctor = command(&socket, "doctor").await;
    assert_eq!(doctor.code, 0, "{doctor:?}");

    let output = sandbox.end().await;
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        !output.stderr.contains("set TOKEND"),
        "it recommends a setting that it does not read: {}",
        output.stderr
    );
    assert!(!std::path::Path::new(&socket).exists(), "no file is left");
}

#[tokio::test]
async fn a_sandbox_whose_port_is_in_use_says_how_to_choose_another() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut sandbox = Sandbox::start(port);
    let why = sandbox.says("sandbox: ").await;
    assert!(why.contains("cargo run --example sandbox ") && !why.contains("MY_APP_PORT"), "{why}");
}
