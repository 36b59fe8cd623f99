//! `people`, `plan`, `why` and `key list`, as people and programs read them.

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::CommandOutput;
use super::at;
use super::json_of;
use super::not_found;
use super::person;

/// A list of two pages: one person per state, names in several scripts, and one with control characters.
fn list(request: &str, _body: &str) -> (u16, Value) {
    let mut greek = person("ypatia@example.com", "consent_needed");
    greek["display_name"] = "Ὑπατία \u{1b}[31m\nforged".into();
    greek["failures"] = 2.into();
    greek["last_outcome"] = "consent_needed".into();
    greek["next_refresh_at"] = Value::Null;
    let mut chinese = person("li@example.com", "retrying");
    chinese["display_name"] = "李雷".into();
    match request {
        "GET /api/v1/people?limit=200" => {
            (200, json!({ "people": [person("ada@example.com", "fresh"), greek], "next": "2/a" }))
        }
        "GET /api/v1/people?limit=200&after=2%2Fa" => (200, json!({ "people": [chinese], "next": null })),
        _ => not_found(),
    }
}

fn wide(cli: &CliFixture, words: &[&str], columns: &str) -> CommandOutput {
    cli.command(words).env("COLUMNS", columns).output().unwrap().into()
}

#[test]
fn a_consent_link_names_the_person_only_if_one_person_needs_it() {
    for (needy, link) in [(1, "/oauth?person=ada%40example.com\n"), (2, "/oauth\n")] {
        let cli = CliFixture::new();
        let _daemon = cli.daemon(move |_, _| {
            let mut all = ["ada@example.com", "eve@example.com"].map(|who| person(who, "fresh"));
            for person in &mut all[..needy] {
                person["state"] = "consent_needed".into();
                person["consent_url"] = "https://localhost:8000/oauth?person=ada%40example.com".into();
            }
            (200, json!({ "people": all, "next": null }))
        });
        let output = wide(&cli, &["people"], "200");
        let told = format!("{needy} must consent again, at https://localhost:8000{link}");
        assert!(output.stderr.contains(&told), "{output:?}");
    }
}

#[test]
fn people_are_printed_as_a_table_that_fits_the_terminal() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(list);
    for columns in [60, 80, 200] {
        let output = wide(&cli, &["people"], &columns.to_string());
        assert!(
            output.stderr.contains("1 must consent again, at https://localhost:8000/oauth"),
            "{output:?}"
        );
        let out = output.expect_success();
        assert_eq!(out.lines().count(), 4, "{out}");
        // Chinese characters take two cells, so a line has fewer characters than cells.
        assert!(out.lines().all(|line| line.chars().count() <= columns), "{columns}: {out}");
        assert!(!out.contains('\u{1b}'), "{out}");
        for shown in ["STATE", "EXPIRES IN", "fresh", "consent_needed", "2d 4h", "ada@example.com"] {
            assert!(out.contains(shown), "{shown} at {columns}: {out}");
        }
    }
    let out = wide(&cli, &["status"], "200").expect_success();
    for shown in [
        "li@example.com (李雷)",
        "Ὑπατία \\u{1b}[31m\\nforged",
        "89d",
        "3h 5m",
        "2h 1m",
        "consent_needed, failed 2 times in a row",
    ] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
}

#[test]
fn people_as_json_include_every_page() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(list);
    let json = json_of(&cli.run("people -j").expect_success());
    assert_eq!(json["people"].as_array().unwrap().len(), 3);
    assert_eq!(json["people"][2]["display_name"], "李雷");
    assert_eq!(json["next"], Value::Null);
}

#[test]
fn an_empty_list_is_no_failure() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| (200, json!({ "people": [], "next": null, "days": 90, "keys": [] })));
    for words in ["people", "plan", "key list"] {
        let output = cli.run(words);
        assert!(!output.stderr.is_empty());
        assert_eq!(output.expect_success(), "");
    }
}

#[test]
fn why_prints_every_rule() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        assert_eq!(request, "GET /api/v1/people/ada%40example.com/why");
        let rules = json!([
            { "rule": "survival", "refresh": null, "at": null, "says": "It outlives the next wake." },
            { "rule": "noop_window", "refresh": false, "at": at(100), "says": "Renewed two hours ago." },
        ]);
        let why = json!({
            "person": person("ada@example.com", "fresh"), "rules": rules, "last_detail": null,
            "next_refresh_at": at(3 * 3600 + 330), "summary": "Nothing to do before three hours are over."
        });
        (200, why)
    });
    let out = cli.run("why ada@example.com").expect_success();
    for shown in [
        "ada@example.com (Ada Lovelace): fresh",
        "Nothing to do",
        "noop_window  wait",
        "in 3h 5m",
        "2h 1m ago: renewed",
    ] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    assert_eq!(json_of(&cli.run("why ada@example.com -j").expect_success())["rules"][1]["refresh"], false);
}

#[test]
fn a_plan_of_several_pages_is_one_table() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        let planned = |email: &str, consent: Value| {
            json!({ "person_id": "i", "email": email, "state": "fresh", "next_refresh_at": at(330), "refreshes": 30,
                "consent_by": consent })
        };
        match request {
            "GET /api/v1/plan?days=30" => {
                (200, json!({ "days": 30, "people": [planned("ada@example.com", Value::Null)], "next": "x" }))
            }
            "GET /api/v1/plan?days=30&after=x" => {
                let late = planned("late@example.com", "2027-01-01T00:00:00Z".into());
                (200, json!({ "days": 30, "people": [late], "next": null }))
            }
            _ => not_found(),
        }
    });
    let out = cli.run("plan --days 30").expect_success();
    for shown in ["ada@example.com", "5m", "30", "late@example.com", "2027-01-01T00:00:00Z"] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    let json = json_of(&cli.run("plan --days 30 -j").expect_success());
    assert_eq!(json["people"].as_array().unwrap().len(), 2);
}

#[test]
fn keys_are_printed_as_a_table_without_secrets() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| {
        let key = json!({ "name": "ci", "id": "abcd1234", "persons": null, "can": ["read", "refresh"],
            "created_at": at(-7_290), "expires_at": null, "last_used_at": null });
        (200, json!({ "keys": [key] }))
    });
    let out = cli.run("key list").expect_success();
    for shown in ["ci", "abcd1234", "read,refresh", "all persons", "never"] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
    assert_eq!(json_of(&cli.run("key list -j").expect_success())["keys"][0]["name"], "ci");
}

#[test]
fn keys_are_listed_with_the_addresses_of_their_persons() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        let key = |name: &str, persons: &[&str]| {
            json!({ "name": name, "id": "abcd1234", "persons": persons, "can": ["read"], "created_at": at(-100),
                "expires_at": null, "last_used_at": null })
        };
        match request {
            "GET /api/v1/keys?limit=200" => {
                let keys = [key("one", &["a"]), key("many", &["b", "a", "c", "d"]), key("gone", &["lost"])];
                (200, json!({ "keys": keys }))
            }
            "GET /api/v1/people/a" => (200, person("ada@example.com", "fresh")),
            "GET /api/v1/people/b" => (200, person("grace@example.com", "fresh")),
            _ => not_found(),
        }
    });
    let out = cli.run("key list").expect_success();
    let line = |name: &str| out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("one").contains(" ada@example.com "), "{out}");
    assert!(line("many").contains(" grace@example.com, ada@example.com and 2 more "), "{out}");
    assert!(line("gone").contains(" lost "), "{out}");
}

#[test]
fn people_are_filtered() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, _| match request {
        "GET /api/v1/people?limit=200" | "GET /api/v1/people?limit=200&state=due" => {
            let mut people = ["a@x.y", "b@x.y", "c@x.y"].map(|email| person(email, "due"));
            people[1]["missing_scopes"] = json!(["spark:rooms_read"]);
            people[2]["missing_scopes"] = json!(["spark:rooms_read", "spark:all"]);
            (200, json!({ "people": people, "next": null }))
        }
        _ => not_found(),
    });
    let listed = |words: &str| -> Vec<String> {
        let people = json_of(&cli.run(words).expect_success())["people"].clone();
        people.as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("people -j"), ["a@x.y", "b@x.y", "c@x.y"]);
    assert_eq!(listed("people -j --missing-scope"), ["b@x.y", "c@x.y"]);
    assert_eq!(listed("people -j --missing-scope --limit 1"), ["b@x.y"]);
    assert_eq!(listed("people -j --state due --limit 2"), ["a@x.y", "b@x.y"]);
    assert!(daemon.requests().last().unwrap().contains("&state=due"));
    let output = cli.run("people");
    assert!(
        output.stderr.contains("2 lack a scope of MY_APP_SCOPES (spark:all spark:rooms_read)"),
        "{output:?}"
    );
}
