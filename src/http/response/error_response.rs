//! The API's responses to errors: the only mapping from the API's errors to statuses.

use std::time::Duration;

use hyper::Response;
use hyper::StatusCode;
use hyper::header;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;

use crate::api_types;
use crate::domain::person::PersonId;
use crate::http::request::request_body::BodyError;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;

const PROBLEM: &str = "application/problem+json";

/// `Retry-After` if the store fails or a concurrency limit is reached.
pub(in crate::http) const STORE_RETRY: Duration = Duration::from_secs(5);

/// The API's response to an error, as problem details (RFC 9457).
pub(in crate::http) fn api_error(refusal: &ApiError) -> Response<ResponseBody> {
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
    error_page(refusal, |status| response::typed(status, PROBLEM, &problem))
}

/// The same for browsers: `page` builds the response for the error's status. The header that tells browsers
/// what to do is added.
pub(in crate::http) fn error_page(
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
        ApiError::UnknownPerson(named) => (
            StatusCode::NOT_FOUND,
            "No such person",
            format!(
                "No person with this id or address has consented: {named}. `webex-tokend people` lists those who have, and \
                 `webex-tokend login` gets a consent."
            ),
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
        ApiError::UnknownPerson(_) => "unknown_person",
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
        | ApiError::WebexUnavailable { retry_after, .. } => {
            (header::RETRY_AFTER, response::seconds(*retry_after))
        }
        ApiError::StoreUnavailable | ApiError::Crowded(_) => {
            (header::RETRY_AFTER, response::seconds(STORE_RETRY))
        }
        ApiError::Body(_) => (header::CONNECTION, HeaderValue::from_static("close")),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_status_and_retry_after_of_the_api() {
        for (why, status, hint) in
            [(ApiError::Broken, 500, None), (ApiError::StoreUnavailable, 503, Some(HeaderValue::from(5)))]
        {
            let page = error_page(&why, |status| response::plain(status, "why"));
            assert_eq!(page.status().as_u16(), status);
            assert_eq!(page.headers().get(header::RETRY_AFTER), hint.as_ref());
            assert_eq!(api_error(&why).status(), page.status());
        }
    }
}
