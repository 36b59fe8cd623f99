//! `import` from the files that the samples write.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::Mutex;

use rusqlite::Connection;
use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use super::CliFixture;
use super::exists;
use super::person;
use super::problem;

fn importing(request: &str, body: &str) -> (u16, Value) {
    if request == "GET /api/v1/status" {
        return (200, json!({ "refresh_limits": { "concurrency": 1, "per_second": 20.0 } }));
    }
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
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    cli.write(
        "grants.jsonl",
        "{\"refresh_token\":\"r1\"}\n\n{\"refresh_token\":\"r2\",\"access_token\":\"a2\"}\n",
    );
    let out = cli.run("import grants.jsonl").expect_success();
    assert_eq!(
        out,
        "line 1: new ada@example.com (Ada Lovelace)\nline 3: new ada@example.com (Ada Lovelace)\n"
    );
    assert_eq!(
        daemon.requests(),
        [
            "GET /api/v1/status",
            "POST /api/v1/import {\"refresh_token\":\"r1\",\"access_token\":null}",
            "POST /api/v1/import {\"refresh_token\":\"r2\",\"access_token\":\"a2\"}"
        ]
    );
}

#[test]
fn an_import_prints_counts_by_outcome_and_replaces_only_on_request() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, body| match body {
        body if body.contains("kept") && !body.contains("\"replace\":true") => {
            let ada = person("ada@example.com", "fresh");
            (200, json!({ "outcome": "kept", "detail": "what is there stays", "person": ada }))
        }
        body => importing(request, body),
    });
    let lines = ["kept", "kept", "older", "r", "busy"].map(|r| format!("{{\"refresh_token\":\"{r}\"}}\n"));
    cli.write("g.jsonl", lines.concat());
    let output = cli.run("import g.jsonl");
    assert_eq!(output.code, 1);
    assert!(
        output.stdout.starts_with("line 1: kept ada@example.com (Ada Lovelace) (what is there stays)\n"),
        "{output:?}"
    );
    let summary = "5 grants: 1 new, 0 replaced, 2 kept, 1 older, 1 not imported";
    assert!(output.stderr.contains(summary), "{output:?}");
    cli.write("g.jsonl", &lines[0]);
    assert!(cli.run("import --replace g.jsonl").expect_success().contains("line 1: new"));
    assert!(daemon.requests().last().unwrap().ends_with("\"access_token\":null,\"replace\":true}"));
}

#[test]
fn one_failed_line_does_not_stop_the_import() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(importing);
    cli.write("g", "{\"refresh_token\":\"busy\"}\n{\"access_token\":\"a\"}\n{\"refresh_token\":\"r\"}\n");
    let output = cli.run("import --from jsonl g");
    assert_eq!(output.code, 1);
    let outcomes = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("line "));
        lines.filter_map(|line| Some(line.split(' ').nth(2)?.to_owned())).collect()
    };
    assert_eq!(outcomes(&output.stdout), ["new"], "{output:?}");
    assert_eq!(outcomes(&output.stderr), ["failed", "refused"], "{output:?}");
    assert!(output.stderr.contains("2 of 3 were not imported"), "{output:?}");
}

#[test]
fn an_import_waits_as_long_as_webex_asks_before_the_next_grant() {
    let cli = CliFixture::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = times.clone();
    let _daemon = cli.daemon(move |request, body| {
        if request.starts_with("POST") {
            seen.lock().unwrap().push(Instant::now());
        }
        if body.contains("limited") {
            return (
                200,
                json!({ "outcome": "failed", "detail": "HTTP 429", "person": null, "retry_after": 2 }),
            );
        }
        importing(request, body)
    });
    let lines = ["r", "limited", "r", "r", "limited"].map(|r| format!("{{\"refresh_token\":\"{r}\"}}\n"));
    cli.write("g.jsonl", lines.concat());
    let output = cli.run("import g.jsonl");
    assert_eq!(output.code, 1, "{output:?}");
    let times = times.lock().unwrap();
    let gaps: Vec<u64> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(gaps, [0, 2, 0, 0], "{output:?}");
    assert_eq!(
        output.stderr.matches("Webex asks to wait: the next grant is sent in 2 s").count(),
        1,
        "{output:?}"
    );
}

#[test]
fn a_line_that_gives_way_to_a_newer_consent_is_reported_as_no_failure() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(importing);
    cli.write("g.jsonl", "{\"refresh_token\":\"older\"}\n{\"refresh_token\":\"r\"}\n");
    let out = cli.run("import g.jsonl").expect_success();
    let told: Vec<&str> = out.lines().collect();
    assert!(told[0].starts_with("line 1: older ada@example.com"), "{out}");
    assert!(told[0].contains("a newer grant stays"), "{out}");
    assert!(told[1].starts_with("line 2: new "), "{out}");
}

#[test]
fn a_broken_file_imports_nothing() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    cli.write("g.jsonl", "{\"refresh_token\":\"r1\"}\n{\"refresh_token\":\"s3cret\n");
    let output = cli.run("import g.jsonl");
    assert!(!output.stderr.contains("s3cret"), "{output:?}");
    output.expect_failure(1, "line 2 is not JSON");
    cli.run("import nowhere.json").expect_failure(1, "cannot be read");
    cli.write("odd", "hello");
    cli.run("import odd").expect_failure(2, "--from");
    cli.write("empty", "");
    cli.run("import --from jsonl empty").expect_failure(1, "no grant");
    assert!(daemon.requests().is_empty());
}

#[test]
fn every_bad_line_is_named_and_nothing_is_imported() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    let lines =
        ["{\"refresh_token\":\"r\"}", "{}", "s3cret", "{\"refresh_token\":\"r\"}", "{\"access_token\":7}"];
    cli.write("g.jsonl", lines.join("\n"));
    let output = cli.run("import g.jsonl");
    for line in ["line 2 has neither", "line 3 is not JSON", "line 5 is not an object"] {
        assert!(output.stderr.contains(&format!("g.jsonl: {line}")), "{output:?}");
    }
    assert!(!output.stderr.contains("s3cret"), "{output:?}");
    assert!(output.stderr.contains("3 places are wrong"), "{output:?}");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(daemon.requests().is_empty());
}

#[test]
fn grants_that_are_not_imported_are_in_a_file_that_can_be_imported() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    cli.write("g", "{\"refresh_token\":\"busy\"}\n{\"access_token\":\"a\"}\n{\"refresh_token\":\"r\"}\n");
    let output = cli.run("import --from jsonl --failed-to failed.jsonl g");
    assert!(output.stderr.contains("import failed.jsonl later"), "{output:?}");
    assert_eq!(output.code, 1);
    let mode = std::fs::metadata(cli.path("failed.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = daemon.requests().len();
    cli.run("import --failed-to failed.jsonl failed.jsonl").expect_failure(2, "name a new file");
    assert_eq!(daemon.requests().len(), before, "the file is not overwritten");
    let output = cli.run("import --failed-to again.jsonl failed.jsonl");
    assert!(output.stderr.contains("2 of 2 were not imported"), "{output:?}");
    let sent = daemon.requests().split_off(before + 1);
    assert_eq!(
        sent,
        [
            "POST /api/v1/import {\"refresh_token\":\"busy\",\"access_token\":null}",
            "POST /api/v1/import {\"refresh_token\":null,\"access_token\":\"a\"}"
        ]
    );
    cli.write("good", "{\"refresh_token\":\"r\"}\n");
    cli.run("import --failed-to none.jsonl good").expect_success();
    assert!(!exists(&cli.path("none.jsonl")), "an empty file is removed");
}

#[test]
fn a_daemon_that_stops_leaves_the_rest_in_the_file() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, body| {
        if body.contains("last") {
            // The answer has no body as announced.
            return (204, Value::Null);
        }
        importing(request, body)
    });
    let lines = ["r1", "last", "r3", "r4"].map(|token| format!("{{\"refresh_token\":\"{token}\"}}\n"));
    cli.write("g.jsonl", lines.concat());
    let output = cli.run("import --failed-to failed.jsonl g.jsonl");
    assert!(output.stderr.contains("4 grants: 3 new"), "{output:?}");
    let failed = std::fs::read_to_string(cli.path("failed.jsonl")).unwrap();
    assert_eq!(failed.lines().count(), 1, "{failed}");
}

#[test]
fn stdin_is_read_as_lines() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    cli.write("g", "{\"refresh_token\":\"r1\"}\n");
    let mut command = cli.command(&["import", "-"]);
    let output = command.stdin(std::fs::File::open(cli.path("g")).unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(daemon.requests().len(), 1);
}

#[test]
fn files_of_the_samples_are_recognized_by_their_content() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(importing);
    cli.write(
        ".wtr-cli.json",
        r#"{"clientid":"C-theirs","expiration":1795000000,"redirectport":"6855","refresh_token":"r-wtr","token":"t"}"#,
    );
    cli.write("old.env", "PORT=5000\nREFRESH_TOKEN=r-env\nACCESS_TOKEN=<your-access-token-here>\n");
    let db = Connection::open(cli.path("db.sqlite")).unwrap();
    db.execute_batch(
        "CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, org_id VARCHAR(255), cluster_id VARCHAR(255), \
         access_token VARCHAR(255), expires_in INTEGER, refresh_token VARCHAR(255), refresh_token_expires_in INTEGER, \
         token_type VARCHAR(255), created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL); \
         INSERT INTO tokens VALUES (1, 'org', 'PF84', 'a', 43199, 'r-app', 5086614, 'Bearer', '2022', '2022')",
    )
    .unwrap();
    drop(db);
    let mut command = cli.command(&["import", ".wtr-cli.json"]);
    let output = command.env("MY_APP_CLIENT_ID", "C-ours").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stderr).unwrap().contains("client id C-theirs"));
    cli.run("import old.env").expect_success();
    cli.run("import db.sqlite").expect_success();
    let asked = daemon.requests();
    assert!(asked[0].contains("r-wtr") && asked[1].contains("r-env"), "{asked:?}");
    assert_eq!(asked[2], "POST /api/v1/import {\"refresh_token\":\"r-app\",\"access_token\":\"a_PF84_org\"}");
}
