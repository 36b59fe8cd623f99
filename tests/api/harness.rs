//! The daemon's services behind real sockets, a simulated Webex, and clients of both.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Once;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use reqwest::Method;
use reqwest::Response;
use rustls::crypto::aws_lc_rs::default_provider;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::config::Config;
use webex_tokend::config::SettingsSource;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Tokens;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::TokenSet;
use webex_tokend::events::Events;
use webex_tokend::http::Authority;
use webex_tokend::http::api::Api;
use webex_tokend::http::api::ApiServices;
use webex_tokend::http::api::Caller;
use webex_tokend::http::router::Routes;
use webex_tokend::http::server::certificate::SelfSigned;
use webex_tokend::http::server::context::TlsContext;
use webex_tokend::http::server::control_socket::ControlSocket;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::http::server::listener;
use webex_tokend::http::server::tls::Renewer;
use webex_tokend::services::Services;
use webex_tokend::store::Store;
use webex_tokend::tasks::Tasks;

use crate::support::time::DAY;
use crate::support::time::REQUEST_TIMEOUT;

pub(super) struct ApiServer {
    pub(super) sim: Sim,
    pub(super) services: ApiServices,
    pub(super) store: Arc<dyn Store>,
    pub(super) config: Config,
    pub(super) api: Api,
    pub(super) socket: PathBuf,
    base: String,
    pem: String,
    _dir: TempDir,
}

/// How a request reaches the API.
#[derive(Clone, Copy, Debug)]
pub(super) enum AccessPath<'a> {
    Control,
    Key(&'a str),
    NoKey,
}

/// A response.
#[derive(Debug)]
pub(super) struct JsonResponse {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl JsonResponse {
    pub(super) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.unwrap() }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem's code. Checks the form of the problem as well.
    pub(super) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.services.tasks.stop();
    }
}

impl ApiServer {
    pub(super) async fn new() -> Self {
        Self::with_sim_settings(Settings::default()).await
    }

    /// Refreshes of one person may follow one another at once.
    pub(super) async fn without_refresh_floor() -> Self {
        Self::with_settings(Settings::default(), &[("EVENT_LOOP_FLOOR_SECONDS", "0")]).await
    }

    pub(super) async fn with_sim_settings(settings: Settings) -> Self {
        Self::with_settings(settings, &[]).await
    }

    /// With these settings in addition to the usual ones.
    pub(super) async fn with_settings(settings: Settings, variables: &[(&str, &str)]) -> Self {
        crate::support::process_logs();
        install_provider();
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("state").join("control.sock");
        let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
        let sim = Sim::start(settings).await.unwrap();
        let base = sim.base_url();
        let mut source = SettingsSource::from([
            ("MY_APP_CLIENT_ID", id.as_str()),
            ("MY_APP_SECRET_ID", &secret),
            ("WEBEX_API_BASE_URL", &base),
            ("TOKEND_STORE_URL", "memory:"),
            ("TOKEND_CONTROL_SOCKET", socket.to_str().unwrap()),
        ]);
        source.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = Config::read(&source).unwrap();
        let Services { api: services, store } = Services::build(&config).await.unwrap();
        let run_doctor =
            Arc::new(|| -> Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(async { vec![] }) });
        let api = Api::new(ApiServices { run_doctor, ..services.clone() });
        let (base, pem) = serve_https(&config, api.clone(), &services.tasks).await;
        let control = ControlSocket::open(&socket, None).await.unwrap();
        let shared = api.clone();
        let service = move |request| {
            let api = shared.clone();
            async move { api.handle_incoming(request, Caller::Control).await }
        };
        services.tasks.spawn("control socket", control.serve(service, services.tasks.clone()));
        Self { sim, services, store, config, api, socket, base, pem, _dir: dir }
    }

    pub(super) fn now(&self) -> UnixTime {
        self.services.clock.now()
    }

    /// Stores a grant for the simulator's person of this index, obtained `age` ago and changed by `change`.
    pub(super) async fn store_grant(
        &self,
        index: usize,
        age: Duration,
        change: impl FnOnce(&mut Grant),
    ) -> PersonId {
        let now_ms = self.sim.now_ms();
        let minted = self.sim.with(|webex| webex.mint(now_ms, index));
        let person = self.sim.with(|webex| webex.settings().people[index].clone());
        let secret = |text: &str| Secret::new(text.to_owned());
        let issued = TokenSet {
            access_token: secret(&minted.access_token),
            refresh_token: Some(secret(&minted.refresh_token)),
            expires_in: DAY * 14,
            refresh_token_expires_in: Some(DAY * 90),
            token_type: None,
            scope: Some("spark:all".to_owned()),
        };
        let id = PersonId::parse(&person.id).unwrap();
        let whose = Person {
            id: id.clone(),
            email: Email::parse(&person.email).ok(),
            display_name: Some(person.display_name),
            org_id: Some(person.org_id),
        };
        let at = self.now() - age;
        let tokens = Tokens::first(issued, at).unwrap();
        let mut grant = Grant::consented(whose, tokens, at, &self.config.policy, at);
        change(&mut grant);
        self.store.save_consent(grant).await.unwrap();
        self.services.cache.invalidate(&id);
        id
    }

    pub(super) fn events(&self) -> &Events {
        self.services.cache.events()
    }

    /// Stores a grant with a fresh token.
    pub(super) async fn store_fresh_grant(&self, index: usize) -> PersonId {
        self.store_grant(index, Duration::from_secs(60), |_| {}).await
    }

    /// A new key, made as an operator does.
    pub(super) async fn create_key(&self, body: Value) -> String {
        let made = self.send(AccessPath::Control, Method::POST, "/keys", Some(body)).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    pub(super) async fn create_key_with_right(&self, can: &str) -> String {
        self.create_key(json!({"name": format!("can {can}"), "can": [can]})).await
    }

    pub(super) fn client(&self) -> reqwest::ClientBuilder {
        let root = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(REQUEST_TIMEOUT)
    }

    /// The URL of a page.
    pub(super) fn page_url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.base)
    }

    pub(super) fn request(&self, via: AccessPath<'_>, method: Method, path: &str) -> reqwest::RequestBuilder {
        match via {
            AccessPath::Control => {
                let client = self.client().unix_socket(self.socket.as_path()).build().unwrap();
                client.request(method, format!("http://localhost/api/v1{path}"))
            }
            AccessPath::Key(key) => {
                self.client().build().unwrap().request(method, self.url(path)).bearer_auth(key)
            }
            AccessPath::NoKey => self.client().build().unwrap().request(method, self.url(path)),
        }
    }

    pub(super) async fn send(
        &self,
        via: AccessPath<'_>,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> JsonResponse {
        let request = self.request(via, method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        JsonResponse::read(request.send().await.unwrap()).await
    }

    /// Over the control socket.
    pub(super) async fn get(&self, path: &str) -> JsonResponse {
        self.send(AccessPath::Control, Method::GET, path, None).await
    }

    /// Refresh requests that have arrived at Webex.
    pub(super) fn refreshes(&self) -> u64 {
        self.sim.with(|webex| webex.counters().refreshes.attempts)
    }

    /// Without a socket, as commands call the API in their own process.
    pub(super) async fn get_in_process(&self, path: &str) -> Value {
        let request = hyper::Request::get(format!("/api/v1{path}")).body(Bytes::new()).unwrap();
        let response = self.api.handle(request, Caller::Control).await;
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }
}

async fn serve_https(config: &Config, api: Api, tasks: &Tasks) -> (String, String) {
    let names = ["localhost", "127.0.0.1"].map(String::from);
    let made = SelfSigned::make(&names, jiff::Timestamp::now().as_second()).unwrap();
    let authority = Authority::parse("localhost:8000").unwrap();
    let secure = TlsContext { feed: Renewer::open(made.clone()).unwrap().1, authority };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let door = Routes::new(api, &config.http.redirect_uri, config.http.is_local());
    let door = Arc::new(door.with_token_service(config.token_service.clone()));
    let service = move |request, peer| {
        let door = door.clone();
        async move { door.handle(request, peer).await }
    };
    let serving =
        listener::serve(listener, Some(secure), Arc::new(Limits::default()), service, tasks.clone());
    tasks.spawn("http", serving);
    (format!("https://localhost:{port}"), made.pem().to_owned())
}

fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| _ = default_provider().install_default());
}
