//! Webex's JSON: token responses, `people/me`, and errors in both formats (webex-api, "Errors").
//!
//! Parsing is lenient. Texts of Webex reach logs and pages only through [`show`].

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::domain::host::is_protected;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::domain::verdict::TokenReply;
use crate::domain::verdict::TokenResponse;
use crate::domain::verdict::TokenSet;
use crate::webex::avatar::avatar_url;
use crate::webex::device_code::DeviceCode;
use crate::webex::owner::OwnerKind;
use crate::webex::owner::OwnerUnknown;
use crate::webex::owner::TokenOwner;
use crate::webex::transport::RawResponse;

/// The assumed lifetime if Webex reports none: short, so that the token is refreshed soon.
const UNTOLD_LIFE: Duration = Duration::from_secs(3600);

/// Maximum lifetime that is accepted, in seconds; a bot's token lives for a century (webex-api, "Lifetimes").
const LONGEST_LIFE: u64 = 100 * 366 * 86_400;

/// Maximum length of a text of Webex that is shown.
const SHOWN_MAX: usize = 200;

/// Maximum length of a word that is shown. Readable words are shorter, tokens are longer.
const WORD_MAX: usize = 30;

/// Reads the token endpoint's response to a request sent at `sent_at`.
#[must_use]
pub fn token_reply(raw: &RawResponse, sent_at: UnixTime, now: UnixTime) -> TokenReply {
    let json = json_of(raw);
    let fact = match (&json, raw.status) {
        (Some(json), 200) => match issued(json) {
            Some(issued) => TokenResponse::Granted(issued),
            None => TokenResponse::Unreadable(format!("HTTP 200 without a token{}", shown_of(json))),
        },
        (None, 200) => {
            TokenResponse::Unreadable("HTTP 200 without JSON (a captive portal or a proxy?)".to_owned())
        }
        // A captive portal may answer with 401 too, which says nothing about the client id and secret.
        (None, 401) if looks_like_html(&raw.body) => {
            TokenResponse::Unreadable("HTTP 401 with an HTML page (a captive portal or a proxy?)".to_owned())
        }
        (None, status) if is_foreign(raw) => TokenResponse::Refused {
            status,
            text: String::new(),
            shown: format!("HTTP {status} without JSON (a captive portal or a proxy?)"),
        },
        (json, status) => refused(json.as_ref(), status),
    };
    let retry_after = raw.retry_after.as_deref().and_then(|text| retry_after(text, now));
    TokenReply { sent_at, tracking_id: tracking_id(raw, json.as_ref()), retry_after, fact }
}

fn looks_like_html(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

/// Whether a response without JSON comes from a portal or a proxy: it is a redirect, or an error page whose
/// status is not about load.
fn is_foreign(raw: &RawResponse) -> bool {
    let is_page =
        matches!(raw.status, 400..=499) && !matches!(raw.status, 408 | 423 | 429) && !raw.body.is_empty();
    is_page || matches!(raw.status, 300..=399)
}

fn refused(json: Option<&Value>, status: u16) -> TokenResponse {
    // The texts are joined by line breaks, so that a search never matches across two of them.
    let text = json.map(|json| words_of(json).join("\n")).unwrap_or_default();
    let shown = format!("HTTP {status}{}", json.map(shown_of).unwrap_or_default());
    TokenResponse::Refused { status, text, shown }
}

fn issued(json: &Value) -> Option<TokenSet> {
    let text = |name: &str| json.get(name)?.as_str().filter(|t| is_token(t)).map(str::to_owned);
    let plain = |name: &str| json.get(name)?.as_str().map(show).filter(|t| !t.is_empty());
    let scope = json.get("scope").and_then(Value::as_str).filter(|s| s.len() <= 8192).map(str::to_owned);
    Some(TokenSet {
        access_token: Secret::new(text("access_token")?),
        refresh_token: text("refresh_token").map(Secret::new),
        expires_in: span(json, "expires_in").unwrap_or(UNTOLD_LIFE),
        refresh_token_expires_in: some_span(json, "refresh_token_expires_in"),
        token_type: plain("token_type"),
        scope,
    })
}

/// Whether the text may appear in an `Authorization` header (RFC 6750, 2.1, and some more characters).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Seconds as a number or as text (servers send both); `None` for anything else. Zero is valid: a repeated
/// response may contain a token that has expired in the meantime.
fn span(json: &Value, name: &str) -> Option<Duration> {
    let value = json.get(name)?;
    let told = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()).or_else(|| {
        let seconds = value.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is bounded below"
        )]
        (seconds >= 0.0).then_some(seconds as u64)
    })?;
    Some(Duration::from_secs(told.min(LONGEST_LIFE)))
}

/// The same for a value that must not be 0.
fn some_span(json: &Value, name: &str) -> Option<Duration> {
    span(json, name).filter(|span| !span.is_zero())
}

fn json_of(raw: &RawResponse) -> Option<Value> {
    serde_json::from_slice(&raw.body).ok()
}

/// The status of a refusal, and Webex's explanation of it.
fn refusal(raw: &RawResponse, json: Option<&Value>) -> String {
    format!("HTTP {}{}", raw.status, json.map(shown_of).unwrap_or_default())
}

fn owner_unknown(raw: &RawResponse, json: Option<&Value>, why: String, transient: bool) -> OwnerUnknown {
    let (tracking_id, status) = (tracking_id(raw, json), Some(raw.status));
    OwnerUnknown { tracking_id, transient, status, ..OwnerUnknown::permanent(why) }
}

/// Reads the response of `people/me` from Webex at `base`.
///
/// # Errors
/// [`OwnerUnknown`] when the response names no person.
pub fn owner(raw: &RawResponse, base: &str) -> Result<TokenOwner, OwnerUnknown> {
    let json = json_of(raw);
    let unknown = |why: String, transient: bool| owner_unknown(raw, json.as_ref(), why, transient);
    if raw.status != 200 {
        let why = refusal(raw, json.as_ref());
        let is_portal = json.is_none() && is_foreign(raw);
        return Err(unknown(why, is_portal || matches!(raw.status, 408 | 423 | 429 | 500..)));
    }
    let Some(json) = &json else { return Err(unknown("HTTP 200 without JSON".to_owned(), true)) };
    let field = |name: &str| json.get(name).and_then(Value::as_str);
    let Some(id) = field("id").and_then(|id| PersonId::parse(id).ok()) else {
        return Err(unknown("HTTP 200 without a person id".to_owned(), false));
    };
    let emails = json.get("emails").and_then(Value::as_array).into_iter().flatten();
    let kind = match field("type") {
        Some("bot") => OwnerKind::Bot,
        Some("appuser") => OwnerKind::Guest,
        _ => OwnerKind::Person,
    };
    let person = Person {
        id,
        email: emails.filter_map(Value::as_str).find_map(|text| Email::parse(text).ok()),
        display_name: field("displayName").map(one_line).filter(|name| !name.is_empty()),
        org_id: field("orgId").and_then(|id| PersonId::parse(id).ok()).map(|id| id.as_str().to_owned()),
    };
    let picture = field("avatar").and_then(|address| avatar_url(address, base));
    Ok(TokenOwner { person, kind, picture })
}

/// Reads the response of `POST /memberships`; 409 means that the person is a member already.
///
/// # Errors
/// Webex's explanation, for people.
pub fn added(raw: &RawResponse) -> Result<(), String> {
    if matches!(raw.status, 200 | 201 | 409) { Ok(()) } else { Err(refusal(raw, json_of(raw).as_ref())) }
}

/// Reads the answer of `POST /messages`.
///
/// # Errors
/// Webex's explanation, for people.
pub fn message_taken(raw: &RawResponse) -> Result<(), String> {
    if (200..300).contains(&raw.status) { Ok(()) } else { Err(refusal(raw, json_of(raw).as_ref())) }
}

/// The assumed lifetime of a device code if Webex reports none, and the maximum that is accepted.
const DEVICE_LIFE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(1800));

/// The assumed interval between two polls (RFC 8628, 3.2), and its limits.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Reads the response of `device/authorize`.
///
/// # Errors
/// [`OwnerUnknown`] when the response does not start a device grant.
pub fn device_code(raw: &RawResponse) -> Result<DeviceCode, OwnerUnknown> {
    let json = json_of(raw);
    let unknown = |why: String, transient: bool| owner_unknown(raw, json.as_ref(), why, transient);
    if raw.status != 200 {
        let why = refusal(raw, json.as_ref());
        return Err(unknown(why, json.is_none() || matches!(raw.status, 408 | 423 | 429 | 500..)));
    }
    let Some(json) = &json else { return Err(unknown("HTTP 200 without JSON".to_owned(), true)) };
    let field = |name: &str| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let wrong = |name: &str| unknown(format!("HTTP 200, but {name} is missing or invalid"), false);
    let place = |name: &str| field(name).map(|text| safe_place(text).ok_or_else(|| wrong(name))).transpose();
    let device_code = field("device_code").filter(|t| is_token(t)).ok_or_else(|| wrong("device_code"))?;
    let typed = |text: &&str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
    let user_code = field("user_code").filter(typed).ok_or_else(|| wrong("user_code"))?;
    let verification_uri = place("verification_uri")?.ok_or_else(|| wrong("verification_uri"))?;
    Ok(DeviceCode {
        device_code: Secret::new(device_code.to_owned()),
        user_code: user_code.to_owned(),
        verification_uri,
        verification_uri_complete: place("verification_uri_complete")?,
        expires_in: some_span(json, "expires_in").unwrap_or(DEVICE_LIFE.0).min(DEVICE_LIFE.1),
        interval: some_span(json, "interval").unwrap_or(INTERVAL).clamp(INTERVALS.0, INTERVALS.1),
    })
}

/// A URL that people may be sent to: https, or http on this machine, without a user name that could be
/// mistaken for the host.
fn safe_place(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= 2048)?;
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && is_protected(&url)).then(|| url.to_string())
}

/// Makes the text printable, one line long and bounded.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect::<String>().trim().to_owned()
}

/// All texts in an error body of either format.
fn words_of(json: &Value) -> Vec<&str> {
    let top =
        ["error", "error_description", "message"].into_iter().filter_map(|name| json.get(name)?.as_str());
    let items = json.get("errors").and_then(Value::as_array).into_iter().flatten();
    let inner = items.flat_map(|item| {
        ["description", "errorCode"].into_iter().filter_map(|name| item.get(name)?.as_str())
    });
    top.chain(inner).collect()
}

/// The error body's text for people. A message that only wraps one of the other texts is omitted (webex-api,
/// "Errors": `POST failed: HTTP/1.1 400 Bad Request (… error = '…')`).
fn shown_of(json: &Value) -> String {
    let all = words_of(json);
    let wraps =
        |text: &str| all.iter().any(|other| other.contains(' ') && *other != text && text.contains(other));
    let said = all.iter().filter(|text| !wraps(text)).map(|text| show(text)).filter(|text| !text.is_empty());
    let mut words: Vec<String> = said.collect();
    words.dedup();
    if words.is_empty() { String::new() } else { format!(": {}", one_line(&words.join(": "))) }
}

/// Makes a text of Webex safe for logs and pages: one line, bounded, and without long words, because an error
/// body may repeat a token that was sent.
#[must_use]
pub fn show(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.chars().count() > WORD_MAX { "…" } else { word });
    one_line(&words.collect::<Vec<_>>().join(" "))
}

/// The tracking id in the header, otherwise in the body, where it has two spellings.
fn tracking_id(raw: &RawResponse, json: Option<&Value>) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    let fit = |id: &&str| (1..=100).contains(&id.len()) && id.bytes().all(plain);
    let body = || ["trackingId", "trackingID"].into_iter().find_map(|name| json?.get(name)?.as_str());
    raw.tracking_id.as_deref().filter(fit).or_else(|| body().filter(fit)).map(str::to_owned)
}

/// Seconds or an HTTP date (RFC 9110, 10.2.3); `None` for anything else, since servers have sent
/// `rand(30),add(30)`.
#[must_use]
pub fn retry_after(text: &str, now: UnixTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(LONGEST_LIFE)));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let span = UnixTime::from_seconds(date.timestamp().as_second()).until(now);
    Some(span.min(Duration::from_secs(LONGEST_LIFE)))
}

#[cfg(test)]
mod tests;
