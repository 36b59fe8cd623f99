//! Responses of Webex, or of a server in its place.

use std::time::Duration;

use serde_json::Value;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::verdict::TokenReply;
use webex_tokend::domain::verdict::Verdict;
use webex_tokend::webex::DevicePollResult;
use webex_tokend::webex::transport::RawResponse;

use super::harness::DAY;
use super::harness::NOW;
use super::harness::POLICY;
use super::harness::SECRET_MARK;
use super::harness::ScriptedTransport;
use super::harness::runtime;
use super::harness::webex;

const CENTURY: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Input: a status, a `Retry-After` and a `trackingId` in three lines, then a body: the response to every request.
pub(super) fn holds(data: &[u8]) -> String {
    let raw = raw(data);
    let json: Option<Value> = serde_json::from_slice(&raw.body).ok();
    let given = raw.clone();
    let webex = webex(ScriptedTransport::new(Box::new(move |_| Some(given.clone()))));
    let secret = Secret::new("held".to_owned());
    runtime().block_on(async {
        let outcome = renewed(&webex.refresh(&secret).await, &raw, json.as_ref());
        let poll = polled(webex.device_token(&secret).await.polled, &raw, json.as_ref());
        let mut came = format!("{outcome}, poll {poll}");
        match webex.people_me(&secret).await {
            Ok(owner) => {
                assert_eq!(raw.status, 200);
                assert!(owner.person.display_name.is_none_or(|name| is_shown(&name)));
                came += ", a person";
            }
            Err(unknown) => {
                assert!(is_shown(&unknown.why) && (!unknown.is_dead() || raw.status == 401), "{unknown:?}");
            }
        }
        match webex.device_authorize().await {
            Ok(code) => {
                let safe = |url: &str| url.starts_with("https://") || url.starts_with("http://");
                assert!(safe(&code.verification_uri) && code.user_code.len() <= 64);
                assert!(code.verification_uri_complete.is_none_or(|url| safe(&url)));
                assert!(!code.interval.is_zero() && code.interval <= Duration::from_secs(60));
                assert!(!code.expires_in.is_zero() && code.expires_in <= Duration::from_secs(1800));
                came += ", a device code";
            }
            Err(unknown) => assert!(is_shown(&unknown.why), "{unknown:?}"),
        }
        came
    })
}

fn raw(data: &[u8]) -> RawResponse {
    let mut parts = data.splitn(4, |byte| *byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (status, retry_after, tracking_id) = (line().trim().parse().unwrap_or(200), line(), line());
    let body = parts.next().unwrap_or_default().to_vec();
    let told = |text: String| Some(text).filter(|text| !text.is_empty());
    RawResponse { status, retry_after: told(retry_after), tracking_id: told(tracking_id), body }
}

/// No control characters that could break a log line, and no secret that the response echoes.
fn is_shown(text: &str) -> bool {
    text.chars().count() <= 600 && !text.chars().any(char::is_control) && !text.contains(SECRET_MARK)
}

/// All strings in a response, in lower case.
fn texts(json: &Value) -> Vec<String> {
    match json {
        Value::String(text) => vec![text.to_lowercase()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn names(json: Option<&Value>, words: &[&str]) -> bool {
    json.map(texts).unwrap_or_default().iter().any(|text| words.iter().any(|word| text.contains(word)))
}

fn access_token(json: Option<&Value>) -> Option<&str> {
    json?.get("access_token")?.as_str().filter(|token| !token.is_empty())
}

/// A verdict claims no more than the response said, and only a renewal changes a token.
fn renewed(reply: &TokenReply, raw: &RawResponse, json: Option<&Value>) -> String {
    assert!(reply.tracking_id.as_deref().is_none_or(is_shown));
    let held = Secret::new("held".to_owned());
    let verdict = Verdict::from_response(reply.fact.clone(), &held);
    let detail = verdict.detail();
    assert!(is_shown(detail), "{detail}");
    match &verdict {
        Verdict::Renewed(issued) | Verdict::Unchanged(issued) => {
            assert_eq!(raw.status, 200);
            assert_eq!(Some(issued.access_token.expose()), access_token(json));
            // Zero is possible: a repeated response may bring a token that has expired meanwhile.
            assert!(issued.expires_in <= CENTURY);
            let same = issued.access_token == held;
            assert_eq!(same, matches!(verdict, Verdict::Unchanged(_)));
        }
        Verdict::ConsentNeeded(_) => {
            let words =
                ["refresh token", "refresh_token", "invalid_grant", "requested scope", "invalid_scope"];
            assert!(raw.status == 400 && names(json, &words), "Webex did not say so: {detail}");
        }
        Verdict::ClientRefused(_) => {
            let words = ["invalid_client", "unauthorized_client", "client id is invalid"];
            assert!(raw.status == 401 || names(json, &words), "Webex did not say so: {detail}");
        }
        Verdict::TokenLimit => assert!(names(json, &["tokenlimit_reached"])),
        Verdict::Busy(_) => assert_eq!(raw.status, 429),
        Verdict::Locked(_) => assert_eq!(raw.status, 423),
        Verdict::Refused(_) => panic!("one response alone cannot confirm a refusal"),
        Verdict::Transient(_) => {}
    }
    let outcome = verdict.outcome().as_str().to_owned();
    judged(verdict, reply);
    outcome
}

fn judged(verdict: Verdict, reply: &TokenReply) {
    let before =
        Grant::consented(Person::known_by(PersonId::parse("ada").unwrap()), tokens(), NOW, &POLICY, NOW);
    let outcome = verdict.outcome();
    let good = matches!(verdict, Verdict::Renewed(_) | Verdict::Unchanged(_));
    let ends = matches!(verdict, Verdict::ConsentNeeded(_));
    let after = before.after(verdict, reply.retry_after, reply.sent_at, &POLICY, NOW);
    assert_eq!(after.last.outcome, outcome);
    assert_eq!(after.status == GrantStatus::ConsentNeeded, ends);
    assert!(good || after.tokens == before.tokens, "{outcome} changed a token");
    assert!(
        !after.tokens.access_token.expose().is_empty() && !after.tokens.refresh_token.expose().is_empty()
    );
    assert!(after.next.due_at > NOW && after.next.due_at <= NOW + DAY * 400, "due at {}", after.next.due_at);
}

fn tokens() -> Tokens {
    Tokens {
        access_token: Secret::new("held".to_owned()),
        refresh_token: Secret::new("refresh".to_owned()),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_at: NOW + DAY * 14,
        refresh_token_expires_at: None,
    }
}

/// A device grant succeeds only with a token, and fails only with definite wording.
fn polled(polled: DevicePollResult, raw: &RawResponse, json: Option<&Value>) -> &'static str {
    match polled {
        DevicePollResult::Issued(issued) => {
            assert_eq!((raw.status, Some(issued.access_token.expose())), (200, access_token(json)));
            "issued"
        }
        DevicePollResult::Ended(why) => {
            assert!(is_shown(&why), "{why}");
            assert!(matches!(raw.status, 400..=499) && !matches!(raw.status, 408 | 423 | 428 | 429));
            assert!(raw.status == 401 || json.is_some_and(|json| !texts(json).is_empty()), "{why}");
            "ended"
        }
        DevicePollResult::Trouble(why) => {
            assert!(is_shown(&why), "{why}");
            "trouble"
        }
        DevicePollResult::Pending | DevicePollResult::SlowDown => {
            assert!(matches!(raw.status, 400 | 403 | 428 | 429));
            "waits"
        }
    }
}
