//! A daemon that is not running, hangs, or answers garbage.

use std::process::Stdio;

use serde_json::json;

use super::CliFixture;
use super::fake_daemon::FakeDaemon;
use super::person;

#[test]
fn without_daemon_and_settings_the_error_says_what_to_start() {
    let cli = CliFixture::new();
    cli.run("token ada@example.com").expect_failure(5, "webex-tokend serve");
    assert!(!super::exists(&cli.path("tokend.db")));
}

#[test]
fn without_a_daemon_wrong_settings_are_reported() {
    let cli = CliFixture::new();
    let output =
        cli.command(&["people"]).env("MY_APP_CLIENT_ID", "C1").env("MY_APP_PORT", "x").output().unwrap();
    super::CommandOutput::from(output).expect_failure(2, "MY_APP_PORT");
}

#[test]
fn a_store_in_use_is_reported_within_seconds() {
    let cli = CliFixture::new();
    let lock = std::fs::File::create(cli.path("tokend.db.lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(cli.path("tokend.db"), b"").unwrap();
    let mut command = cli.command(&["people"]);
    let output = command.env("MY_APP_CLIENT_ID", "C1").env("MY_APP_SECRET_ID", "s").output().unwrap();
    super::CommandOutput::from(output).expect_failure(5, "in use by another process");
}

#[test]
fn a_command_does_not_wait_forever_for_a_hanging_daemon() {
    let cli = CliFixture::new();
    let _daemon = FakeDaemon::start_raw(&cli.path("control.sock"), |_, _| Vec::new());
    cli.run("token ada@example.com --daemon-timeout 1").expect_failure(5, "did not answer within 1 s");
}

#[test]
fn a_response_that_is_no_http_is_an_error() {
    let answers: [(&[u8], i32); 8] = [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{}", 5),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 5),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", 1),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 1),
        (b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\noops", 1),
        (b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere\r\ncontent-length: 0\r\n\r\n", 1),
    ];
    for (answer, code) in answers {
        let cli = CliFixture::new();
        let _daemon = FakeDaemon::start_raw(&cli.path("control.sock"), move |_, _| answer.to_vec());
        cli.run("people").expect_failure(code, "webex-tokend: ");
        cli.run("token ada@example.com").expect_failure(code, "webex-tokend: ");
    }
}

#[test]
fn a_list_whose_cursors_form_a_cycle_ends() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| (200, json!({ "people": [], "next": "here" })));
    cli.run("people").expect_failure(1, "does not end");
}

#[test]
fn a_closed_output_pipe_is_no_failure() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| {
        let people: Vec<_> = (0..500).map(|n| person(&format!("p{n}@example.com"), "fresh")).collect();
        (200, json!({ "people": people, "next": null }))
    });
    let mut child = cli.command(&["people"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
