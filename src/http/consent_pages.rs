//! The pages and statuses for a consent that failed, and for a space that cannot be shown.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;

use crate::consent::ConsentError;
use crate::http::pages::PageFrame;
use crate::http::pages::problem;
use crate::http::respond;
use crate::http::serve::ResponseBody;
use crate::refresh::TokenError;

/// `Retry-After` if Webex does not give one.
const WEBEX_RETRY: Duration = Duration::from_secs(30);

/// The page for a failed consent.
pub(super) fn consent_problem(frame: &PageFrame, error: ConsentError) -> Response<ResponseBody> {
    let (status, told, wait) = match error {
        ConsentError::Stale => (StatusCode::BAD_REQUEST, problem::STALE, None),
        ConsentError::Refused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::REFUSED.with_tracking_id(tracking_id), None)
        }
        ConsentError::ClientRefused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::CLIENT_REFUSED.with_tracking_id(tracking_id), None)
        }
        ConsentError::Unreachable { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::UNREACHABLE.with_tracking_id(tracking_id), Some(WEBEX_RETRY))
        }
        ConsentError::Busy { wait, tracking_id, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, problem::BUSY.with_tracking_id(tracking_id), Some(wait))
        }
        ConsentError::GivenUp { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, problem::GIVEN_UP.with_tracking_id(tracking_id), None)
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
        Some(wait) => respond::with_retry_after(response, wait),
        None => response,
    }
}

/// The page if the space cannot be shown to a person who may see it.
pub(super) fn no_space(frame: &PageFrame, why: &TokenError) -> Response<ResponseBody> {
    let (status, told) = match why {
        TokenError::UnknownPerson => (StatusCode::FORBIDDEN, problem::NO_VISIT),
        TokenError::ConsentNeeded(_) => (StatusCode::CONFLICT, problem::ENDED_AT_WEBEX),
        TokenError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, problem::NO_TOKEN),
        TokenError::Store(why) => {
            log::error!("cannot show the space: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, problem::NO_STORE)
        }
    };
    respond::problem(frame, status, &told)
}

/// The page if Webex sends the browser back without a code.
pub(super) fn webex_refused(frame: &PageFrame, error: &str) -> Response<ResponseBody> {
    let (status, told) = match error {
        "access_denied" => (StatusCode::FORBIDDEN, problem::DECLINED),
        "invalid_scope" => (StatusCode::BAD_REQUEST, problem::WRONG_SCOPES),
        "invalid_client" | "unauthorized_client" => (StatusCode::BAD_REQUEST, problem::CLIENT_REFUSED),
        "server_error" => (StatusCode::BAD_GATEWAY, problem::WEBEX_BROKEN),
        _ => (StatusCode::BAD_REQUEST, problem::ENDED),
    };
    respond::problem(frame, status, &told)
}
