//! Protection against other users of the machine: files in the working directory, programs that listen in the daemon's
//! place, and the environment of programs that a command starts.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::CommandOutput;
use super::exists;
use super::fake_daemon::FakeDaemon;
use super::not_found;
use super::person;
use super::token;

const OTHER_USER: u32 = 65_534;
const SOCKET_VARIABLE: &str = "TOKEND_TEST_PLACE";

/// Every variable that may hold one of the daemon's secrets.
const SECRETS: [&str; 7] = [
    "MY_APP_SECRET_ID",
    "CLIENT_SECRET",
    "WEBEX_SECRET",
    "PASSPHRASE",
    "BOT_TOKEN",
    "TEST_ACCESS_TOKEN",
    "TEST_REFRESH_TOKEN",
];

fn answers(request: &str, _body: &str) -> (u16, Value) {
    match request.split('?').next().unwrap() {
        "GET /api/v1/people" => {
            (200, json!({ "people": [person("ada@example.com", "fresh")], "next": null, "sole": true }))
        }
        "POST /api/v1/dashboard-links" => (
            201,
            json!({ "url": "https://localhost:8000/dashboard/in", "code": "123456", "expires_at": super::at(60) }),
        ),
        "POST /api/v1/import" => {
            (200, json!({ "outcome": "new", "detail": null, "person": person("ada@example.com", "fresh") }))
        }
        request if request.ends_with("/token") => (200, token("ada@example.com")),
        _ => not_found(),
    }
}

/// Another directory, with a `.env` in it.
fn elsewhere(cli: &CliFixture, dotenv: &str) -> PathBuf {
    let dir = cli.path("elsewhere");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(".env"), dotenv).unwrap();
    dir
}

fn program(cli: &CliFixture, name: &str, script: &str) -> PathBuf {
    cli.write(name, format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(cli.path(name), PermissionsExt::from_mode(0o700)).unwrap();
    cli.path(name)
}

fn wait_for(path: &Path) -> String {
    for _ in 0..2000 {
        if exists(path) {
            return std::fs::read_to_string(path).unwrap();
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    panic!("{} was not created", path.display());
}

#[test]
fn a_command_ignores_a_dotenv_file_in_the_working_directory() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(answers);
    let evil = FakeDaemon::start(&cli.path("evil.sock"), answers);
    let opened = program(&cli, "evil", "touch $(dirname $0)/opened");
    let dotenv = format!(
        "BROWSER={}\nTOKEND_CONTROL_SOCKET={}\nTOKEND_DEFAULT_PERSON=eve@example.com\nWEBEX_API_BASE_URL=https://evil.example\n",
        opened.display(),
        cli.path("evil.sock").display()
    );
    let dir = elsewhere(&cli, &dotenv);
    cli.write("grants.jsonl", "{\"refresh_token\":\"s3cr3t\"}\n");
    let file = cli.path("grants.jsonl");
    let words: [&[&str]; 4] = [&["people"], &["token"], &["dashboard"], &["import", file.to_str().unwrap()]];
    for words in words {
        // No browser is available.
        let output: CommandOutput =
            cli.command(words).current_dir(&dir).env("PATH", "/nowhere").output().unwrap().into();
        output.expect_success();
    }
    assert!(daemon.requests().iter().any(|asked| asked.contains("s3cr3t")));
    assert!(evil.requests().is_empty(), "{:?}", evil.requests());
    assert!(!exists(&cli.path("opened")));

    let evil_dotenv = dir.join(".env");
    let named = ["--env-file", evil_dotenv.to_str().unwrap(), "people"];
    let output = cli.command(&named).env_remove("TOKEND_STATE_DIR").output().unwrap();
    CommandOutput::from(output).expect_success();
    assert_eq!(evil.requests().len(), 2, "a named file is used: {:?}", evil.requests());
    let output = cli.command(&named).output().unwrap();
    CommandOutput::from(output).expect_success();
    assert_eq!(evil.requests().len(), 2, "but the environment's own path wins: {:?}", evil.requests());
}

#[test]
fn a_dotenv_file_in_the_state_directory_is_used_unless_others_can_write_it() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(answers);
    cli.write(".env", "TOKEND_DEFAULT_PERSON=grace@example.com\nBROWSER=./evil\n");
    cli.run("token").expect_success();
    assert_eq!(daemon.requests(), ["GET /api/v1/people/grace%40example.com/token"]);
    std::fs::set_permissions(cli.path(".env"), PermissionsExt::from_mode(0o666)).unwrap();
    for words in ["token", "people", "doctor"] {
        let output = cli.run(words);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        output.expect_failure(2, "its mode is 0666, so other users can write it (run chmod go-w");
    }
    assert_eq!(daemon.requests().len(), 1);
}

#[test]
fn an_invalid_default_person_is_reported_by_its_variable() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(answers);
    let output = cli.command(&["token"]).env("TOKEND_DEFAULT_PERSON", "a@b@c").output().unwrap();
    CommandOutput::from(output).expect_failure(2, "TOKEND_DEFAULT_PERSON");
    let output = cli.command(&["token"]).env("TOKEND_DEFAULT_PERSON", "'ada@example.com'").output().unwrap();
    CommandOutput::from(output).expect_failure(2, "TOKEND_DEFAULT_PERSON: found a value in quotes");
}

fn with_secrets(command: &mut Command) {
    for name in SECRETS {
        command.env(name, "s3cr3t");
    }
}

#[test]
fn a_command_gets_no_secret_of_the_daemon() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(answers);
    for name in SECRETS {
        let mut command = cli.command(&["exec", "ada@example.com", "--", "env"]);
        let output = command.env(name, "s3cr3t").env("KEPT", "as it is").output().unwrap();
        let out = CommandOutput::from(output).expect_success();
        assert!(out.contains("KEPT=as it is") && out.contains("WEBEX_ACCESS_TOKEN="), "{out}");
        assert!(!out.contains("s3cr3t"), "{name} is in the environment: {out}");
    }
}

#[test]
fn a_browser_gets_no_secret_of_the_daemon() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(answers);
    let browser = program(&cli, "browser", "cd $(dirname $0); env > seen.part; mv seen.part seen");
    let mut command = cli.command(&["dashboard"]);
    with_secrets(&mut command);
    CommandOutput::from(command.env("BROWSER", &browser).output().unwrap()).expect_success();
    let seen = wait_for(&cli.path("seen"));
    assert!(seen.contains("PATH=") && !seen.contains("s3cr3t"), "{seen}");
}

/// A program of another user that listens at `place` and records what it receives.
fn listen_as_other_user(place: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "cli::other_users::listens_as_another_user", "--ignored"])
        .env(SOCKET_VARIABLE, place);
    let stranger =
        command.uid(OTHER_USER).gid(OTHER_USER).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..2000 {
        if exists(place) {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    assert!(exists(place), "the other user's program does not listen");
    stranger
}

#[test]
#[ignore = "a part that another test gives to a process of another user"]
fn listens_as_another_user() {
    #[expect(clippy::disallowed_methods, reason = "set by the test that started this process")]
    let place = PathBuf::from(std::env::var(SOCKET_VARIABLE).unwrap());
    let listener = UnixListener::bind(&place).unwrap();
    std::fs::set_permissions(&place, PermissionsExt::from_mode(0o777)).unwrap();
    for stream in listener.incoming() {
        let mut heard = Vec::new();
        let mut stream = stream.unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let _ = stream.read_to_end(&mut heard);
        std::fs::write(place.with_extension("heard"), heard).unwrap();
    }
}

#[test]
fn nothing_is_sent_to_a_socket_of_another_user() {
    let cli = CliFixture::new();
    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(cli.dir.path()).unwrap());
    if me != 0 {
        eprintln!("SKIPPED: only root can start a program of another user");
        return;
    }
    std::fs::set_permissions(cli.dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    cli.write("grants.jsonl", "{\"refresh_token\":\"s3cr3t\"}\n");
    let mut stranger = listen_as_other_user(&cli.path("control.sock"));
    let heard = cli.path("control.heard");
    for words in ["import grants.jsonl", "token ada@example.com", "dashboard --no-browser"] {
        let output = cli.run(words);
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        output.expect_failure(5, "is served by a process of uid 65534, and nothing was sent to it");
        assert_eq!(wait_for(&heard), "");
        std::fs::remove_file(&heard).unwrap();
    }
    // The state directory belongs to the other user, and so does the daemon that the command is meant for.
    chown(cli.dir.path(), Some(OTHER_USER), None).unwrap();
    cli.run("import grants.jsonl --daemon-timeout 1").expect_failure(5, "control.sock");
    assert!(wait_for(&heard).contains("s3cr3t"));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
