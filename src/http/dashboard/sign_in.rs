//! Sign-in, with a key or by a one-time link, and sign-out.

use askama::Template;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::HeaderValue;

use crate::domain::api_key::Right;
use crate::domain::secret::Secret;
use crate::http::auth::api_key_auth::ApiKeyAuth;
use crate::http::auth::caller::Caller;
use crate::http::dashboard::assets::AssetUrls;
use crate::http::dashboard::context::Dashboard;
use crate::http::dashboard::login_links::Redeem;
use crate::http::dashboard::sessions::DashboardSession;
use crate::http::dashboard::sessions::NewSession;
use crate::http::pages::frame::PageFrame;
use crate::http::request::cookies::add_cookies;
use crate::http::request::query_string;
use crate::http::response;
use crate::http::response::api_error::ApiError;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::handler::Peer;

#[derive(Template)]
#[template(path = "dashboard/sign_in.html")]
struct SignInPage<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    /// A message above the form, with the CSS class that colours it.
    said: Option<(&'static str, &'a str)>,
}

#[derive(Template)]
#[template(path = "dashboard/open.html")]
struct OpenLinkPage<'a> {
    frame: &'a PageFrame,
    dress: &'a AssetUrls,
    link: &'a str,
    said: Option<&'a str>,
}

impl Dashboard {
    /// `GET /dashboard/sign-in`. URLs whose session has ended redirect here as well.
    pub(super) fn sign_in_form(&self, query: &str) -> Response<ResponseBody> {
        let ended = query_string::first(query, "ended").is_some();
        let said = "You are signed out. A session ends after an hour without a click, and its address opens only in \
                    the browser that signed in.";
        self.sign_in_page(StatusCode::OK, ended.then_some(("warn", said)))
    }

    fn sign_in_failed(&self, status: StatusCode, why: &str) -> Response<ResponseBody> {
        self.sign_in_page(status, Some(("bad", why)))
    }

    fn sign_in_page(&self, status: StatusCode, said: Option<(&'static str, &str)>) -> Response<ResponseBody> {
        let frame = &self.frame_at(&self.home);
        let page = SignInPage { frame, dress: &self.dress, said };
        response::for_operators(response::page(status, &page))
    }

    /// `POST /dashboard/sign-in`: checks a key once, and begins a session.
    pub(super) async fn sign_in(
        &self,
        request: Request<Incoming>,
        auth: &ApiKeyAuth,
        peer: Peer,
    ) -> Response<ResponseBody> {
        let form = match self.form(request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let key = Secret::new(form.text("key").to_owned());
        let record = match auth.admit_key(&key, peer.addr.ip()) {
            Ok(record) => record,
            Err(ApiError::TooMany { retry_after }) => {
                auth.log_failure(peer.addr.ip(), "too many invalid keys were sent");
                let said =
                    "Too many invalid keys were sent from your address. Wait a few seconds and try again.";
                let page = self.sign_in_failed(StatusCode::TOO_MANY_REQUESTS, said);
                return response::with_retry_after(page, retry_after);
            }
            Err(_) => {
                auth.log_failure(peer.addr.ip(), "the key is invalid, revoked or expired");
                let said = "The API key is invalid, revoked or expired.";
                return self.sign_in_failed(StatusCode::FORBIDDEN, said);
            }
        };
        if !record.rights.allow(Right::Admin) || record.persons.is_some() {
            auth.log_failure(peer.addr.ip(), "the key lacks the right admin for all persons");
            let said =
                "This key is valid, but the dashboard requires a key with the right admin for all people.";
            return self.sign_in_failed(StatusCode::FORBIDDEN, said);
        }
        log::info!("dashboard: signed in with key {:?}", record.name);
        self.start_session(Caller::Key(record))
    }

    /// `GET /dashboard/open?link=`. The link is not used up, so a browser may prefetch the page.
    pub(super) fn link_page(&self, query: &str) -> Response<ResponseBody> {
        let link = query_string::first(query, "link").unwrap_or_default();
        if self.sessions().links().contains(&link, self.sessions().now()) {
            self.open_page(StatusCode::OK, &link, None)
        } else {
            self.stale_link()
        }
    }

    fn open_page(&self, status: StatusCode, link: &str, said: Option<&str>) -> Response<ResponseBody> {
        let frame = &self.frame_at(&self.home);
        let page = OpenLinkPage { frame, dress: &self.dress, link, said };
        response::for_operators(response::page(status, &page))
    }

    /// `POST /dashboard/open`: redeems the link with its code.
    pub(super) async fn open_link(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let form = match self.form(request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let (link, now) = (form.text("link"), self.sessions().now());
        match self.sessions().links().redeem(link, &Secret::new(form.text("code").to_owned()), now) {
            Redeem::Right => {
                log::info!("dashboard: signed in by a link from the control socket");
                self.start_session(Caller::Control)
            }
            Redeem::Wrong => {
                log::warn!("dashboard: sign-in failed: wrong code for a link");
                self.open_page(
                    StatusCode::FORBIDDEN,
                    link,
                    Some("This is not the code that the terminal shows."),
                )
            }
            Redeem::Gone => self.stale_link(),
        }
    }

    fn stale_link(&self) -> Response<ResponseBody> {
        let text = "A link works once, for one minute and three attempts. `webex-tokend dashboard` creates a new one.";
        self.refused(&self.home, StatusCode::NOT_FOUND, ("This link is no longer valid", text))
    }

    /// Begins a new session for each sign-in.
    fn start_session(&self, caller: Caller) -> Response<ResponseBody> {
        match self.sessions().begin(caller) {
            Some(NewSession { home, cookie }) => {
                with_cookie(response::see_other(home.expose()), Some(cookie))
            }
            None => {
                log::error!("dashboard: cannot begin a session: the system gives no random bytes");
                let text = "This service has an internal problem. Its log has the reason.";
                self.refused(&self.home, StatusCode::INTERNAL_SERVER_ERROR, ("Sign-in failed", text))
            }
        }
    }

    /// `POST /dashboard/…/sign-out`: ends this session or, with `everywhere`, every session of the same key.
    pub(super) async fn sign_out(
        &self,
        session: &DashboardSession,
        request: Request<Incoming>,
    ) -> Response<ResponseBody> {
        let form = match self.form_of(session, request).await {
            Ok(form) => form,
            Err(refused) => return refused,
        };
        let cookie = if form.text("everywhere") == "yes" {
            let (ended, cookie) = self.sessions().end_all(session);
            log::info!("dashboard: {} signed out everywhere; sessions ended: {ended}", session.name());
            cookie
        } else {
            log::info!("dashboard: {} signed out", session.name());
            self.sessions().end(session)
        };
        with_cookie(response::see_other(&format!("{}/sign-in", self.home)), cookie)
    }
}

fn with_cookie(mut response: Response<ResponseBody>, cookie: Option<HeaderValue>) -> Response<ResponseBody> {
    add_cookies(&mut response, cookie);
    response
}
