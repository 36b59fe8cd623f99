//! Dispatches all paths of the server: the API, the dashboard, the pages and the token service endpoint.

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Incoming;
use url::Url;

use crate::domain::operator::Operator;
use crate::domain::token_service::TokenService;
use crate::health::Health;
use crate::health::NotReady;
use crate::http::api::context::Api;
use crate::http::api::context::ApiServices;
use crate::http::api::routes::PREFIX;
use crate::http::api::token_service;
use crate::http::api::token_service::TokenServiceEndpoint;
use crate::http::auth::api_key_auth::ApiKeyAuth;
use crate::http::auth::caller::Caller;
use crate::http::dashboard::assets;
use crate::http::dashboard::context::Dashboard;
use crate::http::pages::asset;
use crate::http::pages::context::ConsentPages;
use crate::http::pages::space_widget;
use crate::http::request::log_path::without_random_parts;
use crate::http::request::request_body;
use crate::http::response;
use crate::http::response::error_response;
use crate::http::response::response_body::ResponseBody;
use crate::http::server::handler::Peer;

/// The state that request handlers share.
pub struct Routes {
    pages: ConsentPages,
    health: Health,
    api: Api,
    auth: ApiKeyAuth,
    dashboard: Dashboard,
    token_service: Option<TokenServiceEndpoint>,
    /// The path before `/oauth` in the redirect URI. A proxy may keep it or strip it.
    prefix: String,
}

impl Routes {
    /// Creates the routes for consents that return to `redirect_uri`, and for API callers with keys.
    /// `is_local`: only this machine can connect.
    #[must_use]
    pub fn new(api: Api, redirect_uri: &Url, is_local: bool) -> Self {
        let ApiServices { health, keys, tasks, .. } = api.services();
        let prefix = redirect_uri.path().strip_suffix("/oauth").unwrap_or_default().to_owned();
        let pages = ConsentPages::new(api.services(), redirect_uri, &prefix, is_local);
        let (frame, is_plaintext_remote) = (pages.frame.clone(), pages.is_plaintext_remote);
        Self {
            dashboard: Dashboard::new(api.clone(), frame, &prefix, redirect_uri, is_plaintext_remote),
            pages,
            health: health.clone(),
            auth: ApiKeyAuth::new(keys.clone(), tasks.clone()),
            token_service: None,
            api,
            prefix,
        }
    }

    /// Adds the token service sample's endpoint, if it is configured.
    #[must_use]
    pub fn with_token_service(mut self, service: Option<TokenService>) -> Self {
        self.token_service = service.map(TokenServiceEndpoint::new);
        self
    }

    /// Adds the operator's name and contact to the pages.
    #[must_use]
    pub fn with_operator(mut self, operator: Operator) -> Self {
        self.dashboard = self.dashboard.run_by(operator.clone());
        self.pages = self.pages.run_by(operator);
        self
    }

    /// Handles one request; never fails. Rarely used handlers are boxed, so that the futures of API requests
    /// stay small.
    pub async fn handle(&self, mut request: Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
        let path = request.uri().path();
        let inner = self.path_below_prefix(path);
        if let Some(endpoint) = self.token_service.as_ref().filter(|_| token_service::handles_path(inner)) {
            let answer = Box::pin(endpoint.answer(&self.api, &request, peer)).await;
            Box::pin(request_body::discard_unauthenticated(request)).await;
            return answer;
        }
        if Dashboard::handles_path(inner) {
            let inner = inner.to_owned();
            return Box::pin(self.dashboard.answer(request, &inner, &self.auth, peer)).await;
        }
        if !is_api(inner) {
            let answer = Box::pin(self.page(&request, peer)).await;
            Box::pin(request_body::discard_unauthenticated(request)).await;
            return answer;
        }
        let caller = match self.auth.admit(request.headers(), peer.addr.ip()) {
            Ok(key) => Caller::Key(key),
            Err(why) => {
                Box::pin(request_body::discard_unauthenticated(request)).await;
                return error_response::api_error(&why);
            }
        };
        if inner != path {
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            if let Ok(uri) = format!("{inner}{query}").parse() {
                *request.uri_mut() = uri;
            }
        }
        self.api.handle_incoming(request, caller).await
    }

    /// The path without the prefix.
    fn path_below_prefix<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    async fn page(&self, request: &Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
        let head = request.method() == Method::HEAD;
        let response = if head || request.method() == Method::GET {
            self.get(request, peer).await
        } else if request.method() == Method::OPTIONS {
            response::options()
        } else {
            match space_widget::part_of(self.path_below_prefix(request.uri().path())) {
                Some(part) if request.method() == Method::POST => self.pages.leave(part, request.headers()),
                _ => response::method_not_allowed(),
            }
        };
        let path = without_random_parts(request.uri().path());
        log::debug!("{} {path} {}", request.method(), response.status().as_u16());
        if head { response::head_of(response) } else { response }
    }

    async fn get(&self, request: &Request<Incoming>, peer: Peer) -> Response<ResponseBody> {
        match self.path_below_prefix(request.uri().path()) {
            "/" => self.pages.home(),
            "/oauth" => self.pages.oauth(request, peer).await,
            "/healthz" => response::plain(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready().await,
            path => match (space_widget::part_of(path), asset::find(path).or_else(|| assets::find(path))) {
                (Some(part), _) => self.pages.space(part, request.headers()).await,
                (None, Some(asset)) => response::asset(asset),
                (None, None) => self.pages.not_found(),
            },
        }
    }

    async fn ready(&self) -> Response<ResponseBody> {
        match self.health.ready().await {
            Ok(()) => response::plain(StatusCode::OK, "ready\n"),
            Err(why) => {
                // The store has already logged the error.
                log::debug!("not ready: {why}");
                response::plain(StatusCode::SERVICE_UNAVAILABLE, not_ready(&why))
            }
        }
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
