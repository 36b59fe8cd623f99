//! `import`, from files as the samples leave them.

use std::sync::Arc;
use std::sync::Mutex;

use rusqlite::Connection;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use super::Desk;
use super::person;
use super::problem;

fn importing(request: &str, body: &str) -> (u16, Value) {
    assert_eq!(request, "POST /api/v1/import");
    match body {
        body if body.contains("busy") => problem(503, "webex_unavailable", "Webex is away."),
        body if !body.contains("refresh_token\":\"") => {
            (200, json!({ "outcome": "refused", "detail": "no refresh token", "person": null }))
        }
        body if body.contains("older") => {
            let ada = person("ada@example.com", "fresh");
            (200, json!({ "outcome": "older", "detail": "a newer grant stays", "person": ada }))
        }
        _ => (200, json!({ "outcome": "new", "detail": null, "person": person("ada@example.com", "fresh") })),
    }
}

#[test]
fn lines_are_imported_one_by_one() {
    let desk = Desk::new();
    let daemon = desk.daemon(importing);
    desk.write(
        "grants.jsonl",
        "{\"refresh_token\":\"r1\"}\n\n{\"refresh_token\":\"r2\",\"access_token\":\"a2\"}\n",
    );
    let out = desk.run("import grants.jsonl").good();
    assert_eq!(
        out,
        "line 1: new ada@example.com (Ada Lovelace)\nline 3: new ada@example.com (Ada Lovelace)\n"
    );
    assert_eq!(
        daemon.asked(),
        [
            "POST /api/v1/import {\"refresh_token\":\"r1\",\"access_token\":null}",
            "POST /api/v1/import {\"refresh_token\":\"r2\",\"access_token\":\"a2\"}"
        ]
    );
}

#[test]
fn how_many_came_to_what_is_told_and_replacing_is_asked_for() {
    let desk = Desk::new();
    let daemon = desk.daemon(|request, body| match body {
        body if body.contains("kept") && !body.contains("\"replace\":true") => {
            let ada = person("ada@example.com", "fresh");
            (200, json!({ "outcome": "kept", "detail": "what is there stays", "person": ada }))
        }
        body => importing(request, body),
    });
    let lines = ["kept", "kept", "older", "r", "busy"].map(|r| format!("{{\"refresh_token\":\"{r}\"}}\n"));
    desk.write("g.jsonl", lines.concat());
    let ended = desk.run("import g.jsonl");
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.starts_with("line 1: kept ada@example.com (Ada Lovelace) (what is there stays)\n"),
        "{ended:?}"
    );
    let summary = "5 grants: 1 new, 0 replaced, 2 kept, 1 older, 1 not imported";
    assert!(ended.err.contains(summary), "{ended:?}");
    desk.write("g.jsonl", &lines[0]);
    assert!(desk.run("import --replace g.jsonl").good().contains("line 1: new"));
    assert!(daemon.asked().last().unwrap().ends_with("\"access_token\":null,\"replace\":true}"));
}

#[test]
fn one_failure_does_not_keep_the_others_out() {
    let desk = Desk::new();
    let _daemon = desk.daemon(importing);
    desk.write("g", "{\"refresh_token\":\"busy\"}\n{\"access_token\":\"a\"}\n{\"refresh_token\":\"r\"}\n");
    let ended = desk.run("import --from jsonl g");
    assert_eq!(ended.code, 1);
    let outcomes: Vec<&str> = ended.out.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(outcomes, ["failed", "refused", "new"], "{ended:?}");
    assert!(ended.err.contains("2 of 3 were not imported"), "{ended:?}");
}

#[test]
fn what_webex_asks_to_wait_is_waited_before_the_next_grant() {
    let desk = Desk::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let _daemon = desk.daemon(move |request, body| {
        seen.lock().unwrap().push(Instant::now());
        if body.contains("limited") {
            return (
                200,
                json!({ "outcome": "failed", "detail": "HTTP 429", "person": null, "retry_after": 2 }),
            );
        }
        importing(request, body)
    });
    let lines = ["r", "limited", "r", "r", "limited"].map(|r| format!("{{\"refresh_token\":\"{r}\"}}\n"));
    desk.write("g.jsonl", lines.concat());
    let ended = desk.run("import g.jsonl");
    assert_eq!(ended.code, 1, "{ended:?}");
    let times = times.lock().unwrap();
    let gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(gaps, [0, 2, 0, 0], "{ended:?}");
    assert_eq!(
        ended.err.matches("Webex asks to wait: the next grant is sent in 2 s").count(),
        1,
        "{ended:?}"
    );
}

#[test]
fn one_that_gives_way_to_a_newer_is_told_and_is_no_failure() {
    let desk = Desk::new();
    let _daemon = desk.daemon(importing);
    desk.write("g.jsonl", "{\"refresh_token\":\"older\"}\n{\"refresh_token\":\"r\"}\n");
    let out = desk.run("import g.jsonl").good();
    let told: Vec<&str> = out.lines().collect();
    assert!(told[0].starts_with("line 1: older ada@example.com"), "{out}");
    assert!(told[0].contains("a newer grant stays"), "{out}");
    assert!(told[1].starts_with("line 2: new "), "{out}");
}

#[test]
fn a_broken_file_imports_nothing() {
    let desk = Desk::new();
    let daemon = desk.daemon(importing);
    desk.write("g.jsonl", "{\"refresh_token\":\"r1\"}\n{\"refresh_token\":\"s3cret\n");
    let ended = desk.run("import g.jsonl");
    assert!(!ended.err.contains("s3cret"), "{ended:?}");
    ended.failed(1, "line 2 is not JSON");
    desk.run("import nowhere.json").failed(1, "cannot be read");
    desk.write("odd", "hello");
    desk.run("import odd").failed(2, "--from");
    desk.write("empty", "");
    desk.run("import --from jsonl empty").failed(1, "no grant");
    assert!(daemon.asked().is_empty());
}

#[test]
fn stdin_is_read_as_lines() {
    let desk = Desk::new();
    let daemon = desk.daemon(importing);
    desk.write("g", "{\"refresh_token\":\"r1\"}\n");
    let mut command = desk.command(&["import", "-"]);
    let output = command.stdin(std::fs::File::open(desk.path("g")).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.asked().len(), 1);
}

#[test]
fn the_samples_own_files_are_known_by_their_look() {
    let desk = Desk::new();
    let daemon = desk.daemon(importing);
    desk.write(
        ".wtr-cli.json",
        r#"{"clientid":"C-theirs","expiration":1795000000,"redirectport":"6855","refresh_token":"r-wtr","token":"t"}"#,
    );
    desk.write("old.env", "PORT=5000\nREFRESH_TOKEN=r-env\nACCESS_TOKEN=<your-access-token-here>\n");
    let db = Connection::open(desk.path("db.sqlite")).unwrap();
    db.execute_batch(
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, org_id VARCHAR(255), cluster_id VARCHAR(255), \
         access_token VARCHAR(255), expires_in INTEGER, refresh_token VARCHAR(255), refresh_token_expires_in INTEGER, \
         token_type VARCHAR(255), created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL); \
         INSERT INTO tokens VALUES (1, 'org', 'PF84', 'a', 43199, 'r-app', 5086614, 'Bearer', '2022', '2022')",
    )
    .unwrap();
    drop(db);
    let mut command = desk.command(&["import", ".wtr-cli.json"]);
    let output = command.env("MY_APP_CLIENT_ID", "C-ours").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("client id C-theirs"));
    desk.run("import old.env").good();
    desk.run("import db.sqlite").good();
    let asked = daemon.asked();
    assert!(asked[0].contains("r-wtr") && asked[1].contains("r-env"), "{asked:?}");
    assert_eq!(asked[2], "POST /api/v1/import {\"refresh_token\":\"r-app\",\"access_token\":\"a_PF84_org\"}");
}
