//! Daemons that are away, hang, or are none.

use std::process::Stdio;

use serde_json::json;

use super::Desk;
use super::fake_daemon::Daemon;
use super::person;

#[test]
fn without_a_daemon_and_without_settings_people_are_told_what_to_start() {
    let desk = Desk::new();
    desk.run("token ada@example.com").failed(5, "webex-tokend serve");
    assert!(!super::exists(&desk.path("tokend.db")));
}

#[test]
fn without_a_daemon_wrong_settings_are_told() {
    let desk = Desk::new();
    let output =
        desk.command(&["people"]).env("MY_APP_CLIENT_ID", "C1").env("MY_APP_PORT", "x").output().unwrap();
    super::Ended::from(output).failed(2, "MY_APP_PORT");
}

#[test]
fn a_store_in_use_is_told_and_not_waited_for_long() {
    let desk = Desk::new();
    let lock = std::fs::File::create(desk.path("tokend.db.lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(desk.path("tokend.db"), b"").unwrap();
    let mut command = desk.command(&["people"]);
    let output = command.env("MY_APP_CLIENT_ID", "C1").env("MY_APP_SECRET_ID", "s").output().unwrap();
    super::Ended::from(output).failed(5, "in use by another process");
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for_for_ever() {
    let desk = Desk::new();
    let _daemon = Daemon::raw(&desk.path("control.sock"), |_, _| Vec::new());
    desk.run("token ada@example.com --daemon-timeout 1").failed(5, "did not answer within 1 s");
}

#[test]
fn garbage_is_no_answer() {
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
        let desk = Desk::new();
        let _daemon = Daemon::raw(&desk.path("control.sock"), move |_, _| answer.to_vec());
        desk.run("people").failed(code, "webex-tokend: ");
        desk.run("token ada@example.com").failed(code, "webex-tokend: ");
    }
}

#[test]
fn a_list_that_runs_in_a_circle_ends() {
    let desk = Desk::new();
    let _daemon = desk.daemon(|_, _| (200, json!({ "people": [], "next": "here" })));
    desk.run("people").failed(1, "does not end");
}

#[test]
fn output_that_nobody_reads_is_no_failure() {
    let desk = Desk::new();
    let _daemon = desk.daemon(|_, _| {
        let people: Vec<_> = (0..500).map(|n| person(&format!("p{n}@example.com"), "fresh")).collect();
        (200, json!({ "people": people, "next": null }))
    });
    let mut child = desk.command(&["people"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
