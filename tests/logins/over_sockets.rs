//! Logins through the real HTTP server, and the device grant through the real transport.

use std::sync::Arc;

use reqwest::Client;
use reqwest::Response;
use reqwest::redirect::Policy;
use url::Url;
use webex_sim::Consent;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::clock::SystemClock;
use webex_tokend::consent::LoginState;
use webex_tokend::domain::secret::Secret;
use webex_tokend::http::router::Routes;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::webex::DevicePollResult;
use webex_tokend::webex::Integration;
use webex_tokend::webex::Webex;
use webex_tokend::webex::transport::HttpTransport;

use crate::server::harness::TestServer;
use crate::support::time::SHORT_LIMITS_TIMEOUT;
use crate::support::virtual_time::TestServices;

async fn open(services: &TestServices) -> TestServer {
    let uri = Url::parse("http://localhost:8000/oauth").unwrap();
    let door = Arc::new(Routes::new(services.api().await, &uri, true));
    let service = move |request, peer| {
        let door = door.clone();
        async move { door.handle(request, peer).await }
    };
    TestServer::new_plain(Limits::default(), service).await
}

/// An HTTP client that handles cookies as a browser does.
struct CookieClient {
    http: Client,
    base: String,
    cookie: String,
}

impl CookieClient {
    fn new(server: &TestServer) -> Self {
        let http = Client::builder()
            .no_proxy()
            .timeout(SHORT_LIMITS_TIMEOUT)
            .redirect(Policy::none())
            .build()
            .unwrap();
        Self { http, base: format!("http://{}", server.addr), cookie: String::new() }
    }

    async fn get(&mut self, path_and_query: &str) -> Response {
        let call = self.http.get(format!("{}{path_and_query}", self.base)).header("cookie", &self.cookie);
        let response = call.send().await.unwrap();
        if let Some(set) = response.headers().get("set-cookie") {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        response
    }
}

fn path(url: &str) -> &str {
    url.strip_prefix("https://localhost:8000").unwrap()
}

fn location(response: &Response) -> String {
    assert_eq!(response.status(), 302);
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_browsers_complete_two_logins() {
    let services = TestServices::new(Settings::default());
    let server = open(&services).await;
    let logins = [0, 1].map(|_| services.consents.begin_login(None).unwrap());
    let mut browsers = [0, 1].map(|_| CookieClient::new(&server));
    let mut at_webex = Vec::new();
    for (client, login) in browsers.iter_mut().zip(&logins) {
        at_webex.push(location(&client.get(path(&login.url)).await));
    }
    let back = services.decide_at_webex(&at_webex[0], Consent::AcceptAs(0));
    let query = format!("/oauth?code={}&state={}", back("code").expose(), back("state").expose());
    assert_eq!(browsers[0].get(&query).await.status(), 200);
    let back = services.decide_at_webex(&at_webex[1], Consent::Decline);
    let query = format!("/oauth?error=access_denied&state={}", back("state").expose());
    assert_eq!(CookieClient::new(&server).get(&query).await.status(), 403, "in a browser that has no ticket");
    let state = async |at: usize| {
        services.consents.login_status(&logins[at].id, SHORT_LIMITS_TIMEOUT / 100).await.unwrap()
    };
    assert_eq!(state(0).await, LoginState::Granted(services.id(0)));
    assert_eq!(state(1).await, LoginState::Pending);
    assert_eq!(browsers[1].get(&query).await.status(), 403);
    assert!(matches!(state(1).await, LoginState::Failed(why) if why.contains("declined")));

    for (client, login) in browsers.iter_mut().zip(&logins) {
        let stale = client.get(path(&login.url)).await;
        assert_eq!(stale.status(), 400, "a finished login");
        assert!(stale.headers().get("set-cookie").is_none() && stale.headers().get("location").is_none());
    }
    assert_eq!(browsers[0].get("/oauth?login=").await.status(), 400);
    assert_eq!(browsers[0].get(&format!("{0}&login=x", path(&logins[0].url))).await.status(), 400);
    server.shut_down().await;
}

#[tokio::test]
async fn the_device_grant_uses_basic_authentication() {
    let sim = Sim::start(Settings::default()).await.unwrap();
    let settings = Settings::default();
    let integration = Integration {
        client_id: settings.client_id,
        client_secret: Secret::new(settings.client_secret),
        redirect_uri: "https://localhost:8000/oauth".to_owned(),
        scopes: vec!["spark:all".to_owned()],
        base: sim.base_url(),
    };
    let transport = HttpTransport::new("test", None, true, None).unwrap();
    let webex = Webex::new(integration, Arc::new(transport), Arc::new(SystemClock));
    let code = webex.device_authorize().await.unwrap();
    assert!(code.verification_uri.starts_with("http://127.0.0.1:"));
    assert!(matches!(webex.device_token(&code.device_code).await.polled, DevicePollResult::Pending));
    assert!(matches!(webex.device_token(&code.device_code).await.polled, DevicePollResult::SlowDown));
    assert!(sim.with(|webex| webex.approve_device(&code.user_code, 1)));
    sim.advance(code.interval);
    let DevicePollResult::Issued(issued) = webex.device_token(&code.device_code).await.polled else {
        panic!("no tokens")
    };
    assert_eq!(
        webex.people_me(&issued.access_token).await.unwrap().person.email.unwrap().as_str(),
        "grace@example.com"
    );
}
