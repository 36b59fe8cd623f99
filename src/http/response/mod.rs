//! Builds responses: the headers that all of them have.

pub(in crate::http) mod api_error;
pub(in crate::http) mod csp;
pub(in crate::http) mod error_response;
pub mod response_body;

use std::time::Duration;

use askama::Template;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde::Serialize;

use crate::http::pages::asset::Asset;
use crate::http::pages::error::ErrorPage;
use crate::http::pages::error::ErrorPageTemplate;
use crate::http::pages::frame::PageFrame;
use crate::http::response::response_body::ResponseBody;

/// Headers of every response. The callback's URL contains a code, so no `Referer` may contain it.
static ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp::STRICT)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// For the dashboard: its own forms and scripts, and the requests of these scripts.
const OPERATORS_CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

pub(in crate::http) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    build(status, content_type, ResponseBody::new(body))
}

/// A streaming response. Proxies must not buffer it.
pub(in crate::http) fn stream(content_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = build(StatusCode::OK, content_type, body);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn build(status: StatusCode, content_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in &ALWAYS {
        headers.insert(name, value.clone());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(in crate::http) fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    response(status, PLAIN, text)
}

pub(in crate::http) fn page(status: StatusCode, page: &impl Template) -> Response<ResponseBody> {
    match page.render() {
        Ok(html) => response(status, HTML, html),
        Err(e) => {
            log::error!("cannot render a page: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be rendered.\n")
        }
    }
}

pub(in crate::http) fn problem(
    frame: &PageFrame,
    status: StatusCode,
    problem: &ErrorPage,
) -> Response<ResponseBody> {
    page(status, &ErrorPageTemplate { frame, problem })
}

/// Redirects the browser, for example to Webex's consent page.
pub(in crate::http) fn redirect(url: &str) -> Response<ResponseBody> {
    let mut response = response(StatusCode::FOUND, PLAIN, "");
    match HeaderValue::from_str(url) {
        Ok(url) => {
            response.headers_mut().insert(header::LOCATION, url);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The target of the redirect is invalid.\n"),
    }
}

pub(in crate::http) fn asset(asset: &'static Asset) -> Response<ResponseBody> {
    let mut response = response(StatusCode::OK, asset.content_type, asset.text);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

pub(in crate::http) fn method_not_allowed() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// The response to a method that the path does not support.
pub(in crate::http) fn method_not_allowed_with(allow: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Sets the headers of a dashboard page. With `no-referrer`, browsers would send forms with `Origin: null`.
/// With `strict-origin` they send the origin, and never the path.
pub(in crate::http) fn for_operators(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OPERATORS_CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}

/// Redirects to another page of the dashboard, by GET.
pub(in crate::http) fn see_other(path: &str) -> Response<ResponseBody> {
    let mut response = redirect(path);
    *response.status_mut() = StatusCode::SEE_OTHER;
    response
}

/// Adds `Retry-After`.
pub(in crate::http) fn with_retry_after(
    mut response: Response<ResponseBody>,
    after: Duration,
) -> Response<ResponseBody> {
    response.headers_mut().insert(header::RETRY_AFTER, seconds(after));
    response
}

/// The same response without its body, for HEAD.
pub(in crate::http) fn head_of(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    // A streaming response has no length.
    if let Some(length) = hyper::body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = ResponseBody::default();
    response
}

/// A JSON response of the API.
pub(in crate::http) fn json(status: StatusCode, what: &impl Serialize) -> Response<ResponseBody> {
    typed(status, JSON, what)
}

/// A response without a body: its status says everything.
pub(in crate::http) fn no_content() -> Response<ResponseBody> {
    let mut response = response(StatusCode::NO_CONTENT, PLAIN, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// A JSON response from a constant text.
pub(in crate::http) fn json_text(text: &'static str) -> Response<ResponseBody> {
    response(StatusCode::OK, JSON, text)
}

/// A JSON response of this content type.
pub(in crate::http) fn typed(
    status: StatusCode,
    content_type: &'static str,
    what: &impl Serialize,
) -> Response<ResponseBody> {
    match serde_json::to_vec(what) {
        Ok(body) => response(status, content_type, body),
        Err(e) => {
            log::error!("cannot serialize a response: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The response could not be created.\n")
        }
    }
}

/// Whole seconds, rounded up, at least one.
pub(in crate::http) fn seconds(span: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX))
}

/// The response to a prefetch of a URL that only a person's own visit may use. Browsers drop the prefetch
/// then.
pub(in crate::http) fn refuse_prefetch() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Prefetch requests are not served here.\n");
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("sec-purpose, purpose"));
    response
}

/// The response to `OPTIONS`: the allowed methods. Load balancers use it as a health check.
pub(in crate::http) fn options() -> Response<ResponseBody> {
    let mut response = no_content();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}
