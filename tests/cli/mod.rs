//! The commands as people and scripts run them: the real program, a clean environment, a fake daemon.

mod backlog;
mod commands;
mod fake_daemon;
mod forget_all;
mod imports;
mod manual;
mod other_users;
mod streams;
mod tables;
mod tokens;
mod unavailable_daemon;

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use self::fake_daemon::FakeDaemon;
use crate::support::CommandOutput;

/// A temporary directory that is the state directory, the working directory and the home of a command.
struct CliFixture {
    dir: TempDir,
}

impl CliFixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
        command.env_clear().current_dir(self.dir.path()).stdin(Stdio::null());
        command
            .env("HOME", self.dir.path())
            .env("TOKEND_STATE_DIR", self.dir.path())
            .env("PATH", "/usr/bin:/bin");
        command.args(words);
        command
    }

    /// Words are separated by spaces.
    fn run(&self, words: &str) -> CommandOutput {
        let words: Vec<&str> = words.split(' ').collect();
        self.command(&words).output().unwrap().into()
    }

    /// Starts a fake daemon that answers with `answers`.
    fn daemon(&self, answers: impl Fn(&str, &str) -> (u16, Value) + Send + 'static) -> FakeDaemon {
        FakeDaemon::start(&self.path("control.sock"), answers)
    }
}

/// The time so many seconds from now, in the format of the API.
fn at(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn person(email: &str, state: &str) -> Value {
    json!({
        "person_id": format!("id-of-{email}"), "email": email, "display_name": "Ada Lovelace", "org_id": "org",
        "state": state, "scope": "spark:all", "missing_scopes": [], "obtained_at": at(-90_000), "renewed_at": at(-7_290),
        "expires_at": at(2 * 86_400 + 4 * 3600 + 90), "refresh_token_expires_at": at(89 * 86_400 + 90),
        "next_refresh_at": at(3 * 3600 + 330), "last_attempt_at": at(-7_290), "last_outcome": "renewed", "failures": 0,
        "consent_url": "https://localhost:8000/oauth"
    })
}

const TOKEN: &str = "NmNmNjliZTgtMzA2NS00MmQy_PF84_1eb65fdf-9643-417f-9974-ad72cae0e10f";

fn token(email: &str) -> Value {
    json!({
        "access_token": TOKEN, "token_type": "Bearer", "expires_in": 7_290, "expires_at": at(7_290),
        "person_id": format!("id-of-{email}"), "email": email, "scope": "spark:all"
    })
}

fn problem(status: u16, code: &str, detail: &str) -> (u16, Value) {
    let body =
        json!({ "type": "about:blank", "title": "No", "status": status, "detail": detail, "code": code });
    (status, body)
}

fn not_found() -> (u16, Value) {
    problem(404, "not_found", "There is nothing here.")
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn exists(path: &Path) -> bool {
    path.exists()
}
