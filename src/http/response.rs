//! Builds responses: the headers that all of them have, and the only mapping from errors to statuses.

use std::time::Duration;

use askama::Template;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use serde::Serialize;

use crate::api_types;
use crate::domain::person::PersonId;
use crate::http::api_error::ApiError;
use crate::http::csp;
use crate::http::pages::Asset;
use crate::http::pages::ErrorPage;
use crate::http::pages::ErrorPageTemplate;
use crate::http::pages::PageFrame;
use crate::http::request_body::BodyError;
use crate::http::server::listener::ResponseBody;
use crate::http::token_service::TokenServiceError;

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
const PROBLEM: &str = "application/problem+json";

/// `Retry-After` if the store fails or a concurrency limit is reached.
const STORE_RETRY: Duration = Duration::from_secs(5);

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<ResponseBody> {
    build(status, content_type, ResponseBody::new(body))
}

/// A streaming response. Proxies must not buffer it.
pub(super) fn stream(content_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
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

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<ResponseBody> {
    response(status, PLAIN, text)
}

pub(super) fn page(status: StatusCode, page: &impl Template) -> Response<ResponseBody> {
    match page.render() {
        Ok(html) => response(status, HTML, html),
        Err(e) => {
            log::error!("cannot render a page: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be rendered.\n")
        }
    }
}

pub(super) fn problem(frame: &PageFrame, status: StatusCode, problem: &ErrorPage) -> Response<ResponseBody> {
    page(status, &ErrorPageTemplate { frame, problem })
}

/// Redirects the browser, for example to Webex's consent page.
pub(super) fn redirect(url: &str) -> Response<ResponseBody> {
    let mut response = response(StatusCode::FOUND, PLAIN, "");
    match HeaderValue::from_str(url) {
        Ok(url) => {
            response.headers_mut().insert(header::LOCATION, url);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The target of the redirect is invalid.\n"),
    }
}

pub(super) fn asset(asset: &'static Asset) -> Response<ResponseBody> {
    let mut response = response(StatusCode::OK, asset.content_type, asset.text);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

pub(super) fn method_not_allowed() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// The response to a method that the path does not support.
pub(super) fn method_not_allowed_with(allow: &'static str) -> Response<ResponseBody> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Sets the headers of a dashboard page. With `no-referrer`, browsers would send forms with `Origin: null`.
/// With `strict-origin` they send the origin, and never the path.
pub(super) fn for_operators(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OPERATORS_CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}

/// Redirects to another page of the dashboard, by GET.
pub(super) fn see_other(path: &str) -> Response<ResponseBody> {
    let mut response = redirect(path);
    *response.status_mut() = StatusCode::SEE_OTHER;
    response
}

/// Adds `Retry-After`.
pub(super) fn with_retry_after(
    mut response: Response<ResponseBody>,
    after: Duration,
) -> Response<ResponseBody> {
    response.headers_mut().insert(header::RETRY_AFTER, seconds(after));
    response
}

/// The same response without its body, for HEAD.
pub(super) fn head_of(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    // A streaming response has no length.
    if let Some(length) = hyper::body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = ResponseBody::default();
    response
}

/// A JSON response of the API.
pub(super) fn json(status: StatusCode, what: &impl Serialize) -> Response<ResponseBody> {
    typed(status, JSON, what)
}

/// A response without a body: its status says everything.
pub(super) fn no_content() -> Response<ResponseBody> {
    let mut response = response(StatusCode::NO_CONTENT, PLAIN, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// The response of the token service endpoint.
pub(super) fn token_record(record: &api_types::TokenRecord) -> Response<ResponseBody> {
    json(StatusCode::OK, record)
}

/// The errors of the token service endpoint: those of the sample, and some that the sample does not have.
pub(super) fn token_service_error(why: &TokenServiceError) -> Response<ResponseBody> {
    let said = |status, error: &str| json(status, &serde_json::json!({ "error": error }));
    match why {
        TokenServiceError::Malformed => said(StatusCode::BAD_REQUEST, "Malformed Request"),
        TokenServiceError::TooMany(wait) => {
            with_retry_after(said(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), *wait)
        }
        TokenServiceError::NoSuchPerson | TokenServiceError::NoToken(ApiError::ConsentNeeded { .. }) => {
            said(StatusCode::CONFLICT, "Consent Needed")
        }
        TokenServiceError::NoToken(ApiError::AmbiguousPerson(_)) => {
            said(StatusCode::CONFLICT, "Ambiguous Person")
        }
        TokenServiceError::NoToken(ApiError::WebexUnavailable { retry_after, .. }) => {
            with_retry_after(said(StatusCode::SERVICE_UNAVAILABLE, "No Live Token"), *retry_after)
        }
        TokenServiceError::NoToken(_) => {
            with_retry_after(said(StatusCode::SERVICE_UNAVAILABLE, "No Store"), STORE_RETRY)
        }
    }
}

/// A JSON response from a constant text.
pub(super) fn json_text(text: &'static str) -> Response<ResponseBody> {
    response(StatusCode::OK, JSON, text)
}

fn typed(status: StatusCode, content_type: &'static str, what: &impl Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(what) {
        Ok(body) => response(status, content_type, body),
        Err(e) => {
            log::error!("cannot serialize a response: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The response could not be created.\n")
        }
    }
}

/// The API's response to an error, as problem details (RFC 9457).
pub(super) fn api_error(refusal: &ApiError) -> Response<ResponseBody> {
    let (status, title, detail) = describe(refusal);
    let (consent_url, persons) = match refusal {
        ApiError::ConsentNeeded { consent_url } => (Some(consent_url.clone()), None),
        ApiError::AmbiguousPerson(persons) => (None, Some(persons.iter().map(PersonId::to_string).collect())),
        _ => (None, None),
    };
    let problem = api_types::ProblemDetails {
        kind: "about:blank".to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail,
        code: problem_code(refusal).to_owned(),
        consent_url,
        persons,
    };
    error_page(refusal, |status| typed(status, PROBLEM, &problem))
}

/// The same for browsers: `page` builds the response for the error's status. The header that tells browsers
/// what to do is added.
pub(super) fn error_page(
    refusal: &ApiError,
    page: impl FnOnce(StatusCode) -> Response<ResponseBody>,
) -> Response<ResponseBody> {
    let (status, ..) = describe(refusal);
    let mut response = page(status);
    if let Some((name, value)) = extra_header(refusal) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The status, title and detail of each error.
fn describe(refusal: &ApiError) -> (StatusCode, &'static str, String) {
    match refusal {
        ApiError::Unauthorized(why) => (StatusCode::UNAUTHORIZED, "A valid API key is required", (*why).into()),
        ApiError::Forbidden(why) => (StatusCode::FORBIDDEN, "Not allowed with this key", why.clone()),
        ApiError::UnknownPerson => (
            StatusCode::NOT_FOUND,
            "No such person",
            "No person with this id or address has consented; `webex-tokend people` lists those who have.".into(),
        ),
        ApiError::AmbiguousPerson(persons) => {
            let ids: Vec<&str> = persons.iter().map(PersonId::as_str).collect();
            let detail = format!("More than one person has this address. Name one by id: {}.", ids.join(", "));
            (StatusCode::CONFLICT, "Several persons share this address", detail)
        }
        ApiError::NotFound(what) => (StatusCode::NOT_FOUND, "Not found", what.clone()),
        ApiError::MethodNotAllowed(allow) => {
            (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", format!("Allowed methods: {allow}."))
        }
        ApiError::ConsentNeeded { consent_url } => (
            StatusCode::CONFLICT,
            "The person must consent again",
            format!("This grant can no longer be renewed, or its stored record cannot be read. The person must open {consent_url} and consent."),
        ),
        ApiError::BadRequest(why) => (StatusCode::BAD_REQUEST, "Invalid request", why.clone()),
        ApiError::NotJson => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body is not JSON",
            "Send the body with Content-Type: application/json.".into(),
        ),
        ApiError::Taken(why) => (StatusCode::CONFLICT, "Conflict", why.clone()),
        ApiError::Body(why @ BodyError::TooLarge(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", why.to_string())
        }
        ApiError::Body(why @ BodyError::TooSlow(_)) => {
            (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time", why.to_string())
        }
        ApiError::Body(why @ BodyError::Broken(_)) => {
            (StatusCode::BAD_REQUEST, "The body is incomplete", why.to_string())
        }
        ApiError::TooMany { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many invalid keys",
            "Too many invalid keys were sent from this address. A valid key is always accepted.".into(),
        ),
        ApiError::OverBudget { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many refreshes",
            "This key has used up its refresh budget, or too many of its refreshes are running. Try again later; a token \
             that lives long enough is returned without a refresh."
                .into(),
        ),
        ApiError::WebexUnavailable { why, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "Webex is unavailable", why.clone())
        }
        ApiError::WebexRefused(why) => (StatusCode::BAD_GATEWAY, "Webex rejected the request", why.clone()),
        ApiError::Crowded(why) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests at once", (*why).into()),
        ApiError::StoreUnavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The store is unavailable",
            "The store cannot be read or written at present; the log says why.".into(),
        ),
        ApiError::Broken => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "An error in webex-tokend",
            "The request could not be completed; the log says more.".into(),
        ),
    }
}

/// The problem code of the API.
fn problem_code(refusal: &ApiError) -> &'static str {
    match refusal {
        ApiError::Unauthorized(_) => "unauthorized",
        ApiError::Forbidden(_) => "forbidden",
        ApiError::UnknownPerson => "unknown_person",
        ApiError::AmbiguousPerson(_) => "ambiguous_person",
        ApiError::NotFound(_) => "not_found",
        ApiError::MethodNotAllowed(_) => "method_not_allowed",
        ApiError::ConsentNeeded { .. } => "consent_needed",
        ApiError::BadRequest(_) | ApiError::NotJson | ApiError::Body(_) => "bad_request",
        ApiError::Taken(_) => "taken",
        ApiError::TooMany { .. } | ApiError::OverBudget { .. } | ApiError::Crowded(_) => "too_many_requests",
        ApiError::WebexUnavailable { .. } => "webex_unavailable",
        ApiError::WebexRefused(_) => "webex_refused",
        ApiError::StoreUnavailable => "store_unavailable",
        ApiError::Broken => "internal",
    }
}

/// The header that tells a program what to do.
fn extra_header(refusal: &ApiError) -> Option<(HeaderName, HeaderValue)> {
    Some(match refusal {
        ApiError::Unauthorized(_) => (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        ApiError::MethodNotAllowed(allow) => (header::ALLOW, HeaderValue::from_str(allow).ok()?),
        ApiError::TooMany { retry_after }
        | ApiError::OverBudget { retry_after }
        | ApiError::WebexUnavailable { retry_after, .. } => (header::RETRY_AFTER, seconds(*retry_after)),
        ApiError::StoreUnavailable | ApiError::Crowded(_) => (header::RETRY_AFTER, seconds(STORE_RETRY)),
        ApiError::Body(_) => (header::CONNECTION, HeaderValue::from_static("close")),
        _ => return None,
    })
}

/// Whole seconds, rounded up, at least one.
fn seconds(span: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX))
}

/// The response to a prefetch of a URL that only a person's own visit may use. Browsers drop the prefetch
/// then.
pub(super) fn refuse_prefetch() -> Response<ResponseBody> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Prefetch requests are not served here.\n");
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("sec-purpose, purpose"));
    response
}

/// The response to `OPTIONS`: the allowed methods. Load balancers use it as a health check.
pub(super) fn options() -> Response<ResponseBody> {
    let mut response = no_content();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_status_and_retry_after_of_the_api() {
        for (why, status, hint) in
            [(ApiError::Broken, 500, None), (ApiError::StoreUnavailable, 503, Some(HeaderValue::from(5)))]
        {
            let page = error_page(&why, |status| plain(status, "why"));
            assert_eq!(page.status().as_u16(), status);
            assert_eq!(page.headers().get(header::RETRY_AFTER), hint.as_ref());
            assert_eq!(api_error(&why).status(), page.status());
        }
    }
}
