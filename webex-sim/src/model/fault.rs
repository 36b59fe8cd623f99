//! Faults: rules that spoil an answer, or replace it.

use std::time::Duration;

use serde_json::{Value, json};

use super::http::{Answer, Cut};
use super::problem::{self, Problem};
use crate::settings::ErrorBody;

/// Spoils the calls it matches. The oldest matching rule wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Which calls.
    pub on: Endpoint,
    /// Only calls that are about this person: by refresh token, code, access token, or who is going to consent.
    pub person: Option<usize>,
    /// How many calls; `None`: until [`Model::clear_faults`](super::Model::clear_faults).
    pub times: Option<u32>,
    /// What happens to them.
    pub kind: FaultKind,
}

/// Which calls a [`Fault`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /access_token`, both grants.
    AccessToken,
    /// `GET /people/me`.
    PeopleMe,
    /// `/authorize`.
    Authorize,
    /// `POST /memberships`.
    Memberships,
    /// `POST /messages`.
    Messages,
    /// `POST /hooks/notices`, the receiver of webhooks.
    Hook,
    /// Everything below `/v1`.
    Any,
}

/// What happens to a call. "Instead": nothing changes in the model. "After": the call is answered as usual,
/// with its effects, and then the answer is spoilt.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Instead: 400, this grant is dead.
    Status400Dead(DeadText),
    /// Instead: 401 `invalid_client`; at an API, the 401 of a dead access token.
    Client401,
    /// Instead: 400 `tokenlimit_reached`.
    TokenLimit,
    /// Instead: 429 without a body.
    TooMany429 {
        /// `Retry-After`, verbatim: a number, a date, `rand(30),add(30)`, …
        retry_after: Option<String>,
    },
    /// Instead: 423 with a JSON body.
    Locked423 {
        /// `Retry-After`, verbatim.
        retry_after: Option<String>,
    },
    /// Instead: a status such as 500, 502, 503, 504 or 408.
    Unavailable {
        /// The status.
        status: u16,
        /// A proxy's HTML page instead of JSON.
        html: bool,
    },
    /// Instead: 200 with an HTML page of a captive portal.
    OkHtml,
    /// Instead: 200 with JSON that has a `message` and no token.
    OkNoToken,
    /// Instead: 200 with no body.
    OkEmpty,
    /// After: 200 whose JSON stops in the middle, though the HTTP message is whole.
    OkTruncatedJson,
    /// Instead: 200 with something that is not JSON.
    OkBrokenJson,
    /// Instead: 200 with a body of this many bytes.
    OkHuge(usize),
    /// After: numbers of the answer are strings (`"expires_in": "1209600"`).
    ExpiresInAsString,
    /// Instead: 302 to this place.
    Redirect(String),
    /// After: the answer comes this much later.
    Slow(Duration),
    /// After: the body comes byte by byte, with this pause between two.
    Drip(Duration),
    /// Instead: no answer, ever; the connection stays.
    Hang,
    /// Instead: the connection is reset.
    ResetBefore,
    /// After: the connection closes behind the headers.
    CutAfterHeaders,
    /// After: the connection closes in mid-body.
    CutInBody,
    /// After: the connection is reset, and the answer is lost.
    ProcessedButLost,
    /// Instead: exactly this.
    Raw {
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
}

/// The ways to say that a grant is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadText {
    /// `invalid_request`: `The refresh token provided is expired, revoked, malformed, or invalid.`
    RefreshToken,
    /// `invalid_grant`
    InvalidGrant,
    /// `invalid_refresh_token`
    InvalidRefreshToken,
    /// `The requested scope is invalid`
    Scope,
}

impl DeadText {
    fn problem(self) -> Problem {
        match self {
            Self::RefreshToken => problem::DEAD_REFRESH_TOKEN,
            Self::InvalidGrant => problem::INVALID_GRANT,
            Self::InvalidRefreshToken => problem::INVALID_REFRESH_TOKEN,
            Self::Scope => problem::SCOPE_NO_LONGER_VALID,
        }
    }
}

/// What an answer made by a fault needs to know about the call.
pub(super) struct Scene<'a> {
    pub(super) shape: ErrorBody,
    pub(super) tracking_id: &'a str,
    pub(super) is_api: bool,
}

impl FaultKind {
    /// The answer given instead of the model's; `None` for faults that spoil the model's own.
    pub(super) fn instead(&self, scene: &Scene<'_>) -> Option<Answer> {
        Some(match self {
            Self::Status400Dead(text) => text.problem().answer(scene.shape, scene.tracking_id),
            Self::Client401 if scene.is_api => problem::dead_access_token(scene.tracking_id),
            Self::Client401 => problem::WRONG_CLIENT.answer(scene.shape, scene.tracking_id),
            Self::TokenLimit => problem::TOKEN_LIMIT.answer(scene.shape, scene.tracking_id),
            Self::TooMany429 { retry_after } => retry(Answer::empty(429), retry_after.as_deref()),
            Self::Locked423 { retry_after } => retry(unavailable(423, false, scene), retry_after.as_deref()),
            Self::Unavailable { status, html } => unavailable(*status, *html, scene),
            Self::OkHtml => {
                Answer::html(200, "<html><title>Hotel Wi-Fi</title>Please log in.</html>".to_owned())
            }
            Self::OkNoToken => {
                Answer::json(200, &json!({"message": "An error occurred.", "trackingId": scene.tracking_id}))
            }
            Self::OkEmpty => Answer::empty(200).with("Content-Type", "application/json"),
            Self::OkBrokenJson => raw_json(b"{\"access_token\": oops".to_vec()),
            Self::OkHuge(bytes) => raw_json(vec![b' '; *bytes]),
            Self::Redirect(to) => Answer::redirect(to),
            Self::Hang => Answer { cut: Some(Cut::Hang), ..Answer::empty(200) },
            Self::ResetBefore => Answer { cut: Some(Cut::Reset), ..Answer::empty(200) },
            Self::Raw { status, headers, body } => {
                Answer { headers: headers.clone(), body: body.clone(), ..Answer::empty(*status) }
            }
            Self::OkTruncatedJson
            | Self::ExpiresInAsString
            | Self::Slow(_)
            | Self::Drip(_)
            | Self::CutAfterHeaders
            | Self::CutInBody
            | Self::ProcessedButLost => return None,
        })
    }

    /// Spoils the model's own answer.
    pub(super) fn spoil(&self, answer: &mut Answer) {
        match self {
            Self::OkTruncatedJson => answer.body.truncate(answer.body.len() / 2),
            Self::ExpiresInAsString => numbers_to_strings(&mut answer.body),
            Self::Slow(by) => answer.delay += *by,
            Self::Drip(pause) => answer.cut = Some(Cut::Drip(*pause)),
            Self::CutAfterHeaders => answer.cut = Some(Cut::AfterHeaders),
            Self::CutInBody => answer.cut = Some(Cut::InBody),
            Self::ProcessedButLost => answer.cut = Some(Cut::Reset),
            _ => {}
        }
    }
}

fn retry(answer: Answer, after: Option<&str>) -> Answer {
    match after {
        Some(after) => answer.with("Retry-After", after),
        None => answer,
    }
}

fn raw_json(body: Vec<u8>) -> Answer {
    Answer { body, ..Answer::empty(200) }.with("Content-Type", "application/json")
}

fn unavailable(status: u16, html: bool, scene: &Scene<'_>) -> Answer {
    let reason = problem::reason(status);
    if html {
        return Answer::html(status, format!("<html><head><title>{status} {reason}</title></head></html>"));
    }
    problem::webexapis(status, reason, reason, scene.tracking_id)
}

fn numbers_to_strings(body: &mut Vec<u8>) {
    let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) else { return };
    for value in fields.values_mut() {
        if value.is_number() {
            *value = Value::String(value.to_string());
        }
    }
    *body = Value::Object(fields).to_string().into_bytes();
}

/// The rules in force, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to this call, if anything; uses up one of the rule's times.
    pub(super) fn strike(&mut self, on: Option<Endpoint>, person: Option<usize>) -> Option<FaultKind> {
        let hits = |rule: &Fault| {
            (rule.on == Endpoint::Any || Some(rule.on) == on)
                && (rule.person.is_none() || rule.person == person)
                && rule.times != Some(0)
        };
        let at = self.0.iter().position(hits)?;
        let rule = self.0.get_mut(at)?;
        rule.times = rule.times.map(|left| left - 1);
        if rule.times == Some(0) {
            return Some(self.0.remove(at).kind);
        }
        Some(rule.kind.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_whom_it_names_as_often_as_it_says() {
        let mut faults = Faults::default();
        let (on, kind) = (Endpoint::PeopleMe, FaultKind::Hang);
        faults.push(Fault { on, person: Some(1), times: Some(2), kind: kind.clone() });
        assert_eq!(faults.strike(Some(on), Some(0)), None);
        assert_eq!(faults.strike(Some(Endpoint::AccessToken), Some(1)), None);
        assert_eq!(faults.strike(Some(on), Some(1)), Some(kind.clone()));
        assert_eq!(faults.strike(Some(on), Some(1)), Some(kind));
        assert_eq!(faults.strike(Some(on), Some(1)), None);
    }
}
