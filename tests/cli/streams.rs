//! Long lists are printed page by page.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::mpsc;

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::at;
use super::json_of;
use super::not_found;
use super::person;

/// Runs the command against a daemon that sends its second page only when the first item of the first one has been printed.
/// Returns what was printed.
fn first_item_before_the_second_page(words: &[&str], list: &'static str, first: &str) -> (String, String) {
    let cli = CliFixture::new();
    let (go, may) = mpsc::channel::<()>();
    let may = Mutex::new(may);
    let _daemon = cli.daemon(move |request, _| {
        let page = |email: &str, next: Value| {
            let mut item = person(email, "fresh");
            item["refreshes"] = 3.into();
            item["consent_by"] = Value::Null;
            (200, json!({ "days": 90, "people": [item], "next": next }))
        };
        match request {
            _ if request.contains("after=x") => {
                may.lock().unwrap().recv().unwrap();
                page("eve@example.com", Value::Null)
            }
            _ if request.contains(list) => page("ada@example.com", "x".into()),
            _ => not_found(),
        }
    });
    let mut command = cli.command(words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut out, mut printed) = (BufReader::new(child.stdout.take().unwrap()), String::new());
    while !printed.contains(first) {
        assert_ne!(out.read_line(&mut printed).unwrap(), 0, "{printed}");
    }
    assert!(!printed.contains("eve@"), "{printed}");
    go.send(()).unwrap();
    out.read_to_string(&mut printed).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    (printed, String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn people_prints_the_first_page_before_it_asks_for_the_second_and_sums_at_the_end() {
    let (out, err) = first_item_before_the_second_page(&["people"], "/people?", "ada@example.com");
    assert_eq!(out.lines().count(), 3, "one header: {out}");
    assert!(err.ends_with("2 persons: 2 fresh\n"), "{err}");
}

#[test]
fn plan_prints_the_first_page_before_it_asks_for_the_second_and_sums_at_the_end() {
    let (out, err) = first_item_before_the_second_page(&["plan"], "/plan?", "ada@example.com");
    assert_eq!(out.lines().count(), 3, "one header: {out}");
    assert!(err.ends_with("2 persons in 90 days: 6 refreshes, 0 must consent again\n"), "{err}");
}

#[test]
fn plan_by_day_sums_all_pages_and_prints_no_person() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        let planned = |first: &str, consent_by: Value| {
            json!({
                "person_id": "p", "email": "ada@example.com", "state": "fresh", "next_refresh_at": first, "refreshes": 2,
                "interval_seconds": 86_400, "consent_by": consent_by,
            })
        };
        let page = |planned: Value, next: Value| (200, json!({ "days": 90, "people": [planned], "next": next }));
        match request {
            _ if request.contains("after=x") => page(planned("2100-01-02T00:00:00Z", "2100-01-03T12:00:00Z".into()), Value::Null),
            _ if request.contains("/plan?") => page(planned("2100-01-01T00:00:00Z", Value::Null), "x".into()),
            _ => not_found(),
        }
    });
    let table = cli.run("plan --by-day");
    assert!(
        table.stderr.ends_with("2 persons in 90 days: 4 refreshes, 1 must consent again\n"),
        "{}",
        table.stderr
    );
    let rows: Vec<String> = table
        .expect_success()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rows,
        ["DAY REFRESHES MUST CONSENT AGAIN", "2100-01-01 1 0", "2100-01-02 2 0", "2100-01-03 1 1"]
    );
    let json = json_of(&cli.run("plan --by-day -j").expect_success());
    assert_eq!(json["by_day"][1], json!({ "day": "2100-01-02", "refreshes": 2, "consents": 0 }));
    assert_eq!(json["days"], 90);
}

#[test]
fn json_is_streamed_in_the_same_form_as_before() {
    for (words, list) in [(["people", "-j"], "/people?"), (["plan", "-j"], "/plan?")] {
        let (out, err) = first_item_before_the_second_page(&words, list, "\"ada@example.com\"");
        assert_eq!(err, "");
        let all = json_of(&out);
        assert_eq!(all["people"].as_array().unwrap().len(), 2);
        assert_eq!(all["next"], Value::Null);
        let fields: Vec<&str> = out.lines().filter(|line| line.starts_with("  \"")).collect();
        let expected = ["  \"days\": 90,", "  \"people\": [", "  \"next\": null"];
        assert_eq!(fields, if words[0] == "plan" { &expected[..] } else { &expected[1..] }, "{out}");
    }
}

#[test]
fn key_list_follows_every_page() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        let page = |name: &str, next: Value| {
            let key = json!({
                "name": name, "id": "abc", "persons": null, "can": ["read"], "created_at": at(-60), "expires_at": null,
                "last_used_at": null,
            });
            (200, json!({ "keys": [key], "next": next }))
        };
        if request.contains("after=x") { page("second", Value::Null) } else { page("first", "x".into()) }
    });
    let table = cli.run("key list").expect_success();
    assert_eq!(
        (table.lines().count(), table.contains("first"), table.contains("second")),
        (3, true, true),
        "{table}"
    );
    let json = json_of(&cli.run("key list -j").expect_success());
    assert_eq!((&json["keys"][1]["name"], &json["next"]), (&json!("second"), &Value::Null));
}

#[test]
fn an_empty_list_as_json_is_an_object_all_the_same() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| (200, json!({ "people": [], "next": null, "days": 90 })));
    assert_eq!(cli.run("people -j").expect_success(), "{\n  \"people\": [],\n  \"next\": null\n}\n");
    let plan = cli.run("plan -j").expect_success();
    assert_eq!(plan, "{\n  \"days\": 90,\n  \"people\": [],\n  \"next\": null\n}\n");
}
