//! What commands say while more refreshes are due than can be sent within a minute.

use serde_json::Value;
use serde_json::json;

use super::CliFixture;
use super::at;
use super::json_of;
use super::person;

const SAYS: &str = "97254 refreshes are due, 95000 of them for persons whose access token has expired";

/// A daemon with a backlog that ends in about an hour.
fn busy(request: &str, _body: &str) -> (u16, Value) {
    let mut due = person("eve@example.com", "due");
    due["next_refresh_at"] = at(-600).into();
    let backlog = json!({
        "due": 97254, "or_more": false, "expired": 95000, "per_second": 20.0, "until": at(4863), "says": SAYS,
    });
    let breaker = json!({ "state": "closed", "cause": null, "says": null, "since": null, "until": null });
    match request {
        "GET /api/v1/status" => {
            let status = json!({
                "version": "1", "people": null, "breaker": breaker, "backlog": backlog, "store": "ok", "ready": true,
                "started_at": at(-9000),
            });
            (200, status)
        }
        "GET /api/v1/people/eve%40example.com/why" => {
            let why = json!({
                "person": due, "rules": [], "last_detail": null, "next_refresh_at": at(-600), "place": 90000,
                "turn_at": at(4530), "summary": "A refresh has been due for long.",
            });
            (200, why)
        }
        _ => (200, json!({ "people": [person("ada@example.com", "fresh"), due], "next": null })),
    }
}

#[test]
fn people_say_how_long_due_refreshes_wait_instead_of_now() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(busy);
    let output = cli.command(&["people"]).env("COLUMNS", "200").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(err.contains(SAYS), "{err}");
    let line = |who: &str| out.lines().find(|line| line.starts_with(who)).unwrap_or_default();
    assert!(line("eve@").contains("within 1h 2"), "{out}");
    assert!(line("ada@").contains(" 3h 5m") && !out.contains("  now"), "{out}");
}

#[test]
fn plan_says_how_long_due_refreshes_wait_instead_of_now() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(|request, body| {
        if !request.contains("/plan?") {
            return busy(request, body);
        }
        let due = json!({
            "person_id": "p", "email": "eve@example.com", "state": "due", "next_refresh_at": at(-600), "refreshes": 2,
            "interval_seconds": 90_000, "consent_by": null,
        });
        (200, json!({ "days": 90, "people": [due], "next": null }))
    });
    let plan = cli.run("plan");
    assert!(plan.stderr.contains(SAYS), "{}", plan.stderr);
    let out = plan.expect_success();
    assert!(out.contains("within 1h 2") && !out.contains("now"), "{out}");
}

#[test]
fn why_shows_the_place_in_the_queue_and_doctor_warns() {
    let cli = CliFixture::new();
    let _daemon = cli.daemon(busy);
    let why = cli.run("why eve@example.com").expect_success();
    let next = why.lines().find(|line| line.starts_with("next refresh")).unwrap_or_default();
    assert!(next.contains("after about 90000 others, at about ") && next.contains("in 1h 15m"), "{why}");
    assert_eq!(json_of(&cli.run("why eve@example.com -j").expect_success())["place"], 90000);
    let doctor = cli.run("doctor").stdout;
    assert!(doctor.contains(&format!("warn  refreshes     {SAYS}")), "{doctor}");
}
