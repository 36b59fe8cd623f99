//! `/sim/…`: the model steered by HTTP, for shell scripts and for benchmarks in other processes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::model::{Answer, Counters, DeadText, Endpoint, Fault, FaultKind, Model, Refreshes, Request};

/// Answers `/sim/<word>`.
pub(crate) fn answer(model: &mut Model, clock: &Clock, word: &str, request: &Request) -> Answer {
    let body: Value = if request.body.is_empty() {
        json!({})
    } else {
        match serde_json::from_slice(&request.body) {
            Ok(body) => body,
            Err(error) => return refused(&format!("the body is not JSON: {error}")),
        }
    };
    let result = match (request.method.as_str(), word) {
        ("GET", "counters") => Ok(counters(&model.counters())),
        ("GET", "people") => Ok(people(model)),
        ("POST", "fault") => fault(&body).map(|fault| {
            model.fault(fault);
            json!({ "ok": true })
        }),
        ("POST", "clear") => {
            model.clear_faults();
            Ok(json!({ "ok": true }))
        }
        ("POST", "advance") => seconds(&body, "seconds").map(|by| {
            clock.advance(by);
            json!({ "now_ms": clock.now_ms() })
        }),
        ("POST", "revoke") => person(&body, model).map(|person| {
            model.revoke_person(person);
            json!({ "ok": true })
        }),
        ("POST", "mint") => person(&body, model).map(|person| {
            let tokens = model.mint(clock.now_ms(), person);
            let id = model.settings().people.get(person).map(|person| person.id.as_str());
            json!({ "id": id, "access_token": tokens.access_token, "refresh_token": tokens.refresh_token })
        }),
        _ => return Answer::json(404, &json!({ "error": "no such word here; see webex-sim/README.md" })),
    };
    match result {
        Ok(body) => Answer::json(200, &body),
        Err(error) => refused(&error),
    }
}

fn refused(error: &str) -> Answer {
    Answer::json(400, &json!({ "error": error }))
}

fn person(body: &Value, model: &Model) -> Result<usize, String> {
    let index = body.get("person").and_then(Value::as_u64).ok_or("person: an index is needed")?;
    let index = usize::try_from(index).map_err(|error| error.to_string())?;
    if index < model.settings().people.len() { Ok(index) } else { Err(format!("there is no person {index}")) }
}

fn seconds(body: &Value, name: &str) -> Result<Duration, String> {
    let seconds =
        body.get(name).and_then(Value::as_f64).ok_or_else(|| format!("{name}: a number is needed"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{name}: {error}"))
}

fn text(body: &Value, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// `{"on", "person", "times", "kind", …}`
fn fault(body: &Value) -> Result<Fault, String> {
    let on = match body.get("on").and_then(Value::as_str).unwrap_or("any") {
        "access_token" => Endpoint::AccessToken,
        "people_me" => Endpoint::PeopleMe,
        "authorize" => Endpoint::Authorize,
        "memberships" => Endpoint::Memberships,
        "messages" => Endpoint::Messages,
        "hook" => Endpoint::Hook,
        "any" => Endpoint::Any,
        other => {
            return Err(format!(
                "on: access_token, people_me, authorize, memberships, messages, hook or any, not {other}"
            ));
        }
    };
    let count = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| format!("{name}: a whole number is needed")),
    };
    Ok(Fault {
        on,
        person: count("person")?.map(|index| usize::try_from(index).unwrap_or(usize::MAX)),
        times: count("times")?.map(|times| u32::try_from(times).unwrap_or(u32::MAX)),
        kind: kind(body)?,
    })
}

fn kind(body: &Value) -> Result<FaultKind, String> {
    Ok(match text(body, "kind").ok_or("kind: a word is needed")?.as_str() {
        "status400_dead" => FaultKind::Status400Dead(dead_text(body)?),
        "client401" => FaultKind::Client401,
        "token_limit" => FaultKind::TokenLimit,
        "too_many429" => FaultKind::TooMany429 { retry_after: text(body, "retry_after") },
        "locked423" => FaultKind::Locked423 { retry_after: text(body, "retry_after") },
        "unavailable" => FaultKind::Unavailable { status: status(body, 503)?, html: is_set(body, "html") },
        "ok_html" => FaultKind::OkHtml,
        "ok_no_token" => FaultKind::OkNoToken,
        "ok_empty" => FaultKind::OkEmpty,
        "ok_truncated_json" => FaultKind::OkTruncatedJson,
        "ok_broken_json" => FaultKind::OkBrokenJson,
        "ok_huge" => FaultKind::OkHuge(huge(body)?),
        "expires_in_as_string" => FaultKind::ExpiresInAsString,
        "redirect" => FaultKind::Redirect(text(body, "to").ok_or("to: a URL is needed")?),
        "slow" => FaultKind::Slow(seconds(body, "seconds")?),
        "drip" => FaultKind::Drip(seconds(body, "seconds")?),
        "hang" => FaultKind::Hang,
        "reset_before" => FaultKind::ResetBefore,
        "cut_after_headers" => FaultKind::CutAfterHeaders,
        "cut_in_body" => FaultKind::CutInBody,
        "processed_but_lost" => FaultKind::ProcessedButLost,
        "raw" => FaultKind::Raw {
            status: status(body, 200)?,
            headers: headers(body),
            body: text(body, "body").unwrap_or_default().into_bytes(),
        },
        other => return Err(format!("kind: {other} is not known")),
    })
}

fn dead_text(body: &Value) -> Result<DeadText, String> {
    match body.get("text").and_then(Value::as_str).unwrap_or("refresh_token") {
        "refresh_token" => Ok(DeadText::RefreshToken),
        "invalid_grant" => Ok(DeadText::InvalidGrant),
        "invalid_refresh_token" => Ok(DeadText::InvalidRefreshToken),
        "scope" => Ok(DeadText::Scope),
        other => {
            Err(format!("text: refresh_token, invalid_grant, invalid_refresh_token or scope, not {other}"))
        }
    }
}

fn status(body: &Value, default: u16) -> Result<u16, String> {
    let status = body.get("status").map_or_else(|| Some(u64::from(default)), Value::as_u64);
    let status = status.filter(|status| (200..600).contains(status)).ok_or("status: 200 to 599")?;
    u16::try_from(status).map_err(|error| error.to_string())
}

/// Not more than 1 GiB: the body is made in memory.
fn huge(body: &Value) -> Result<usize, String> {
    let bytes = body.get("bytes").and_then(Value::as_u64).filter(|bytes| *bytes <= 1 << 30);
    usize::try_from(bytes.ok_or("bytes: at most 1073741824")?).map_err(|error| error.to_string())
}

fn is_set(body: &Value, name: &str) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// `{"headers": {"Name": "value"}}`
fn headers(body: &Value) -> Vec<(String, String)> {
    let headers = body.get("headers").and_then(Value::as_object).into_iter().flatten();
    headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn people(model: &Model) -> Value {
    let people = model.settings().people.iter().enumerate();
    people
        .map(|(index, person)| {
            json!({
                "person": index,
                "id": person.id,
                "orgId": person.org_id,
                "email": person.email,
                "displayName": person.display_name,
            })
        })
        .collect()
}

/// Only people with refreshes are listed: there may be very many others.
fn counters(counters: &Counters) -> Value {
    let calls = &counters.calls;
    let busy = counters.people.iter().enumerate().filter(|(_, person)| person.refreshes.attempts > 0);
    let people: Vec<Value> = busy
        .map(|(index, person)| {
            json!({
                "person": index,
                "refreshes": refreshes(person.refreshes),
                "first_start_ms": person.starts_ms.first(),
                "last_start_ms": person.starts_ms.last(),
            })
        })
        .collect();
    json!({
        "calls": {
            "authorize": calls.authorize,
            "access_token": calls.access_token,
            "people_me": calls.people_me,
            "user_info": calls.user_info,
            "token_expiry": calls.token_expiry,
            "device": calls.device,
            "memberships": calls.memberships,
            "messages": calls.messages,
            "hooks": calls.hooks,
            "other": calls.other,
        },
        "refreshes": refreshes(counters.refreshes),
        "codes_exchanged": counters.codes_exchanged,
        "grants": counters.tokens.len(),
        "in_flight": counters.in_flight,
        "most_in_flight": counters.most_in_flight,
        "most_in_flight_for_one_token": counters.most_in_flight_for_one_token,
        "people": people,
    })
}

fn refreshes(refreshes: Refreshes) -> Value {
    json!({
        "attempts": refreshes.attempts,
        "renewed": refreshes.renewed,
        "unchanged": refreshes.unchanged,
        "refused": refreshes.refused,
        "faulted": refreshes.faulted,
    })
}
