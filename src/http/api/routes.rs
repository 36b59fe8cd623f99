//! The routes of the API, and what each of them requires.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;

use crate::domain::api_key::Right;
use crate::http::api::api_keys;
use crate::http::api::context::Api;
use crate::http::api::dashboard_links;
use crate::http::api::doctor;
use crate::http::api::events;
use crate::http::api::logins;
use crate::http::api::notices;
use crate::http::api::people;
use crate::http::api::plan;
use crate::http::api::removals;
use crate::http::api::request::ApiRequest;
use crate::http::api::status;
use crate::http::auth::caller::Caller;
use crate::http::request::request_body;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::error_response;
use crate::http::response::response_body::ResponseBody;

/// The prefix of every path of the API.
pub const PREFIX: &str = "/api/v1";

/// The description of the API (OpenAPI 3.1). A test compares it with the routes and the types.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Maximum size of a body. The largest legitimate one creates a key for a few hundred persons.
const BODY_BYTES: usize = 64 * 1024;

/// Maximum time for a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

type RouteFuture<'a> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, ApiError>> + Send + 'a>>;

/// What a route requires of its caller.
enum Access {
    /// Any valid key.
    Nothing,
    /// This right. If the path names a person, for that person; otherwise for the persons to which the key is
    /// limited.
    Right(Right),
    /// The right `admin`, and a key that is not limited to some persons.
    AllPersons,
    /// The control socket.
    ControlSocket,
}

struct Route {
    method: Method,
    /// `{…}` matches one segment, which the handler finds in [`ApiRequest::named`].
    path: &'static str,
    needs: Access,
    handler: for<'a> fn(&'a Api, &'a ApiRequest) -> RouteFuture<'a>,
}

const READ: Access = Access::Right(Right::Read);
const REFRESH: Access = Access::Right(Right::Refresh);
const NOTHING: Access = Access::Nothing;
const ALL_PERSONS: Access = Access::AllPersons;
const SOCKET: Access = Access::ControlSocket;
const ADMIN: Access = Access::Right(Right::Admin);

#[rustfmt::skip]
static ROUTES: [Route; 24] = [
    route(Method::GET,    "/people",                  READ,       |api, ask| Box::pin(people::list(api, ask))),
    route(Method::GET,    "/people/{person}",         READ,       |api, ask| Box::pin(people::show(api, ask))),
    route(Method::DELETE, "/people/{person}",         ADMIN,      |api, ask| Box::pin(people::forget(api, ask))),
    route(Method::POST,   "/people/forget",           ALL_PERSONS,      |api, ask| Box::pin(removals::forget_all(api, ask))),
    route(Method::GET,    "/people/{person}/token",   READ,       |api, ask| Box::pin(people::token(api, ask))),
    route(Method::POST,   "/people/{person}/refresh", REFRESH,    |api, ask| Box::pin(people::refresh(api, ask))),
    route(Method::GET,    "/people/{person}/why",     READ,       |api, ask| Box::pin(plan::why(api, ask))),
    route(Method::GET,    "/plan",                    READ,       |api, ask| Box::pin(plan::plan(api, ask))),
    route(Method::GET,    "/events",                  READ,       |api, ask| Box::pin(events::stream(api, ask))),
    route(Method::GET,    "/status",                  READ,       |api, ask| Box::pin(status::status(api, ask))),
    route(Method::POST,   "/logins",                  ALL_PERSONS,      |api, ask| Box::pin(logins::begin(api, ask))),
    route(Method::GET,    "/logins/{id}",             ALL_PERSONS,      |api, ask| Box::pin(logins::status(api, ask))),
    route(Method::POST,   "/import",                  ALL_PERSONS,      |api, ask| Box::pin(logins::import(api, ask))),
    route(Method::GET,    "/keys",                    ALL_PERSONS,      |api, ask| Box::pin(api_keys::list(api, ask))),
    route(Method::POST,   "/keys",                    ALL_PERSONS,      |api, ask| Box::pin(api_keys::create(api, ask))),
    route(Method::DELETE, "/keys/{name}",             ALL_PERSONS,      |api, ask| Box::pin(api_keys::revoke(api, ask))),
    route(Method::POST,   "/dashboard-links",         SOCKET,     |api, ask| Box::pin(dashboard_links::make(api, ask))),
    route(Method::GET,    "/doctor",                  SOCKET,     |api, ask| Box::pin(doctor::doctor(api, ask))),
    route(Method::GET,    "/people/{person}/history", READ,       |api, ask| Box::pin(notices::history_of_person(api, ask))),
    route(Method::GET,    "/history",                 READ,       |api, ask| Box::pin(notices::history_of_all(api, ask))),
    route(Method::GET,    "/notices",                 READ,       |api, ask| Box::pin(notices::list(api, ask))),
    route(Method::POST,   "/notices/test",            ALL_PERSONS,      |api, ask| Box::pin(notices::test(api, ask))),
    route(Method::POST,   "/notices/{id}/resend",     ALL_PERSONS,      |api, ask| Box::pin(notices::resend(api, ask))),
    route(Method::GET,    "/openapi.json",            NOTHING,    |_, ask| Box::pin(describe(ask))),
];

const fn route(
    method: Method,
    path: &'static str,
    needs: Access,
    handler: for<'a> fn(&'a Api, &'a ApiRequest) -> RouteFuture<'a>,
) -> Route {
    Route { method, path, needs, handler }
}

/// Method and path of every route.
pub fn surface() -> impl Iterator<Item = (&'static Method, &'static str)> {
    ROUTES.iter().map(|route| (&route.method, route.path))
}

impl Api {
    /// Handles one request to `/api/v1/…`; never fails.
    pub async fn handle(&self, request: Request<Bytes>, caller: Caller) -> Response<ResponseBody> {
        let head = request.method() == Method::HEAD;
        log::debug!("{} {}", request.method(), loggable_path(request.uri().path()));
        let answered = dispatch(self, request, caller).await;
        let response = answered.unwrap_or_else(|why| error_response::api_error(&why));
        if head { response::head_of(response) } else { response }
    }

    /// Reads the body within its limits, then handles the request.
    pub async fn handle_incoming(
        &self,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Response<ResponseBody> {
        let (head, incoming) = request.into_parts();
        match request_body::read(incoming, BODY_BYTES, BODY_TIME).await {
            Ok(body) => self.handle(Request::from_parts(head, body), caller).await,
            Err(why) => error_response::api_error(&ApiError::Body(why)),
        }
    }
}

async fn dispatch(
    api: &Api,
    request: Request<Bytes>,
    caller: Caller,
) -> Result<Response<ResponseBody>, ApiError> {
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    // HEAD is GET without a body.
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let here = routes_at(path);
    let Some((route, named)) = here.iter().find(|(route, _)| route.method == *method).copied() else {
        return Err(not_found_or_method(&here));
    };
    match route.needs {
        Access::Nothing => {}
        Access::Right(right) => caller.may(right)?,
        Access::AllPersons => {
            caller.may(Right::Admin)?;
            caller.require_unrestricted()?;
        }
        Access::ControlSocket => caller.is_control()?,
    }
    let ask = ApiRequest::new(named, &request, caller)?;
    (route.handler)(api, &ask).await
}

/// The routes of a path, each with the segment that `{…}` matches. A path that is listed itself has only its own routes:
/// `/people/forget` names no person.
fn routes_at(path: &str) -> Vec<(&'static Route, &str)> {
    let here = ROUTES.iter().filter_map(|route| Some((route, matched(route.path, path)?)));
    let (listed, named): (Vec<_>, Vec<_>) = here.partition(|(route, _)| route.path == path);
    if listed.is_empty() { named } else { listed }
}

/// The error for a request without a route: the path is unknown, or it does not support the method.
fn not_found_or_method(here: &[(&Route, &str)]) -> ApiError {
    let mut methods: Vec<&str> = here.iter().map(|(route, _)| route.method.as_str()).collect();
    if methods.is_empty() {
        return ApiError::NotFound("There is no such path; /api/v1/openapi.json lists all paths.".to_owned());
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    ApiError::MethodNotAllowed(methods.join(", "))
}

/// The segment that `{…}` in `pattern` matches, still encoded; empty if the pattern has none. `None` if the
/// path does not match.
fn matched<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let (mut wanted, mut found) = (pattern.split('/'), path.split('/'));
    let mut named = "";
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(named),
            (Some(want), Some(have)) if want.starts_with('{') && !have.is_empty() => named = have,
            (Some(want), Some(have)) if want == have => {}
            _ => return None,
        }
    }
}

async fn describe(ask: &ApiRequest) -> Result<Response<ResponseBody>, ApiError> {
    ask.query([])?;
    Ok(response::json_text(OPENAPI))
}

/// The path as it may be logged. The id of a login is cut off, because a client that knows it may consent
/// into the login.
fn loggable_path(path: &str) -> &str {
    path.find("/logins/").and_then(|at| path.get(..at + "/logins/".len())).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_only_a_complete_path() {
        assert_eq!(matched("/people", "/people"), Some(""));
        assert_eq!(matched("/people/{person}", "/people/a%2Fb"), Some("a%2Fb"));
        assert_eq!(matched("/people/{person}/why", "/people/x/why"), Some("x"));
        for (pattern, path) in [
            ("/people", "/people/"),
            ("/people/{person}", "/people/"),
            ("/people/{person}", "/people"),
            ("/people/{person}", "/people/a/b"),
            ("/people", "people"),
            ("/people", ""),
            ("/people", "/People"),
        ] {
            assert_eq!(matched(pattern, path), None, "{pattern} {path}");
        }
    }
}
