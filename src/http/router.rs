//! Dispatches all paths of the server: the API, the dashboard, the pages and the token service endpoint.

use std::sync::Arc;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use url::Url;

use crate::consent::Consents;
use crate::domain::operator::Operator;
use crate::domain::token_service::TokenService;
use crate::health::Health;
use crate::health::NotReady;
use crate::http::api::Api;
use crate::http::api::Caller;
use crate::http::api::PREFIX;
use crate::http::api::Parts;
use crate::http::auth::Auth;
use crate::http::body;
use crate::http::cookies::Cookies;
use crate::http::dashboard;
use crate::http::dashboard::Dashboard;
use crate::http::log_path::without_random_parts;
use crate::http::oauth::ConsentLog;
use crate::http::pages;
use crate::http::pages::Frame;
use crate::http::pages::Home;
use crate::http::pages::problem;
use crate::http::respond;
use crate::http::serve::Body;
use crate::http::serve::Peer;
use crate::http::space;
use crate::http::token_service;
use crate::http::token_service::Desk;
use crate::refresh::Refresher;
use crate::tasks::Tasks;

/// The state that request handlers share.
pub struct Door {
    pub(super) consents: Arc<Consents>,
    pub(super) tasks: Tasks,
    pub(super) cookies: Cookies,
    pub(super) frame: Frame,
    /// Whether the service is reached over plain HTTP beyond this machine, where others can read the traffic.
    pub(super) is_overheard: bool,
    pub(super) consent_log: Arc<ConsentLog>,
    health: Health,
    api: Api,
    auth: Auth,
    dashboard: Dashboard,
    desk: Option<Desk>,
    /// The path before `/oauth` in the redirect URI. A proxy may keep it or strip it.
    prefix: String,
}

impl Door {
    /// Creates the routes for consents that return to `redirect_uri`, and for API callers with keys.
    /// `is_local`: only this machine can connect.
    #[must_use]
    pub fn new(api: Api, redirect_uri: &Url, is_local: bool) -> Self {
        let Parts { consents, health, keys, tasks, .. } = api.parts();
        let prefix = redirect_uri.path().strip_suffix("/oauth").unwrap_or_default().to_owned();
        let frame = Frame::new(&prefix, redirect_uri.path(), consents.space_id().is_some())
            .with_accesses(consents.revoke_at());
        let cookies = Cookies { secure: redirect_uri.scheme() == "https" };
        let is_overheard = !cookies.secure && !is_local;
        Self {
            dashboard: Dashboard::new(api.clone(), frame.clone(), &prefix, redirect_uri, is_overheard),
            consents: consents.clone(),
            tasks: tasks.clone(),
            cookies,
            frame,
            is_overheard,
            consent_log: Arc::default(),
            health: health.clone(),
            auth: Auth::new(keys.clone(), tasks.clone()),
            desk: None,
            api,
            prefix,
        }
    }

    /// Adds the token service sample's endpoint, if it is configured.
    #[must_use]
    pub fn with_token_service(mut self, service: Option<TokenService>) -> Self {
        self.desk = service.map(Desk::new);
        self
    }

    /// Adds the operator's name and contact to the pages.
    #[must_use]
    pub fn run_by(mut self, operator: Operator) -> Self {
        self.dashboard = self.dashboard.run_by(operator.clone());
        self.frame = self.frame.run_by(operator);
        self
    }

    /// Handles one request; never fails. Rarely used handlers are boxed, so that the futures of API requests
    /// stay small.
    pub async fn answer(&self, mut request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let path = request.uri().path();
        let inner = self.inner(path);
        if let Some(desk) = self.desk.as_ref().filter(|_| token_service::is_here(inner)) {
            let answer = Box::pin(desk.answer(&self.api, &request, peer)).await;
            Box::pin(body::discard_of_stranger(request)).await;
            return answer;
        }
        if Dashboard::is_here(inner) {
            let inner = inner.to_owned();
            return Box::pin(self.dashboard.answer(request, &inner, &self.auth, peer)).await;
        }
        if !is_api(inner) {
            let answer = Box::pin(self.page(&request, peer)).await;
            Box::pin(body::discard_of_stranger(request)).await;
            return answer;
        }
        let caller = match self.auth.admit(request.headers(), peer.addr.ip()) {
            Ok(key) => Caller::Key(key),
            Err(why) => {
                Box::pin(body::discard_of_stranger(request)).await;
                return respond::refusal(&why);
            }
        };
        if inner != path {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            if let Ok(uri) = format!("{inner}{query}").parse() {
                *request.uri_mut() = uri;
            }
        }
        self.api.answer_incoming(request, caller).await
    }

    /// The path without the prefix.
    fn inner<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    async fn page(&self, request: &Request<Incoming>, peer: Peer) -> Response<Body> {
        let head = request.method() == Method::HEAD;
        let response = if head || request.method() == Method::GET {
            self.get(request, peer).await
        } else if request.method() == Method::OPTIONS {
            respond::options()
        } else {
            match space::part_of(self.inner(request.uri().path())) {
                Some(part) if request.method() == Method::POST => self.leave(part, request.headers()),
                _ => respond::not_allowed(),
            }
        };
        let path = without_random_parts(request.uri().path());
        log::debug!("{} {path} {}", request.method(), response.status().as_u16());
        if head { respond::head_of(response) } else { response }
    }

    async fn get(&self, request: &Request<Incoming>, peer: Peer) -> Response<Body> {
        match self.inner(request.uri().path()) {
            "/" => self.home(),
            "/oauth" => self.oauth(request, peer).await,
            "/healthz" => respond::plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready().await,
            path => match (space::part_of(path), pages::asset(path).or_else(|| dashboard::asset(path))) {
                (Some(part), _) => self.space(part, request.headers()).await,
                (None, Some(asset)) => respond::asset(asset),
                (None, None) => self.not_found(),
            },
        }
    }

    fn home(&self) -> Response<Body> {
        respond::page(
            StatusCode::OK,
            &Home {
                frame: &self.frame,
                scopes: pages::scopes(self.consents.scopes()),
                is_overheard: self.is_overheard,
            },
        )
    }

    async fn ready(&self) -> Response<Body> {
        match self.health.ready().await {
            Ok(()) => respond::plain(StatusCode::OK, "ready\n"),
            Err(why) => {
                // The store has already logged the error.
                log::debug!("not ready: {why}");
                respond::plain(StatusCode::SERVICE_UNAVAILABLE, not_ready(&why))
            }
        }
    }

    pub(super) fn refresher(&self) -> &Arc<Refresher> {
        &self.api.parts().refresher
    }

    pub(super) fn not_found(&self) -> Response<Body> {
        respond::problem(&self.frame, StatusCode::NOT_FOUND, &problem::NOT_FOUND)
    }
}

fn not_ready(why: &NotReady) -> &'static str {
    match why {
        NotReady::Unreadable(_) => "not ready: the store cannot be read\n",
        NotReady::Unwritable(_) => "not ready: the store cannot be written\n",
        NotReady::Unkept => "not ready: the results of refreshes cannot be stored\n",
    }
}

fn is_api(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
