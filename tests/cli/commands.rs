//! Commands that change something.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::TOKEN;
use super::at;
use super::json_of;
use super::not_found;
use super::person;
use super::problem;
use super::token;

fn refreshed(outcome: &str, email: &str, state: &str) -> (u16, Value) {
    (200, json!({ "outcome": outcome, "detail": "because", "person": person(email, state) }))
}

#[test]
fn a_refresh_reports_its_outcome() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, _| match request {
        "POST /api/v1/people/ada%40example.com/refresh" => refreshed("renewed", "ada@example.com", "fresh"),
        "GET /api/v1/people/ada%40example.com/token?min_ttl=0" => (200, token("ada@example.com")),
        _ => not_found(),
    });
    let out = cli.run("refresh ada@example.com --force").expect_success();
    assert_eq!(out, "ada@example.com (Ada Lovelace): renewed (because), expires in 2d 4h\n");
    assert_eq!(daemon.requests()[0], "POST /api/v1/people/ada%40example.com/refresh {\"force\":true}");
    let block = cli.run("refresh ada@example.com -o").expect_success();
    assert!(block.contains(TOKEN) && block.contains("Expires:") && block.contains("in 2h 1m"), "{block}");
    assert_eq!(json_of(&cli.run("refresh ada@example.com -j").expect_success())["access_token"], TOKEN);
}

#[test]
fn a_shared_address_is_wrong_usage_and_lists_its_persons() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|_, _| {
        let detail = "More than one person has this address. Name one by id: id-1, id-2.";
        problem(409, "ambiguous_person", detail)
    });
    for command in ["token", "refresh", "why", "forget --yes"] {
        cli.run(&format!("{command} kate@example.com")).expect_failure(2, "Name one by id: id-1, id-2");
    }
}

#[test]
fn the_exit_code_of_a_failed_refresh_says_what_it_needs() {
    for (state, outcome, code, told) in [
        ("consent_needed", "consent_needed", 4, "consents at https://localhost:8000/oauth"),
        ("retrying", "transient", 6, "webex-tokend why"),
        ("retrying", "client_refused", 1, "webex-tokend why"),
    ] {
        let cli = CliFixture::new();
        let _daemon = cli.daemon(move |_, _| {
            let (status, mut body) = refreshed("failed", "ada@example.com", state);
            body["person"]["last_outcome"] = outcome.into();
            (status, body)
        });
        cli.run("refresh ada@example.com").expect_failure(code, told);
    }
}

#[test]
fn refreshing_all_continues_after_one_fails() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, _| match request {
        "GET /api/v1/people?limit=200" => {
            let people: Vec<Value> = ["a@x.y", "b@x.y", "c@x.y"].map(|email| person(email, "fresh")).into();
            (200, json!({ "people": people, "next": null }))
        }
        "POST /api/v1/people/id-of-b%40x%2Ey/refresh" | "POST /api/v1/people/id-of-b%40x.y/refresh" => {
            problem(503, "webex_unavailable", "Webex is away.")
        }
        "POST /api/v1/people/id-of-a%40x.y/refresh" => refreshed("renewed", "a@x.y", "fresh"),
        _ => refreshed("skipped", "c@x.y", "fresh"),
    });
    let output = cli.run("refresh --all");
    assert_eq!(output.code, 1, "{output:?}");
    let words: Vec<&str> =
        output.stdout.lines().filter_map(|line| line.split(": ").nth(1)?.split(' ').next()).collect();
    assert_eq!(words, ["renewed", "failed", "skipped"], "{output:?}");
    assert!(output.stderr.contains("3 persons: 1 failed, 1 renewed, 1 skipped"), "{output:?}");
    assert_eq!(daemon.requests().iter().filter(|request| !request.contains("/status")).count(), 4);
    let output = cli.run("refresh --all -j");
    assert_eq!(json_of(&output.stdout)[1]["outcome"], "failed");
}

#[test]
fn forget_asks_for_confirmation() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, _| match request {
        "GET /api/v1/people/ada%40example.com" => (200, person("ada@example.com", "fresh")),
        "DELETE /api/v1/people/ada%40example.com" => (204, Value::Null),
        _ => problem(404, "unknown_person", "No such person is stored."),
    });
    cli.run("forget ada@example.com").expect_failure(2, "--yes");
    assert!(!daemon.requests().iter().any(|asked| asked.starts_with("DELETE")));
    assert_eq!(
        cli.run("forget ada@example.com --yes").expect_success(),
        "ada@example.com (Ada Lovelace): forgotten\n"
    );
    cli.run("forget eve@example.com --yes").expect_failure(3, "No such person");
}

#[test]
fn only_the_key_is_printed_on_stdout() {
    let cli = CliFixture::new();
    let daemon = cli.daemon(|request, _| match request {
        "POST /api/v1/keys" => {
            let key = json!({ "name": "ci", "id": "abcd1234", "persons": ["x"], "can": ["read"], "created_at": "",
                "expires_at": null, "last_used_at": null });
            (201, json!({ "secret": "wtk_abcd1234_secret", "key": key }))
        }
        "DELETE /api/v1/keys/c%20i" => (204, Value::Null),
        _ => not_found(),
    });
    let output = cli.run("key create ci --person ada@example.com --person x --can read,refresh --days 3");
    assert!(output.stderr.contains("for 1 person): it is shown only once"), "{output:?}");
    assert_eq!(output.expect_success(), "wtk_abcd1234_secret\n");
    let body = json_of(daemon.requests()[0].splitn(3, ' ').nth(2).unwrap());
    let expected =
        json!({ "name": "ci", "persons": ["ada@example.com", "x"], "can": ["read", "refresh"], "days": 3 });
    assert_eq!(body, expected);
    let output = cli.command(&["key", "revoke", "c i"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "c i: revoked\n");
}

fn login(turns: u32, last: Value) -> impl Fn(&str, &str) -> (u16, Value) + Send + 'static {
    let turn = AtomicU32::new(0);
    move |request, body| match request.split('?').next().unwrap() {
        "POST /api/v1/logins" => {
            let device = body.contains("\"device\":true");
            let url = "https://webexapis.com/v1/authorize?state=s";
            let code = if device { json!("AB-CD") } else { Value::Null };
            (
                201,
                json!({ "id": "l1", "url": url, "user_code": code, "complete_url": null, "expires_in": 300 }),
            )
        }
        "GET /api/v1/logins/l1" if turn.fetch_add(1, Ordering::Relaxed) < turns => {
            (200, json!({ "state": "pending", "detail": null, "person": null }))
        }
        "GET /api/v1/logins/l1" => (200, last.clone()),
        "GET /api/v1/people/id-of-ada%40example.com/token" => (200, token("ada@example.com")),
        _ => not_found(),
    }
}

fn granted() -> Value {
    json!({ "state": "granted", "detail": null, "person": person("ada@example.com", "fresh") })
}

#[test]
fn a_login_waits_for_the_consent() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(login(2, granted()));
    let output = cli.run("login --no-browser");
    assert!(output.stderr.contains("https://webexapis.com/v1/authorize?state=s"), "{output:?}");
    assert_eq!(output.expect_success(), "ada@example.com (Ada Lovelace): fresh, expires in 2d 4h\n");
    assert!(cli.run("retrieve --no-browser -o").expect_success().contains(TOKEN));
    assert_eq!(json_of(&cli.run("retrieve --no-browser -j").expect_success())["access_token"], TOKEN);
}

#[test]
fn a_login_that_another_person_finishes_fails_and_names_both() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(login(0, granted()));
    for words in
        ["--email eve@example.com", "--email eve@example.com -j", "--email eve@example.com --device -o"]
    {
        let output = cli.run(&format!("login --no-browser {words}"));
        assert_eq!(output.stdout, "", "no token of another person is printed");
        for part in [
            "a consent of eve@example.com",
            "ada@example.com (Ada Lovelace) consented",
            "is stored",
            "forget",
        ] {
            assert!(output.stderr.contains(part), "{part}: {output:?}");
        }
        assert_eq!(output.code, 1, "{output:?}");
    }
    cli.run("login --no-browser --email ADA@example.com").expect_success();
}

#[test]
fn a_login_opens_the_browser_named_in_the_environment() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(login(5, granted()));
    cli.write("browser", "#!/bin/sh\nprintf %s \"$2\" > opened.part && mv opened.part opened\n");
    std::fs::set_permissions(cli.path("browser"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let mut command = cli.command(&["login"]);
    let output = command.env("BROWSER", "./nowhere:./browser --new %s").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let opened = std::fs::read_to_string(cli.path("opened")).unwrap();
    assert_eq!(opened, "https://webexapis.com/v1/authorize?state=s");
}

#[test]
fn a_login_ends_at_its_timeout_or_when_it_fails() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(login(u32::MAX, granted()));
    let output = cli.run("login --no-browser -t 1");
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("no consent in 1 s") && output.stderr.contains("-t"), "{output:?}");

    let cli = CliFixture::new();
    let _daemon =
        cli.daemon(login(0, json!({ "state": "failed", "detail": "access_denied", "person": null })));
    let output = cli.run("login --device");
    assert_eq!(output.code, 4, "{output:?}");
    assert!(
        output.stderr.contains("AB-CD") && output.stderr.contains("no consent: access_denied"),
        "{output:?}"
    );
}

#[test]
fn completions_and_the_manual_need_no_daemon() {
    let cli = CliFixture::new();
    assert!(cli.run("completions bash").expect_success().contains("webex-tokend"));
    assert!(cli.run("man").expect_success().starts_with(".TH WEBEX-TOKEND 1 "));
    assert_eq!(cli.run("frobnicate").code, 2);
}

#[test]
fn people_and_doctor_report_that_refreshes_pause() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, _| {
        let breaker = json!({
            "state": "open", "cause": "client_refused", "says": "check MY_APP_SECRET_ID", "since": at(-7200),
            "until": at(330),
        });
        let status = json!({
            "version": "1", "people": null, "breaker": breaker, "store": "ok", "ready": true, "started_at": at(-9000),
        });
        match request {
            "GET /api/v1/status" => (200, status),
            _ => (200, json!({ "people": [person("ada@example.com", "fresh")], "next": null })),
        }
    });
    let output = cli.run("people");
    let line = "all refreshes have paused for 2h, the next one is tried in 5m: check MY_APP_SECRET_ID";
    assert!(output.stderr.contains(line), "{output:?}");
    assert!(!output.expect_success().contains("pause"), "results only on stdout");
    let json = json_of(&cli.run("people -j").expect_success());
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["next", "people"]);

    let output = cli.run("doctor");
    assert!(
        output.stdout.contains("bad   refreshes") && output.stdout.contains("check MY_APP_SECRET_ID"),
        "{output:?}"
    );
    assert!(
        output.code == 1 && output.stdout.contains("bad   settings      the daemon cannot check them"),
        "{output:?}"
    );
}

#[test]
fn check_prints_its_line_whatever_the_daemon_refuses() {
    let status = |paused: bool| {
        let open =
            json!({ "state": "open", "says": "check MY_APP_SECRET_ID", "since": at(-60), "until": at(60) });
        let breaker = if paused { open } else { json!({ "state": "closed" }) };
        json!({
            "version": "1", "people": null, "breaker": breaker, "store": "ok", "ready": true, "started_at": at(-90),
        })
    };
    let crowded =
        json!({ "title": "Too many lists", "status": 429, "code": "crowded", "detail": "Try later." });
    for (paused, begins, code) in [
        (false, "UNKNOWN - the daemon did not list the consents that end soon", 3),
        (true, "CRITICAL - refreshes pause: check MY_APP_SECRET_ID; the daemon did not list", 2),
    ] {
        let cli = CliFixture::new();
        let crowded = crowded.clone();
        let _daemon = cli.daemon(move |request, _| match request {
            "GET /api/v1/status" => (200, status(paused)),
            _ => (429, crowded.clone()),
        });
        let output = cli.run("check --warn-expiring 30");
        assert!(output.code == code && output.stdout.starts_with(begins), "{output:?}");
    }
}

#[test]
fn doctor_lists_every_problem_and_no_secret() {
    let cli = CliFixture::new();
    let mut command = cli.command(&["doctor"]);
    command.env("MY_APP_CLIENT_ID", "C1").env("MY_APP_SECRET_ID", "s3cret");
    // No server listens on port 1.
    command.env("WEBEX_API_BASE_URL", "http://127.0.0.1:1/v1");
    let output: super::CommandOutput = command.output().unwrap().into();
    assert_eq!(output.code, 6, "{output:?}");
    for shown in [
        "ok    settings",
        "ok    redirect URI",
        "warn  daemon",
        "ok    store",
        "bad   webex",
        "cannot be reached",
    ] {
        assert!(output.stdout.contains(shown), "{shown}: {output:?}");
    }
    command.env("MY_APP_SCOPES", "spark:kms").env("MY_APP_PORT", "9000");
    let output: super::CommandOutput = command.output().unwrap().into();
    assert_eq!(output.code, 1, "{output:?}");
    for shown in ["bad   scopes", "warn  redirect URI"] {
        assert!(output.stdout.contains(shown), "{shown}: {output:?}");
    }
    command.env("MY_APP_PORT", "none");
    let output: super::CommandOutput = command.output().unwrap().into();
    assert!(output.code == 1 && output.stdout.contains("bad   settings      MY_APP_PORT"), "{output:?}");
    assert!(!output.stdout.contains("s3cret") && !output.stderr.contains("s3cret"));
    assert!(!super::exists(&cli.path("tokend.db")), "a dry run changes nothing");
}
