//! `forget` of many persons.

use std::fs;

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::fake_daemon::FakeDaemon;
use super::json_of;
use super::not_found;
use super::person;

/// A daemon with 250 persons who must consent. The first of each step has consented meanwhile.
fn needy(cli: &CliFixture) -> FakeDaemon {
    let page = |from: usize, to: usize, next: Value| {
        let people: Vec<Value> =
            (from..to).map(|number| person(&format!("p{number}@example.com"), "consent_needed")).collect();
        (200, json!({ "people": people, "next": next }))
    };
    cli.daemon(move |request, body| match request {
        "GET /api/v1/people?limit=200&state=consent_needed" => page(0, 200, "x".into()),
        "GET /api/v1/people?limit=200&state=consent_needed&after=x" => page(200, 250, Value::Null),
        "POST /api/v1/people/forget" => {
            let persons = json_of(body)["persons"].as_array().unwrap().clone();
            let outcome = |at: usize| if at == 0 { "kept" } else { "forgotten" };
            let results: Vec<Value> = (0..)
                .zip(persons)
                .map(|(at, person)| json!({ "person": person, "outcome": outcome(at) }))
                .collect();
            (200, json!({ "results": results }))
        }
        _ => not_found(),
    })
}

#[test]
fn forget_by_state_says_how_many_and_removes_no_grant_without_a_confirmation() {
    let cli = CliFixture::new();
    let daemon = needy(&cli);
    cli.run("forget --state consent_needed")
        .expect_failure(2, "250 persons in the state consent_needed; confirm with --yes");
    assert!(!daemon.requests().iter().any(|asked| asked.starts_with("POST")));
}

#[test]
fn forget_by_state_removes_in_steps_and_tells_who_stays() {
    let cli = CliFixture::new();
    let daemon = needy(&cli);
    let output = cli.run("forget --state consent_needed --yes");
    assert!(output.stderr.contains("removing the tokens of 250 persons"), "{output:?}");
    assert!(output.stderr.contains("kept, because the state has changed (2): id-of-p0@"), "{output:?}");
    assert_eq!(output.expect_success(), "removed the tokens of 248 persons\n");
    let steps: Vec<Value> = daemon
        .requests()
        .iter()
        .filter(|asked| asked.starts_with("POST"))
        .map(|asked| json_of(asked.splitn(3, ' ').nth(2).unwrap()))
        .collect();
    let sizes: Vec<usize> = steps.iter().map(|step| step["persons"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [200, 50]);
    assert!(steps.iter().all(|step| step["state"] == "consent_needed"), "{steps:?}");
}

#[test]
fn forget_reads_a_file_and_names_persons_who_are_not_stored() {
    let cli = CliFixture::new();
    fs::write(cli.path("gone"), "# left in May\nada@example.com\n\neve@example.com\n").unwrap();
    let _daemon = cli.daemon(|request, body| {
        assert_eq!(request, "POST /api/v1/people/forget");
        assert_eq!(json_of(body), json!({ "persons": ["ada@example.com", "eve@example.com"], "state": null }));
        let result = |person: &str, outcome: &str| json!({ "person": person, "outcome": outcome });
        (200, json!({ "results": [result("ada@example.com", "forgotten"), result("eve@example.com", "unknown")] }))
    });
    let file = cli.path("gone").display().to_string();
    let output = cli.run(&format!("forget --file {file} --yes"));
    assert_eq!((output.code, output.stdout.as_str()), (3, "removed the tokens of 1 person\n"), "{output:?}");
    assert!(output.stderr.contains("not stored (1): eve@example.com"), "{output:?}");
    cli.run(&format!("forget --file {file}")).expect_failure(2, "2 persons; confirm with --yes");
}

#[test]
fn a_file_with_wrong_lines_removes_no_grant() {
    let cli = CliFixture::new();
    fs::write(cli.path("gone"), "ada@example.com\nAda Lovelace\n").unwrap();
    let daemon = cli.daemon(|_, _| not_found());
    let file = cli.path("gone").display().to_string();
    cli.run(&format!("forget --file {file} --yes"))
        .expect_failure(2, "line 2 is neither a person id nor an e-mail address (line 2: ");
    assert_eq!(daemon.requests(), [""; 0]);
}

#[test]
fn forget_takes_a_person_or_a_state_or_a_file() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| not_found());
    for words in ["ada --state due", "ada --file x", "--state due --file x", "--state dead"] {
        assert_eq!(cli.run(&format!("forget {words} --yes")).code, 2, "{words}");
    }
}
