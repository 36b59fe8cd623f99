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
use crate::http::body::BodyError;
use crate::http::pages::Asset;
use crate::http::pages::Frame;
use crate::http::pages::Problem;
use crate::http::pages::ProblemPage;
use crate::http::policy;
use crate::http::refusal::Refusal;
use crate::http::serve::Body;
use crate::http::token_service::NoRecord;

/// Headers of every response. The callback's URL contains a code, so no `Referer` may contain it.
static ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy::STRICT)),
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

pub(super) fn with(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    of(status, content_type, Body::new(body))
}

/// A streaming response. Proxies must not buffer it.
pub(super) fn flow(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = of(StatusCode::OK, content_type, body);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn of(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in &ALWAYS {
        headers.insert(name, value.clone());
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
            log::error!("cannot render a page: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be rendered.\n")
        }
    }
}

pub(super) fn problem(frame: &Frame, status: StatusCode, problem: &Problem) -> Response<Body> {
    page(status, &ProblemPage { frame, problem })
}

/// Redirects the browser, for example to Webex's consent page.
pub(super) fn redirect(url: &str) -> Response<Body> {
    let mut response = with(StatusCode::FOUND, PLAIN, "");
    match HeaderValue::from_str(url) {
        Ok(url) => {
            response.headers_mut().insert(header::LOCATION, url);
            response
        }
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "The target of the redirect is invalid.\n"),
    }
}

pub(super) fn asset(asset: &'static Asset) -> Response<Body> {
    let mut response = with(StatusCode::OK, asset.content_type, asset.text);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, forever);
    response
}

pub(super) fn not_allowed() -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// The response to a method that the path does not support.
pub(super) fn wrong_method(allow: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "This method is not allowed here.\n");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Sets the headers of a dashboard page. With `no-referrer`, browsers would send forms with `Origin: null`.
/// With `strict-origin` they send the origin, and never the path.
pub(super) fn for_operators(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OPERATORS_CSP));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    response
}

/// Redirects to another page of the dashboard, by GET.
pub(super) fn see_other(path: &str) -> Response<Body> {
    let mut response = redirect(path);
    *response.status_mut() = StatusCode::SEE_OTHER;
    response
}

/// Adds `Retry-After`.
pub(super) fn later(mut response: Response<Body>, after: Duration) -> Response<Body> {
    response.headers_mut().insert(header::RETRY_AFTER, seconds(after));
    response
}

/// The same response without its body, for HEAD.
pub(super) fn head_of(mut response: Response<Body>) -> Response<Body> {
    // A streaming response has no length.
    if let Some(length) = hyper::body::Body::size_hint(response.body()).exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::default();
    response
}

/// A JSON response of the API.
pub(super) fn json(status: StatusCode, what: &impl Serialize) -> Response<Body> {
    typed(status, JSON, what)
}

/// A response without a body: its status says everything.
pub(super) fn nothing() -> Response<Body> {
    let mut response = with(StatusCode::NO_CONTENT, PLAIN, "");
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// The response of the token service endpoint.
pub(super) fn record(record: &api_types::TokenRecord) -> Response<Body> {
    json(StatusCode::OK, record)
}

/// The errors of the token service endpoint: those of the sample, and some that the sample does not have.
pub(super) fn no_record(why: &NoRecord) -> Response<Body> {
    let said = |status, error: &str| json(status, &serde_json::json!({ "error": error }));
    match why {
        NoRecord::Malformed => said(StatusCode::BAD_REQUEST, "Malformed Request"),
        NoRecord::TooMany(wait) => later(said(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests"), *wait),
        NoRecord::NoSuchPerson | NoRecord::NoToken(Refusal::ConsentNeeded { .. }) => {
            said(StatusCode::CONFLICT, "Consent Needed")
        }
        NoRecord::NoToken(Refusal::AmbiguousPerson(_)) => said(StatusCode::CONFLICT, "Ambiguous Person"),
        NoRecord::NoToken(Refusal::WebexUnavailable { retry_after, .. }) => {
            later(said(StatusCode::SERVICE_UNAVAILABLE, "No Live Token"), *retry_after)
        }
        NoRecord::NoToken(_) => later(said(StatusCode::SERVICE_UNAVAILABLE, "No Store"), STORE_RETRY),
    }
}

/// A JSON response from a constant text.
pub(super) fn json_text(text: &'static str) -> Response<Body> {
    with(StatusCode::OK, JSON, text)
}

fn typed(status: StatusCode, content_type: &'static str, what: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(what) {
        Ok(body) => with(status, content_type, body),
        Err(e) => {
            log::error!("cannot serialize a response: {e}");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "The response could not be created.\n")
        }
    }
}

/// The API's response to an error, as problem details (RFC 9457).
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let (status, title, detail) = said(refusal);
    let (consent_url, persons) = match refusal {
        Refusal::ConsentNeeded { consent_url } => (Some(consent_url.clone()), None),
        Refusal::AmbiguousPerson(persons) => (None, Some(persons.iter().map(PersonId::to_string).collect())),
        _ => (None, None),
    };
    let problem = api_types::Problem {
        kind: "about:blank".to_owned(),
        title: title.to_owned(),
        status: status.as_u16(),
        detail,
        code: code_of(refusal).to_owned(),
        consent_url,
        persons,
    };
    refused_by(refusal, |status| typed(status, PROBLEM, &problem))
}

/// The same for browsers: `page` builds the response for the error's status. The header that tells browsers
/// what to do is added.
pub(super) fn refused_by(
    refusal: &Refusal,
    page: impl FnOnce(StatusCode) -> Response<Body>,
) -> Response<Body> {
    let (status, ..) = said(refusal);
    let mut response = page(status);
    if let Some((name, value)) = header_of(refusal) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The status, title and detail of each error.
fn said(refusal: &Refusal) -> (StatusCode, &'static str, String) {
    match refusal {
        Refusal::Unauthorized(why) => (StatusCode::UNAUTHORIZED, "A valid API key is required", (*why).into()),
        Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, "Not allowed with this key", why.clone()),
        Refusal::UnknownPerson => (
            StatusCode::NOT_FOUND,
            "No such person",
            "No person with this id or address has consented; `webex-tokend people` lists those who have.".into(),
        ),
        Refusal::AmbiguousPerson(persons) => {
            let ids: Vec<&str> = persons.iter().map(PersonId::as_str).collect();
            let detail = format!("More than one person has this address. Name one by id: {}.", ids.join(", "));
            (StatusCode::CONFLICT, "Several persons share this address", detail)
        }
        Refusal::NotFound(what) => (StatusCode::NOT_FOUND, "Not found", what.clone()),
        Refusal::MethodNotAllowed(allow) => {
            (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", format!("Allowed methods: {allow}."))
        }
        Refusal::ConsentNeeded { consent_url } => (
            StatusCode::CONFLICT,
            "The person must consent again",
            format!("This grant can no longer be renewed, or its stored record cannot be read. The person must open {consent_url} and consent."),
        ),
        Refusal::BadRequest(why) => (StatusCode::BAD_REQUEST, "Invalid request", why.clone()),
        Refusal::NotJson => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body is not JSON",
            "Send the body with Content-Type: application/json.".into(),
        ),
        Refusal::Taken(why) => (StatusCode::CONFLICT, "Conflict", why.clone()),
        Refusal::Body(why @ BodyError::TooLarge(_)) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large", why.to_string())
        }
        Refusal::Body(why @ BodyError::TooSlow(_)) => {
            (StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time", why.to_string())
        }
        Refusal::Body(why @ BodyError::Broken(_)) => {
            (StatusCode::BAD_REQUEST, "The body is incomplete", why.to_string())
        }
        Refusal::TooMany { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many invalid keys",
            "Too many invalid keys were sent from this address. A valid key is always accepted.".into(),
        ),
        Refusal::OverBudget { .. } => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many refreshes",
            "This key has used up its refresh budget, or too many of its refreshes are running. Try again later; a token \
             that lives long enough is returned without a refresh."
                .into(),
        ),
        Refusal::WebexUnavailable { why, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "Webex is unavailable", why.clone())
        }
        Refusal::WebexRefused(why) => (StatusCode::BAD_GATEWAY, "Webex rejected the request", why.clone()),
        Refusal::Crowded(why) => (StatusCode::TOO_MANY_REQUESTS, "Too many requests at once", (*why).into()),
        Refusal::StoreUnavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "The store is unavailable",
            "The store cannot be read or written at present; the log says why.".into(),
        ),
        Refusal::Broken => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "An error in webex-tokend",
            "The request could not be completed; the log says more.".into(),
        ),
    }
}

/// The problem code of the API.
fn code_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Unauthorized(_) => "unauthorized",
        Refusal::Forbidden(_) => "forbidden",
        Refusal::UnknownPerson => "unknown_person",
        Refusal::AmbiguousPerson(_) => "ambiguous_person",
        Refusal::NotFound(_) => "not_found",
        Refusal::MethodNotAllowed(_) => "method_not_allowed",
        Refusal::ConsentNeeded { .. } => "consent_needed",
        Refusal::BadRequest(_) | Refusal::NotJson | Refusal::Body(_) => "bad_request",
        Refusal::Taken(_) => "taken",
        Refusal::TooMany { .. } | Refusal::OverBudget { .. } | Refusal::Crowded(_) => "too_many_requests",
        Refusal::WebexUnavailable { .. } => "webex_unavailable",
        Refusal::WebexRefused(_) => "webex_refused",
        Refusal::StoreUnavailable => "store_unavailable",
        Refusal::Broken => "internal",
    }
}

/// The header that tells a program what to do.
fn header_of(refusal: &Refusal) -> Option<(HeaderName, HeaderValue)> {
    Some(match refusal {
        Refusal::Unauthorized(_) => (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        Refusal::MethodNotAllowed(allow) => (header::ALLOW, HeaderValue::from_str(allow).ok()?),
        Refusal::TooMany { retry_after }
        | Refusal::OverBudget { retry_after }
        | Refusal::WebexUnavailable { retry_after, .. } => (header::RETRY_AFTER, seconds(*retry_after)),
        Refusal::StoreUnavailable | Refusal::Crowded(_) => (header::RETRY_AFTER, seconds(STORE_RETRY)),
        Refusal::Body(_) => (header::CONNECTION, HeaderValue::from_static("close")),
        _ => return None,
    })
}

/// Whole seconds, rounded up, at least one.
fn seconds(span: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(span.as_millis().div_ceil(1000).max(1)).unwrap_or(u64::MAX))
}

/// The response to a prefetch of a URL that only a person's own visit may use. Browsers drop the prefetch
/// then.
pub(super) fn not_beforehand() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Prefetch requests are not served here.\n");
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("sec-purpose, purpose"));
    response
}

/// The response to `OPTIONS`: the allowed methods. Load balancers use it as a health check.
pub(super) fn options() -> Response<Body> {
    let mut response = nothing();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_status_and_retry_after_of_the_api() {
        for (why, status, hint) in
            [(Refusal::Broken, 500, None), (Refusal::StoreUnavailable, 503, Some(HeaderValue::from(5)))]
        {
            let page = refused_by(&why, |status| plain(status, "why"));
            assert_eq!(page.status().as_u16(), status);
            assert_eq!(page.headers().get(header::RETRY_AFTER), hint.as_ref());
            assert_eq!(refusal(&why).status(), page.status());
        }
    }
}
