//! Refusals, with Webex's texts where they are known, in either of its two shapes.

use serde_json::json;

use super::http::Answer;
use crate::settings::ErrorBody;

/// A refusal of an OAuth endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// OAuth's word for it.
    pub(super) code: &'static str,
    /// The sentence, or the code again where no sentence is known.
    pub(super) text: &'static str,
}

const fn problem(status: u16, code: &'static str, text: &'static str) -> Problem {
    Problem { status, code, text }
}

pub(super) const DEAD_REFRESH_TOKEN: Problem =
    problem(400, "invalid_request", "The refresh token provided is expired, revoked, malformed, or invalid.");
pub(super) const INVALID_GRANT: Problem = problem(400, "invalid_grant", "invalid_grant");
pub(super) const INVALID_REFRESH_TOKEN: Problem =
    problem(400, "invalid_refresh_token", "invalid_refresh_token");
pub(super) const INVALID_SCOPE: Problem = problem(400, "invalid_scope", "The requested scope is invalid.");
/// As ATLAS knows it at a refresh: without the full stop.
pub(super) const SCOPE_NO_LONGER_VALID: Problem =
    problem(400, "invalid_scope", "The requested scope is invalid");
pub(super) const TOKEN_LIMIT: Problem = problem(400, "tokenlimit_reached", "tokenlimit_reached");
pub(super) const UNSUPPORTED_GRANT: Problem =
    problem(400, "unsupported_grant_type", "unsupported_grant_type");
pub(super) const INVALID_REQUEST: Problem = problem(400, "invalid_request", "invalid_request");
/// The text is our guess.
pub(super) const WRONG_CLIENT: Problem = problem(401, "invalid_client", "Client authentication failed.");
pub(super) const DENIED: Problem = problem(400, "access_denied", "access_denied");
pub(super) const PENDING: Problem = problem(428, "authorization_pending", "authorization_pending");
pub(super) const SLOW_DOWN: Problem = problem(400, "slow_down", "slow_down");
/// The texts below are our guesses.
pub(super) const BAD_CODE: Problem =
    problem(400, "invalid_grant", "The authorization code provided is expired, already used, or invalid.");
pub(super) const BAD_REDIRECT: Problem =
    problem(400, "invalid_grant", "The redirect URI does not match the one of the authorization request.");
pub(super) const BAD_VERIFIER: Problem =
    problem(400, "invalid_grant", "The code verifier does not match the code challenge.");

impl Problem {
    /// The refusal in the chosen shape. Webexapis wraps what the token service behind it said.
    pub(super) fn answer(self, shape: ErrorBody, tracking_id: &str) -> Answer {
        match shape {
            ErrorBody::Idbroker => Answer::json(
                self.status,
                &json!({"error": self.code, "error_description": self.text, "trackingID": tracking_id}),
            ),
            ErrorBody::Webexapis => {
                let message = format!(
                    "POST failed: HTTP/1.1 {} {} (url = https://idbroker.webex.com/idb/oauth2/v1/access_token, \
                     request/response TrackingId = {tracking_id}, error = '{}')",
                    self.status,
                    reason(self.status),
                    self.text,
                );
                webexapis(self.status, &message, self.text, tracking_id)
            }
        }
    }
}

/// `{"message", "errors": [{"description"}], "trackingId"}`
pub(super) fn webexapis(status: u16, message: &str, description: &str, tracking_id: &str) -> Answer {
    Answer::json(
        status,
        &json!({"message": message, "errors": [{"description": description}], "trackingId": tracking_id}),
    )
}

/// What every API says to a token that is dead, unknown or missing.
pub(super) fn dead_access_token(tracking_id: &str) -> Answer {
    const TEXT: &str = "The request requires a valid access token set in the Authorization request header.";
    webexapis(401, TEXT, TEXT, tracking_id)
}

/// The words beside a status.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        423 => "Locked",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}
