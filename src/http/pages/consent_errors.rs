//! The pages and statuses for a consent that failed, and for a space that cannot be shown.

use hyper::Response;
use hyper::StatusCode;

use crate::consent::ConsentError;
use crate::http::pages::error;
use crate::http::pages::frame::PageFrame;
use crate::http::response;
use crate::http::response::api_error::WEBEX_RETRY;
use crate::http::response::response_body::ResponseBody;
use crate::refresh::TokenError;

/// The page for a failed consent.
pub(in crate::http) fn consent_problem(frame: &PageFrame, error: ConsentError) -> Response<ResponseBody> {
    let (status, told, wait) = match error {
        ConsentError::Stale => (StatusCode::BAD_REQUEST, error::STALE, None),
        ConsentError::Refused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, error::REFUSED.with_tracking_id(tracking_id), None)
        }
        ConsentError::ClientRefused { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, error::CLIENT_REFUSED.with_tracking_id(tracking_id), None)
        }
        ConsentError::Unreachable { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, error::UNREACHABLE.with_tracking_id(tracking_id), Some(WEBEX_RETRY))
        }
        ConsentError::Busy { wait, tracking_id, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, error::BUSY.with_tracking_id(tracking_id), Some(wait))
        }
        ConsentError::GivenUp { tracking_id, .. } => {
            (StatusCode::BAD_GATEWAY, error::GIVEN_UP.with_tracking_id(tracking_id), None)
        }
        ConsentError::TooMany { wait } => (StatusCode::SERVICE_UNAVAILABLE, error::CROWDED, Some(wait)),
        ConsentError::Crowded => (StatusCode::SERVICE_UNAVAILABLE, error::CROWDED, Some(WEBEX_RETRY)),
        ConsentError::NotAllowed(_) => {
            (StatusCode::FORBIDDEN, error::NOT_ALLOWED.ended_at(frame.accesses), None)
        }
        ConsentError::Store(_) | ConsentError::NoTicket => {
            (StatusCode::INTERNAL_SERVER_ERROR, error::NOT_KEPT, None)
        }
    };
    let response = response::problem(frame, status, &told);
    match wait {
        Some(wait) => response::with_retry_after(response, wait),
        None => response,
    }
}

/// The page if the space cannot be shown to a person who may see it.
pub(in crate::http) fn no_space(frame: &PageFrame, why: &TokenError) -> Response<ResponseBody> {
    let (status, told) = match why {
        TokenError::UnknownPerson => (StatusCode::FORBIDDEN, error::NO_VISIT),
        TokenError::ConsentNeeded(_) => (StatusCode::CONFLICT, error::ENDED_AT_WEBEX),
        TokenError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, error::NO_TOKEN),
        TokenError::Store(why) => {
            log::error!("cannot show the space: {why}");
            (StatusCode::INTERNAL_SERVER_ERROR, error::NO_STORE)
        }
    };
    response::problem(frame, status, &told)
}

/// The page if Webex sends the browser back without a code.
pub(in crate::http) fn webex_refused(frame: &PageFrame, error: &str) -> Response<ResponseBody> {
    let (status, told) = match error {
        "access_denied" => (StatusCode::FORBIDDEN, error::DECLINED),
        "invalid_scope" => (StatusCode::BAD_REQUEST, error::WRONG_SCOPES),
        "invalid_client" | "unauthorized_client" => (StatusCode::BAD_REQUEST, error::CLIENT_REFUSED),
        "server_error" => (StatusCode::BAD_GATEWAY, error::WEBEX_BROKEN),
        _ => (StatusCode::BAD_REQUEST, error::ENDED),
    };
    response::problem(frame, status, &told)
}
