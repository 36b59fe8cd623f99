//! Answers: the headers that all of them carry, and the only map from errors to statuses.

use askama::Template;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::consent::ConsentError;
use crate::http::pages::Frame;
use crate::http::pages::Problem;
use crate::http::pages::ProblemPage;
use crate::http::serve::Body;

/// Nothing but our own style sheet; no frames around us, no forms, no scripts.
const CSP: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// On every answer. The callback's address holds a code, so no `Referer` may ever name it.
const ALWAYS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

pub(super) fn with(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let body = body.into();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    with(status, PLAIN, text)
}

pub(super) fn page(status: StatusCode, page: &impl Template) -> Response<Body> {
    match page.render() {
        Ok(html) => with(status, HTML, html),
        Err(e) => {
            log::error!("a page could not be made: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.\n")
        }
    }
}

pub(super) fn problem(frame: &Frame, status: StatusCode, problem: &Problem) -> Response<Body> {
    page(status, &ProblemPage { frame, problem })
}

/// To Webex's consent page.
pub(super) fn redirect(url: &str) -> Response<Body> {
    let mut response = with(StatusCode::FOUND, PLAIN, "");
    match HeaderValue::from_str(url) {
        Ok(url) => {
            response.headers_mut().insert(header::LOCATION, url);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The address of Webex is wrong.\n"),
    }
}

pub(super) fn asset(content_type: &'static str, body: &'static str) -> Response<Body> {
    let mut response = with(StatusCode::OK, content_type, body);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

pub(super) fn not_allowed() -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// What a failed consent looks like.
pub(super) fn consent_problem(frame: &Frame, error: ConsentError) -> Response<Body> {
    let (status, heading, text, tracking_id) = match error {
        ConsentError::Stale => (
            StatusCode::BAD_REQUEST,
            "This link is no longer good",
            "It was used before, took too long, or was begun in another browser. Nothing was changed. If you saw \
             “Access Granted” a moment ago, all is well.",
            None,
        ),
        ConsentError::Refused { tracking_id, .. } => (
            StatusCode::BAD_GATEWAY,
            "Webex did not accept it",
            "Webex refused what it had sent with you a moment before. Nothing was changed. Please start again; if it \
             happens again, tell the people who run this service.",
            tracking_id,
        ),
        ConsentError::Unreachable { tracking_id, .. } => (
            StatusCode::BAD_GATEWAY,
            "Webex cannot be reached",
            "You did consent, but Webex does not answer this service at the moment. Nothing was changed. Reload this \
             page in a minute, or start again later.",
            tracking_id,
        ),
        ConsentError::Crowded => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Very many people at once",
            "Please reload this page in a few seconds.",
            None,
        ),
        ConsentError::Store(_) | ConsentError::NoTicket => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Your consent could not be kept",
            "This service has a problem of its own, which the people who run it find in its log. Please start again \
             later.",
            None,
        ),
    };
    problem(frame, status, &Problem { heading, text, tracking_id, again: true })
}
