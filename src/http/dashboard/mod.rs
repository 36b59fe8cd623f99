//! The operators' dashboard: access control and routing. It works without script.
//!
//! Every change is a form ([`form`]) that a page of a session ([`crate::http::dashboard::sessions`]) sends. The pages of
//! a session are below a random part of the path, which is never logged. No URL contains a key or a code.

mod assets;
mod form;
mod invitation;
pub(in crate::http) mod login_links;
mod notices;
mod overview;
mod pages;
mod people;
mod person;
mod query;
mod row;
pub(in crate::http) mod sessions;
mod sign_in;

use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use url::Url;

use crate::domain::operator::Operator;
use crate::http::api::context::Api;
use crate::http::api::events::Subscriber;
use crate::http::api::request::last_event;
use crate::http::auth::ApiKeyAuth;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::form::AllowedOrigin;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::dashboard::sessions::DashboardSessions;
use crate::http::error_response;
use crate::http::log_path::without_random_parts;
use crate::http::pages::ErrorPage;
use crate::http::pages::PageFrame;
use crate::http::pages::error;
use crate::http::pages::error::Action;
use crate::http::pages::error::Severity;
use crate::http::query_string;
use crate::http::request_body;
use crate::http::response;
use crate::http::response_body::ResponseBody;
use crate::http::server::handler::Peer;

pub(super) use crate::http::dashboard::assets::asset;

/// The prefix of every path of the dashboard.
const HOME: &str = "/dashboard";

/// The dashboard.
pub(super) struct Dashboard {
    api: Api,
    frame: PageFrame,
    /// Its path as browsers see it (behind a proxy, with the prefix), above the paths of all sessions.
    home: String,
    origin: AllowedOrigin,
    /// Whether it is reached over plain HTTP beyond this machine. Others could read the traffic then, so
    /// sign-in is disabled.
    is_plaintext_remote: bool,
    dress: AssetUrls,
}

impl Dashboard {
    /// Creates a dashboard beside `redirect_uri`, below `prefix`. `is_plaintext_remote` disables sign-in.
    pub(super) fn new(
        api: Api,
        frame: PageFrame,
        prefix: &str,
        redirect_uri: &Url,
        is_plaintext_remote: bool,
    ) -> Self {
        let home = api.sessions().home().to_owned();
        Self {
            api,
            frame,
            home,
            origin: AllowedOrigin::new(redirect_uri),
            is_plaintext_remote,
            dress: AssetUrls::below(prefix),
        }
    }

    /// Adds the operator's name to the invitations.
    pub(super) fn run_by(mut self, operator: Operator) -> Self {
        self.frame = self.frame.run_by(operator);
        self
    }

    /// Whether `path` (without the prefix) belongs to the dashboard.
    pub(super) fn handles_path(path: &str) -> bool {
        path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Handles a request to `path` (without the prefix); never fails.
    pub(super) async fn answer(
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
                request_body::discard_of_stranger(request).await;
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
                request_body::discard_of_stranger(request).await;
                response::method_not_allowed_with("GET, HEAD, POST")
            }
            (Some(method), room) => {
                let (part, room) = split_session_part(room);
                let Some(session) = self.session(method, request.headers(), part, room) else {
                    request_body::discard_of_stranger(request).await;
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

    fn sessions(&self) -> &DashboardSessions {
        self.api.sessions()
    }

    /// The frame of a page whose logo links to `home`: a session's first page, or the sign-in page.
    fn frame_at(&self, home: &str) -> PageFrame {
        PageFrame { home: home.to_owned(), ..self.frame.clone() }
    }

    /// An error page that links to `home`.
    fn refused(
        &self,
        home: &str,
        status: StatusCode,
        (heading, text): (&'static str, &'static str),
    ) -> Response<ResponseBody> {
        let (severity, action) = (Severity::Warn, Action::Dashboard);
        let problem =
            ErrorPage { severity, heading, text, next: None, tracking_id: None, accesses: None, action };
        response::for_operators(response::problem(&self.frame_at(home), status, &problem))
    }

    fn refuse_plaintext(&self) -> Response<ResponseBody> {
        let page = response::problem(&self.frame, StatusCode::FORBIDDEN, &error::DASHBOARD_OVERHEARD);
        response::for_operators(page)
    }

    fn not_found(&self, session: &DashboardSession) -> Response<ResponseBody> {
        let said = ("Page not found", "The dashboard has no page at this address.");
        self.refused(session.home.expose(), StatusCode::NOT_FOUND, said)
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
