//! The pages and statuses for a consent that failed, and for a space that cannot be shown.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::consent::ConsentError;
use crate::http::pages::Frame;
use crate::http::pages::problem;
use crate::http::respond;
use crate::http::serve::Body;
use crate::refresh::NoToken;

/// `Retry-After` if Webex does not give one.
const WEBEX_RETRY: Duration = Duration::from_secs(30);

/// The page for a failed consent.
pub(super) fn consent_problem(frame: &Frame, error: ConsentError) -> Response<Body> {
    let (status, told, wait) = match error {
        ConsentError::Stale => (StatusCode::BAD_REQUEST, problem::STALE, None),
        ConsentError::Refused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::REFUSED.traced(tracking_id), None)
        }
        ConsentError::ClientRefused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::CLIENT_REFUSED.traced(tracking_id), None)
        }
        ConsentError::Unreachable { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::UNREACHABLE.traced(tracking_id), Some(WEBEX_RETRY))
        }
        ConsentError::Busy { wait, tracking_id, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, problem::BUSY.traced(tracking_id), Some(wait))
        }
        ConsentError::GivenUp { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::GIVEN_UP.traced(tracking_id), None)
        }
        ConsentError::TooMany { wait } => (StatusCode::SERVICE_UNAVAILABLE, problem::CROWDED, Some(wait)),
        ConsentError::Crowded => (StatusCode::SERVICE_UNAVAILABLE, problem::CROWDED, Some(WEBEX_RETRY)),
        ConsentError::NotAllowed(_) => {
            (StatusCode::FORBIDDEN, problem::NOT_ALLOWED.ended_at(frame.accesses), None)
        }
        ConsentError::Store(_) | ConsentError::NoTicket => {
            (StatusCode::INTERNAL_SERVER_ERROR, problem::NOT_KEPT, None)
        }
    };
    let response = respond::problem(frame, status, &told);
    match wait {
        Some(wait) => respond::later(response, wait),
        None => response,
    }
}

/// The page if the space cannot be shown to a person who may see it.
pub(super) fn no_space(frame: &Frame, why: &NoToken) -> Response<Body> {
    let (status, told) = match why {
        NoToken::UnknownPerson => (StatusCode::FORBIDDEN, problem::NO_VISIT),
        NoToken::ConsentNeeded(_) => (StatusCode::CONFLICT, problem::ENDED_AT_WEBEX),
        NoToken::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, problem::NO_TOKEN),
        NoToken::Store(why) => {
            log::error!("cannot show the space: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, problem::NO_STORE)
        }
    };
    respond::problem(frame, status, &told)
}

/// The page if Webex sends the browser back without a code.
pub(super) fn webex_refused(frame: &Frame, error: &str) -> Response<Body> {
    let (status, told) = match error {
        "access_denied" => (StatusCode::FORBIDDEN, problem::DECLINED),
        "invalid_scope" => (StatusCode::BAD_REQUEST, problem::WRONG_SCOPES),
        "invalid_client" | "unauthorized_client" => (StatusCode::BAD_REQUEST, problem::CLIENT_REFUSED),
        "server_error" => (StatusCode::BAD_GATEWAY, problem::WEBEX_BROKEN),
        _ => (StatusCode::BAD_REQUEST, problem::ENDED),
    };
    respond::problem(frame, status, &told)
}
