//! The paths of the dashboard, and which of them require a session.

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;

use crate::http::api::events::Subscriber;
use crate::http::api::request::last_event;
use crate::http::auth::api_key_auth::ApiKeyAuth;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::pages;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::request::log_path::without_random_parts;
use crate::http::request::query_string;
use crate::http::request::request_body;
use crate::http::response;
use crate::http::response::error_response;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::handler::Peer;

/// The prefix of every path of the dashboard.
const HOME: &str = "/dashboard";

impl Dashboard {
    /// Whether `path` (without the prefix) belongs to the dashboard.
    pub(in crate::http) fn handles_path(path: &str) -> bool {
        path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Handles a request to `path` (without the prefix); never fails.
    pub(in crate::http) async fn answer(
        &self,
        request: Request<Incoming>,
        path: &str,
        auth: &ApiKeyAuth,
        peer: Peer,
    ) -> Response<ResponseBody> {
        let (method, head) = (request.method().clone(), request.method() == Method::HEAD);
        let room = path.strip_prefix(HOME).unwrap_or_default();
        let response = self.handle_path(request, room, auth, peer).await;
        // The query is not logged, because it may contain anything.
        log::debug!("{method} {} {}", without_random_parts(path), response.status().as_u16());
        if head { response::head_of(response) } else { response }
    }

    /// Dispatches all paths of the dashboard. Pages that require a session are in [`pages`].
    async fn handle_path(
        &self,
        request: Request<Incoming>,
        room: &str,
        auth: &ApiKeyAuth,
        peer: Peer,
    ) -> Response<ResponseBody> {
        let method = method_of(request.method());
        match (method, room) {
            (Some(_), "/sign-in" | "/open") if self.is_plaintext_remote => {
                request_body::discard_unauthenticated(request).await;
                self.refuse_plaintext()
            }
            (Some(DashboardMethod::Look), "/sign-in") => {
                self.sign_in_form(request.uri().query().unwrap_or_default())
            }
            (Some(DashboardMethod::Send), "/sign-in") => self.sign_in(request, auth, peer).await,
            (Some(DashboardMethod::Look), "/open") => {
                self.link_page(request.uri().query().unwrap_or_default())
            }
            (Some(DashboardMethod::Send), "/open") => self.open_link(request).await,
            (None, _) => {
                request_body::discard_unauthenticated(request).await;
                response::method_not_allowed_with("GET, HEAD, POST")
            }
            (Some(method), room) => {
                let (part, room) = split_session_part(room);
                let Some(session) = self.session(method, request.headers(), part, room) else {
                    request_body::discard_unauthenticated(request).await;
                    return self.no_session(part, room);
                };
                match (method, room) {
                    (DashboardMethod::Look, "/events") => self.events(session, &request),
                    (DashboardMethod::Send, "/sign-out") => self.sign_out(&session, request).await,
                    (DashboardMethod::Look, "/sign-out") => response::method_not_allowed_with("POST"),
                    (DashboardMethod::Look, room) => pages::get(self, &session, room, &request).await,
                    (DashboardMethod::Send, room) => pages::post(self, &session, room, request).await,
                }
            }
        }
    }

    /// The session of a request. Requests that a page sends by itself do not count as use; otherwise a
    /// session would never end while its page is open and follows the events. Browsers state what a request
    /// is for. A request without this header counts as a click.
    fn session(
        &self,
        method: DashboardMethod,
        headers: &HeaderMap,
        part: &str,
        room: &str,
    ) -> Option<DashboardSession> {
        let is_click = headers.get("sec-fetch-dest").is_none_or(|what| what == "document");
        match method {
            DashboardMethod::Look if !is_click || room == "/events" => self.sessions().peek(headers, part),
            DashboardMethod::Look | DashboardMethod::Send => self.sessions().authenticate(headers, part),
        }
    }

    /// Redirects to the sign-in page. If the URL contained the part of a session, that page says that the
    /// session has ended.
    fn no_session(&self, part: &str, room: &str) -> Response<ResponseBody> {
        if room == "/events" {
            return response::plain(StatusCode::FORBIDDEN, "Sign in first.\n");
        }
        let query = if part.is_empty() { "" } else { "?ended" };
        response::see_other(&format!("{}/sign-in{query}", self.home))
    }

    /// The API's event stream for a session. A page may state in `since` how current its data is. A browser
    /// that reconnects sends `Last-Event-ID` instead.
    fn events(&self, session: DashboardSession, request: &Request<Incoming>) -> Response<ResponseBody> {
        let query = request.uri().query().unwrap_or_default();
        let since = last_event(request.headers()).or_else(|| query_string::first(query, "since"));
        let stream = self.api.events(Subscriber::Session(session), since.as_deref());
        stream.unwrap_or_else(|why| error_response::api_error(&why))
    }
}

/// The session's part of the path after `/dashboard`, and the rest.
fn split_session_part(room: &str) -> (&str, &str) {
    let room = room.strip_prefix('/').unwrap_or(room);
    room.find('/').map_or((room, ""), |at| room.split_at(at))
}

/// What a request does.
#[derive(Clone, Copy)]
enum DashboardMethod {
    /// GET or HEAD: changes nothing.
    Look,
    /// POST.
    Send,
}

fn method_of(method: &Method) -> Option<DashboardMethod> {
    match *method {
        Method::GET | Method::HEAD => Some(DashboardMethod::Look),
        Method::POST => Some(DashboardMethod::Send),
        _ => None,
    }
}
