//! `token` and `exec`, the commands that scripts use.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::TOKEN;
use super::exists;
use super::json_of;
use super::not_found;
use super::person;
use super::problem;
use super::token;

const ADA: &str = "GET /api/v1/people/ada%40example.com/token";

fn with_ada(request: &str, _body: &str) -> (u16, Value) {
    match request.split('?').next().unwrap() {
        ADA | "GET /api/v1/people/id-of-ada%40example.com/token" => (200, token("ada@example.com")),
        "GET /api/v1/people" => {
            (200, json!({ "people": [person("ada@example.com", "fresh")], "next": null, "sole": true }))
        }
        _ => not_found(),
    }
}

#[test]
fn only_the_token_is_printed_on_stdout() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(with_ada);
    let output = cli.run("token Ada@Example.com");
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (0, format!("{TOKEN}\n").as_str(), "")
    );
    assert_eq!(daemon.requests(), [ADA]);
    cli.run("token ada@example.com --min-ttl 600").expect_success();
    assert_eq!(daemon.requests()[1], format!("{ADA}?min_ttl=600"));
}

#[test]
fn a_token_is_printed_in_the_requested_format() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(with_ada);
    let out = |format: &str| cli.run(&format!("token ada@example.com --format {format}")).expect_success();
    assert_eq!(out("raw"), format!("{TOKEN}\n"));
    assert_eq!(out("env"), format!("WEBEX_ACCESS_TOKEN={TOKEN}\n"));
    assert_eq!(out("header"), format!("Authorization: Bearer {TOKEN}\n"));
    assert_eq!(json_of(&out("json"))["access_token"], TOKEN);
}

#[test]
fn a_token_with_a_shorter_life_is_printed_with_a_warning() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| {
        let mut token = token("ada@example.com");
        token["note"] = "lives 30 s only".into();
        (200, token)
    });
    let output = cli.run("token ada@example.com --min-ttl 900");
    assert_eq!(output.stdout, format!("{TOKEN}\n"));
    assert!(output.stderr.contains("lives 30 s only"), "{output:?}");
}

#[test]
fn the_person_may_be_omitted_if_there_is_only_one() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(with_ada);
    assert_eq!(cli.run("token").expect_success(), format!("{TOKEN}\n"));
}

#[test]
fn the_last_remaining_person_is_not_used_by_default_if_another_was_first() {
    for sole in [json!(false), Value::Null] {
        let cli = CliFixture::new();
        let daemon = cli.daemon(move |request, _| match request {
            "GET /api/v1/people?limit=6" => {
                (200, json!({ "people": [person("eve@example.com", "fresh")], "next": null, "sole": sole }))
            }
            "GET /api/v1/people/ada%40example.com/token" => (200, token("ada@example.com")),
            _ => not_found(),
        });
        for words in ["token", "exec -- true", "why", "refresh", "forget --yes"] {
            let output = cli.run(words);
            assert!(output.stderr.contains("eve@example.com"), "{output:?}");
            output.expect_failure(2, "TOKEND_DEFAULT_PERSON");
        }
        assert!(daemon.requests().iter().all(|asked| asked.ends_with("limit=6")), "{:?}", daemon.requests());
        let output =
            cli.command(&["token"]).env("TOKEND_DEFAULT_PERSON", "Ada@example.com").output().unwrap();
        assert_eq!(crate::support::CommandOutput::from(output).expect_success(), format!("{TOKEN}\n"));
    }
}

#[test]
fn of_several_persons_one_must_be_named() {
    for (count, told) in [(0, "no person is stored"), (2, "p1@x.y (Ada Lovelace)"), (6, ", …")] {
        let cli = CliFixture::new();
        let _daemon = cli.daemon(move |_, _| {
            let people: Vec<Value> = (0..count).map(|n| person(&format!("p{n}@x.y"), "fresh")).collect();
            (200, json!({ "people": people, "next": null }))
        });
        let output = cli.run("token");
        assert!(!output.stderr.contains("p5@x.y"), "at most five names: {output:?}");
        output.expect_failure(2, told);
    }
}

#[test]
fn every_refusal_has_its_exit_code_and_says_what_to_do() {
    let table = [
        (404, "unknown_person", 3, "detail"),
        (409, "consent_needed", 4, "https://localhost:8000/oauth"),
        (400, "bad_request", 2, "detail"),
        (503, "webex_unavailable", 6, "detail"),
        (503, "store_unavailable", 1, "detail"),
        (403, "forbidden", 1, "detail"),
    ];
    for (status, code, exit, told) in table {
        let cli = CliFixture::new();
        let _daemon = cli.daemon(move |_, _| {
            let (status, mut body) = problem(status, code, "The detail.");
            if code == "consent_needed" {
                body["consent_url"] = "https://localhost:8000/oauth".into();
            }
            (status, body)
        });
        cli.run("token ada@example.com").expect_failure(exit, told);
    }
}

#[test]
fn an_invalid_person_is_refused_without_a_request() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(with_ada);
    cli.run("token a@b@c").expect_failure(2, "name@host");
    assert!(daemon.requests().is_empty());
}

#[test]
fn an_invalid_token_is_passed_to_no_command() {
    for odd in ["", "two\nlines", "sp ace", "naïve"] {
        let cli = CliFixture::new();
        let _daemon = cli.daemon(move |_, _| {
            let mut token = token("ada@example.com");
            token["access_token"] = odd.into();
            (200, token)
        });
        cli.run("token ada@example.com --format header").expect_failure(1, "an invalid token");
    }
}

#[test]
fn a_command_gets_the_token_in_its_environment() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(with_ada);
    let script = "echo $WEBEX_ACCESS_TOKEN $WEBEX_TEAMS_ACCESS_TOKEN $MINE; exit 42";
    let words = ["exec", "ada@example.com", "--env", "MINE", "--", "sh", "-c", script];
    let output = cli.command(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{TOKEN} {TOKEN} {TOKEN}\n"));
}

#[test]
fn a_command_is_the_process_itself_and_no_argument_holds_the_token() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(with_ada);
    let mut command = cli.command(&["exec", "--", "sh", "-c", "echo ready; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let seen = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    let seen = String::from_utf8_lossy(&seen);
    assert!(!seen.contains(TOKEN) && !seen.contains("webex-tokend"), "{seen}");
    // SIGKILL reaches the command itself, not a parent that would survive it.
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_command_that_cannot_run_has_the_exit_code_of_a_shell() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(with_ada);
    cli.write("plain", "no program");
    cli.run("exec ada@example.com -- ./nowhere").expect_failure(127, "./nowhere");
    cli.run("exec ada@example.com -- ./plain").expect_failure(126, "./plain");
    cli.run("exec ada@example.com --env 1X -- true").expect_failure(2, "1X");
    assert!(!exists(&cli.path("tokend.db")), "a daemon runs and owns the store");
}
