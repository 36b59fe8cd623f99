//! Consents by browser.

use std::time::Duration;

use webex_sim::{Consent, Settings};

use crate::client::{REDIRECT_URI, VERIFIER, client, status_and_json, text};

fn accepting() -> Settings {
    Settings { consent: Consent::AcceptAs(1), ..Settings::default() }
}

#[tokio::test]
async fn a_consent_gives_tokens_that_say_who_consented() {
    let c = client(accepting()).await;
    let back = c.authorize(&[]).await;
    assert_eq!(back["state"], "a state");
    let (status, tokens) = c.exchange(&back["code"], REDIRECT_URI, VERIFIER).await;
    assert_eq!(status, 200);
    assert_eq!(tokens["expires_in"], 14 * 86_400);
    assert_eq!(tokens["refresh_token_expires_in"], 90 * 86_400);
    assert_eq!((text(&tokens, "token_type"), text(&tokens, "scope")), ("Bearer", "spark:all spark:kms"));

    let access = text(&tokens, "access_token");
    let answer = c.get("/people/me").bearer_auth(access).send().await.unwrap();
    assert!(answer.headers()["trackingId"].to_str().unwrap().starts_with("ROUTER_"));
    let (_, me) = status_and_json(answer).await;
    assert_eq!(me["emails"][0], "grace@example.com");
    let (_, info) = status_and_json(c.get("/userinfo").bearer_auth(access).send().await.unwrap()).await;
    assert_eq!((text(&info, "email"), text(&info, "email_verified")), ("grace@example.com", "true"));
    let expiry = c.get("/authorizations/tokenExpiry").bearer_auth(access).send().await.unwrap();
    let (_, expiry) = status_and_json(expiry).await;
    assert!(expiry["exp"].as_i64().unwrap() > c.sim.now_ms());

    let issued = c.sim.with(|webex| webex.secrets_issued());
    for secret in [access, text(&tokens, "refresh_token"), &back["code"]] {
        assert!(issued.iter().any(|issued| issued == secret));
    }
    assert_eq!(c.sim.with(|webex| webex.person_of(access)), Some(1));
}

#[tokio::test]
async fn a_code_works_once() {
    let c = client(accepting()).await;
    let code = c.authorize(&[]).await.remove("code").unwrap();
    assert_eq!(c.exchange(&code, REDIRECT_URI, VERIFIER).await.0, 200);
    assert_eq!(c.exchange(&code, REDIRECT_URI, VERIFIER).await.0, 400);
}

#[tokio::test]
async fn a_code_is_bound_to_its_verifier_its_redirect_uri_and_its_time() {
    let c = client(accepting()).await;
    let code = || async { c.authorize(&[]).await.remove("code").unwrap() };
    let wrong = VERIFIER.replace('d', "e");
    let (status, error) = c.exchange(&code().await, REDIRECT_URI, &wrong).await;
    assert_eq!(status, 400);
    assert!(text(&error["errors"][0], "description").contains("verifier"));
    let (status, error) = c.exchange(&code().await, "http://localhost:8000/other", VERIFIER).await;
    assert_eq!(status, 400);
    assert!(text(&error, "message").contains("redirect URI"));
    let late = code().await;
    c.sim.advance(Duration::from_secs(301));
    assert_eq!(c.exchange(&late, REDIRECT_URI, VERIFIER).await.0, 400);
}

#[tokio::test]
async fn client_credentials_may_come_by_basic_and_fields_as_json() {
    let c = client(accepting()).await;
    let tokens = c.mint(0);
    let fields = serde_json::json!({"grant_type": "refresh_token", "refresh_token": tokens.refresh_token});
    let call = || c.post("/access_token").json(&fields);
    assert_eq!(call().basic_auth(&c.id, Some(&c.secret)).send().await.unwrap().status(), 200);
    assert_eq!(call().basic_auth(&c.id, Some("wrong")).send().await.unwrap().status(), 401);
    assert_eq!(call().send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn refusals_come_back_with_the_state() {
    let c = client(Settings { consent: Consent::Decline, ..Settings::default() }).await;
    let back = c.authorize(&[]).await;
    assert_eq!((back["error"].as_str(), back["state"].as_str()), ("access_denied", "a state"));
    let back = c.authorize(&[("scope", "")]).await;
    assert_eq!(back["error"], "invalid_scope");
    assert_eq!(back["error_description"], "The requested scope is invalid.");
    assert_eq!(c.authorize(&[("code_challenge_method", "md5")]).await["error"], "invalid_request");
    assert_eq!(c.authorize(&[("response_type", "token")]).await["error"], "unsupported_response_type");
    c.sim.with(|webex| webex.settings_mut().consent = Consent::Refuse("server_error".to_owned()));
    assert_eq!(c.authorize(&[]).await["error"], "server_error");
    c.sim.with(|webex| webex.settings_mut().consent = Consent::Ask);
    assert_eq!(c.authorize(&[("prompt", "none")]).await["error"], "login_required");
}

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_is_never_redirected_to() {
    let c = client(accepting()).await;
    let query = |id: &str, uri: &str| {
        let fields = [("response_type", "code"), ("scope", "x"), ("client_id", id), ("redirect_uri", uri)];
        c.get("/authorize").query(&fields).send()
    };
    assert_eq!(query("C0", REDIRECT_URI).await.unwrap().status(), 400);
    assert_eq!(query(&c.id, "https://example.com/oauth").await.unwrap().status(), 400);
    assert_eq!(query(&c.id, "").await.unwrap().status(), 400);
    c.sim.with(|webex| webex.settings_mut().redirect_uris = vec!["https://example.com/oauth".to_owned()]);
    assert_eq!(query(&c.id, "https://example.com/oauth").await.unwrap().status(), 302);
    assert_eq!(query(&c.id, REDIRECT_URI).await.unwrap().status(), 400);
}

#[tokio::test]
async fn the_page_asks_and_its_buttons_answer() {
    let c = client(Settings::default()).await;
    let fields = [
        ("response_type", "code"),
        ("client_id", c.id.as_str()),
        ("redirect_uri", REDIRECT_URI),
        ("scope", "spark:all"),
        ("state", "s&t"),
        ("login_hint", "katherine@example.com"),
    ];
    let page = c.get("/authorize").query(&fields).send().await.unwrap();
    assert!(page.headers().contains_key("content-security-policy"));
    let page = page.text().await.unwrap();
    for needle in ["id=\"person\"", "id=\"accept\"", "id=\"decline\"", "not Cisco", "value=\"2\" selected"] {
        assert!(page.contains(needle), "{needle} is not in {page}");
    }
    let action = page.split("action=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let url = c.sim.base_url().replace("/v1", &action);
    let press =
        |button: &'static str| c.http.post(&url).form(&[("person", "2"), ("decision", button)]).send();
    let accepted = press("accept").await.unwrap();
    let location = accepted.headers()["location"].to_str().unwrap();
    assert!(location.contains("code=") && location.contains("state=s%26t"), "{location}");
    let declined = press("decline").await.unwrap();
    assert!(declined.headers()["location"].to_str().unwrap().contains("error=access_denied"));
}

#[tokio::test]
async fn one_token_too_many_is_refused_until_one_expires() {
    let c = client(Settings { token_limit: 2, noop_window: Duration::ZERO, ..accepting() }).await;
    let tokens = c.mint(1);
    assert_eq!(c.refresh(&tokens.refresh_token).await.0, 200);
    let (status, error) = c.refresh(&tokens.refresh_token).await;
    assert_eq!((status, text(&error["errors"][0], "description")), (400, "tokenlimit_reached"));
    let code = c.authorize(&[]).await.remove("code").unwrap();
    assert_eq!(c.exchange(&code, REDIRECT_URI, VERIFIER).await.0, 400);
    c.sim.advance(Duration::from_secs(14 * 86_400 + 1));
    assert_eq!(c.refresh(&tokens.refresh_token).await.0, 200);
}

#[tokio::test]
async fn a_second_consent_may_return_the_running_refresh_token() {
    let c = client(accepting()).await;
    let (first, second) = (c.mint(0), c.mint(0));
    assert_ne!(first.refresh_token, second.refresh_token);
    c.sim.with(|webex| webex.settings_mut().reconsent_keeps_refresh_token = true);
    let third = c.mint(0);
    assert_eq!(third.refresh_token, second.refresh_token);
    assert_ne!(third.access_token, second.access_token);
}
