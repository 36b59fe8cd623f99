//! The daemon's services behind a real port, with a manual clock and an operator's browser.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use reqwest::Method;
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::net::TcpListener;
use webex_tokend::api_keys::NewApiKey;
use webex_tokend::config::Config;
use webex_tokend::config::SettingsSource;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::domain::person::PersonId;
use webex_tokend::http::Authority;
use webex_tokend::http::api::Api;
use webex_tokend::http::api::ApiServices;
use webex_tokend::http::api::Caller;
use webex_tokend::http::router::Routes;
use webex_tokend::http::server::certificate::SelfSigned;
use webex_tokend::http::server::context::TlsContext;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::http::server::listener;
use webex_tokend::http::server::tls::Renewer;
use webex_tokend::services::Services;
use webex_tokend::store::Store;

use crate::support::http;
use crate::support::manual_clock::ManualClock;

pub(super) const HTTPS_REDIRECT_URI: &str = "https://tokens.example.com/webex/oauth";
pub(super) const HTTP_REDIRECT_URI: &str = "http://localhost:8000/oauth";

pub(super) struct DashboardServer {
    pub(super) services: ApiServices,
    pub(super) store: Arc<dyn Store>,
    pub(super) api: Api,
    pub(super) clock: Arc<ManualClock>,
    /// The origin of the port.
    pub(super) base: String,
}

impl Drop for DashboardServer {
    fn drop(&mut self) {
        self.services.tasks.stop();
    }
}

impl DashboardServer {
    /// With this redirect URI; the port speaks its scheme.
    pub(super) async fn new(redirect_uri: &str) -> Self {
        Self::with_settings(redirect_uri, &[("TOKEND_STORE_URL", "memory:")]).await
    }

    /// With these settings in addition.
    pub(super) async fn with_settings(redirect_uri: &str, settings: &[(&str, &str)]) -> Self {
        let mut source = SettingsSource::from([
            ("MY_APP_CLIENT_ID", "id"),
            ("MY_APP_SECRET_ID", "secret"),
            ("MY_APP_REDIRECT_URI", redirect_uri),
            ("WEBEX_API_BASE_URL", "http://127.0.0.1:9/v1"),
        ]);
        source.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::read(&source).unwrap();
        // Installs the crypto provider.
        drop(http());
        let Services { api: mut services, store } = Services::build(&config).await.unwrap();
        let clock = Arc::new(ManualClock::new(services.clock.now()));
        services.clock = clock.clone();
        let api = Api::new(services.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!(
            "{}://localhost:{}",
            config.http.redirect_uri.scheme(),
            listener.local_addr().unwrap().port()
        );
        let secure = config.http.secure.then(|| {
            let made = SelfSigned::make(&["localhost".to_owned()], services.clock.now().seconds()).unwrap();
            let authority = Authority::parse("localhost:8000").unwrap();
            TlsContext { feed: Renewer::open(made).unwrap().1, authority }
        });
        let door = Routes::new(api.clone(), &config.http.redirect_uri, config.http.is_local());
        let door = Arc::new(door.with_operator(config.http.operator.clone()));
        let service = move |request, peer| {
            let door = door.clone();
            async move { door.handle(request, peer).await }
        };
        let limits = Arc::new(Limits::default());
        let serving = listener::serve(listener, secure, limits, service, services.tasks.clone());
        services.tasks.spawn("http", serving);
        Self { services, store, api, clock, base }
    }

    pub(super) async fn new_https() -> Self {
        Self::new(HTTPS_REDIRECT_URI).await
    }

    /// Creates a key as operators do.
    pub(super) async fn create_key(&self, can: &str, life: Option<Duration>) -> String {
        self.create_named_key(can, can, None, life).await
    }

    pub(super) async fn create_named_key(
        &self,
        name: &str,
        can: &str,
        persons: Option<Vec<PersonId>>,
        life: Option<Duration>,
    ) -> String {
        let new = NewApiKey { name: name.to_owned(), rights: Rights::parse(can).unwrap(), persons, life };
        self.services.keys.create(new).await.unwrap().expose().to_owned()
    }

    pub(super) fn browser(&self) -> OperatorBrowser {
        OperatorBrowser { http: http(), base: self.base.clone(), cookie: None, part: None }
    }

    /// A browser that is signed in with a key of this name.
    pub(super) async fn sign_in_operator(&self, name: &str) -> OperatorBrowser {
        let key = self.create_named_key(name, "admin", None, None).await;
        let mut browser = self.browser();
        let answer = browser.sign_in(&key).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        browser
    }

    /// Creates a sign-in link as the control socket does.
    pub(super) async fn link(&self) -> (u16, Value) {
        let request = hyper::Request::post("/api/v1/dashboard-links").body(Bytes::new()).unwrap();
        let response = self.api.handle(request, Caller::Control).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }
}

/// A browser with at most one of the daemon's cookies; it follows no redirect. Dashboard paths are relative to its
/// session: `/dashboard/person` means `/dashboard/RANDOM/person` after it has signed in.
pub(super) struct OperatorBrowser {
    http: reqwest::Client,
    pub(super) base: String,
    pub(super) cookie: Option<String>,
    /// The random part of its session's paths.
    pub(super) part: Option<String>,
}

/// A response.
#[derive(Debug)]
pub(super) struct DashboardResponse {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl DashboardResponse {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The hidden token of the page's forms.
    pub(super) fn csrf(&self) -> String {
        let (_, rest) =
            self.text.split_once("name=\"csrf\" value=\"").expect("the page has no form of a session");
        rest.split('"').next().unwrap().to_owned()
    }
}

impl OperatorBrowser {
    /// The path of its session for `path`.
    pub(super) fn path(&self, path: &str) -> String {
        let rest =
            path.strip_prefix("/dashboard").filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let (Some(rest), Some(part)) = (rest, &self.part) else { return path.to_owned() };
        let is_outside =
            ["/sign-in", "/open", &format!("/{part}")].iter().any(|known| rest.starts_with(known));
        if is_outside { path.to_owned() } else { format!("/dashboard/{part}{rest}") }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{}", self.base, self.path(path)));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// A form as a page of the dashboard sends it.
    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let request = self.request(Method::POST, path).form(fields);
        request.header("origin", &self.base).header("sec-fetch-site", "same-origin")
    }

    /// Sends the request and stores the cookie of the response.
    pub(super) async fn send(&mut self, request: RequestBuilder) -> DashboardResponse {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = DashboardResponse { status, headers, text: response.text().await.unwrap() };
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            let pair = line.split(';').next().unwrap();
            self.cookie = (!line.contains("Max-Age=0")).then(|| pair.to_owned());
            let (_, path) = line.split_once("; Path=").unwrap();
            let (_, part) = path.split(';').next().unwrap().rsplit_once("/dashboard/").unwrap();
            assert_eq!(part.len(), 43, "256 bits in base64url");
            self.part = Some(part.to_owned());
        }
        answer
    }

    pub(super) async fn get(&mut self, path: &str) -> DashboardResponse {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> DashboardResponse {
        let request = self.form(path, fields);
        self.send(request).await
    }

    pub(super) async fn sign_in(&mut self, key: &str) -> DashboardResponse {
        self.post("/dashboard/sign-in", &[("key", key)]).await
    }

    /// Whether the dashboard accepts its session.
    pub(super) async fn is_signed_in(&mut self) -> bool {
        match self.get("/dashboard").await.status {
            200 => true,
            303 => false,
            other => panic!("the dashboard answers {other}"),
        }
    }
}
