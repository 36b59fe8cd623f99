//! A client of the simulator, for the tests.

use std::collections::HashMap;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use url::Url;
use webex_sim::model::Tokens;
use webex_sim::{Settings, Sim};

pub(crate) const REDIRECT_URI: &str = "http://localhost:8000/oauth";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) struct Client {
    pub(crate) sim: Sim,
    pub(crate) http: reqwest::Client,
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// A client that follows no redirects and verifies what its caller says it should.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // Another test may have been faster.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none())
}

pub(crate) async fn client(settings: Settings) -> Client {
    let (id, secret) = (settings.client_id.clone(), settings.client_secret.clone());
    let sim = Sim::start(settings).await.unwrap();
    Client { sim, http: http().build().unwrap(), id, secret }
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.sim.base_url()))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.sim.base_url()))
    }

    pub(crate) fn mint(&self, person: usize) -> Tokens {
        let now_ms = self.sim.now_ms();
        self.sim.with(|webex| webex.mint(now_ms, person))
    }

    pub(crate) fn refresh_call(&self, refresh_token: &str) -> RequestBuilder {
        self.post("/access_token").form(&[
            ("grant_type", "refresh_token"),
            ("client_id", &self.id),
            ("client_secret", &self.secret),
            ("refresh_token", refresh_token),
        ])
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> (u16, Value) {
        status_and_json(self.refresh_call(refresh_token).send().await.unwrap()).await
    }

    /// Goes to `/authorize` with these fields more (or instead); what comes back, and with which fields.
    pub(crate) async fn authorize(&self, more: &[(&str, &str)]) -> HashMap<String, String> {
        let mut fields = HashMap::from([
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "spark:all spark:kms"),
            ("state", "a state"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        fields.extend(more.iter().copied());
        let answer = self.get("/authorize").query(&fields).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        let location = answer.headers()["location"].to_str().unwrap();
        assert!(location.starts_with(REDIRECT_URI), "{location}");
        Url::parse(location).unwrap().query_pairs().into_owned().collect()
    }

    pub(crate) async fn exchange(&self, code: &str, redirect_uri: &str, verifier: &str) -> (u16, Value) {
        let call = self.post("/access_token").form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.id),
            ("client_secret", &self.secret),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ]);
        status_and_json(call.send().await.unwrap()).await
    }
}

pub(crate) async fn status_and_json(answer: Response) -> (u16, Value) {
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

pub(crate) fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}
