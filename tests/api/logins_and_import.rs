//! Logins and imports over the API.

use std::time::Duration;

use reqwest::Method;
use reqwest::redirect::Policy;
use serde_json::Value;
use serde_json::json;
use webex_sim::Person;
use webex_sim::RefreshToken;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;

use super::harness::AccessPath;
use super::harness::ApiServer;
use super::harness::JsonResponse;
use crate::support::eventually;

async fn begin(server: &ApiServer, asked: Value) -> Value {
    let begun = server.send(AccessPath::Control, Method::POST, "/logins", Some(asked)).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    begun.json()
}

async fn status(server: &ApiServer, begun: &Value, wait: u32) -> Value {
    let answer = server.get(&format!("/logins/{}?wait={wait}", begun["id"].as_str().unwrap())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn import(server: &ApiServer, asked: Value) -> Value {
    let answer = server.send(AccessPath::Control, Method::POST, "/import", Some(asked)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The browser's part: opens the login's URL, decides at Webex, and returns.
async fn browse(server: &ApiServer, begun: &Value, decision: &str) -> u16 {
    let client = server.client().redirect(Policy::none()).build().unwrap();
    let at_the_door = |url: &str| server.page_url(url.strip_prefix("https://localhost:8000").unwrap());
    let location = |response: &reqwest::Response| {
        assert_eq!(response.status(), 302);
        response.headers()["location"].to_str().unwrap().to_owned()
    };
    let asked = client.get(at_the_door(begun["url"].as_str().unwrap())).send().await.unwrap();
    let cookie = asked.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let at_webex = format!("{}&{decision}", location(&asked));
    let back = location(&client.get(at_webex).send().await.unwrap());
    client.get(at_the_door(&back)).header("cookie", cookie).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_login_is_reported_when_the_browser_has_finished_it() {
    let server = ApiServer::new().await;
    let begun = begin(&server, json!({"email": "Ada@example.com"})).await;
    let url = begun["url"].as_str().unwrap();
    assert!(url.starts_with("https://localhost:8000/oauth?login="), "{url}");
    assert!(url.ends_with("&person=ada%40example.com"), "{url}");
    assert_eq!((&begun["user_code"], &begun["complete_url"]), (&Value::Null, &Value::Null));
    assert_eq!(begun["expires_in"], 900);
    assert_eq!(status(&server, &begun, 0).await, json!({"state": "pending", "detail": null, "person": null}));
    let waiting = status(&server, &begun, 30);
    let (heard, shown) = tokio::join!(waiting, browse(&server, &begun, "decision=accept&person=0"));
    assert_eq!((shown, &heard["state"], &heard["detail"]), (200, &json!("granted"), &Value::Null));
    assert_eq!(heard["person"], server.get("/people/ada@example.com").await.json());
    server.send(AccessPath::Control, Method::DELETE, "/people/ada@example.com", None).await;
    let heard = status(&server, &begun, 0).await;
    assert_eq!((&heard["state"], &heard["person"]), (&json!("granted"), &Value::Null), "forgotten meanwhile");
}

#[tokio::test]
async fn a_login_that_is_declined_fails_with_the_reason() {
    let server = ApiServer::new().await;
    let begun = begin(&server, json!({})).await;
    assert_eq!(browse(&server, &begun, "decision=decline").await, 403);
    let heard = status(&server, &begun, 30).await;
    assert_eq!(heard["state"], "failed");
    assert!(heard["detail"].as_str().unwrap().contains("declined"));
    assert_eq!(server.get("/people").await.json()["people"], json!([]));
}

#[tokio::test]
async fn a_device_login_ends_as_the_person_decides() {
    let interval = Duration::from_millis(1000);
    let server =
        ApiServer::with_sim_settings(Settings { device_interval: interval, ..Settings::default() }).await;
    let accepted = begin(&server, json!({"device": true})).await;
    let declined = begin(&server, json!({"device": true})).await;
    let code = |begun: &Value| begun["user_code"].as_str().unwrap().to_owned();
    let (url, complete) = (accepted["url"].as_str().unwrap(), accepted["complete_url"].as_str().unwrap());
    assert!(complete.starts_with(url) && complete.len() > url.len(), "{complete}");
    assert!(server.sim.with(|webex| webex.approve_device(&code(&accepted), 1)));
    assert!(server.sim.with(|webex| webex.decline_device(&code(&declined))));
    let (yes, no) = tokio::join!(status(&server, &accepted, 30), status(&server, &declined, 30));
    assert_eq!((&yes["state"], &yes["person"]["email"]), (&json!("granted"), &json!("grace@example.com")));
    assert_eq!((&no["state"], &no["person"]), (&json!("failed"), &Value::Null));
    assert!(no["detail"].is_string());
    assert_eq!(server.get("/people/grace@example.com/token").await.status, 200);
}

#[tokio::test]
async fn a_device_login_that_webex_refuses_to_begin_gives_the_reason() {
    let server = ApiServer::new().await;
    let fault = |kind| {
        server.sim.with(|webex| {
            webex.clear_faults();
            webex.fault(Fault { on: Endpoint::Any, person: None, times: None, kind });
        });
    };
    let ask = async || {
        server.send(AccessPath::Control, Method::POST, "/logins", Some(json!({"device": true}))).await
    };
    fault(FaultKind::Unavailable { status: 503, html: false });
    let answer = ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "webex_unavailable"));
    assert_eq!(answer.header("retry-after"), "30");
    fault(FaultKind::Client401);
    let answer = ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "webex_refused"), "{answer:?}");
}

#[tokio::test]
async fn parameters_of_logins_are_validated() {
    let server = ApiServer::new().await;
    let begun = begin(&server, json!({})).await;
    let id = begun["id"].as_str().unwrap();
    for wait in ["31", "-1", "1.5", "", "x"] {
        let answer = server.get(&format!("/logins/{id}?wait={wait}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{wait}");
    }
    for id in ["x", "AAAAAAAAAAAAAAAAAAAAAA", "%2e%2e"] {
        let answer = server.get(&format!("/logins/{id}?wait=30")).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{id}");
    }
    for asked in [json!({"email": "ada"}), json!({"device": 1}), json!({"colour": "red"})] {
        let answer = server.send(AccessPath::Control, Method::POST, "/logins", Some(asked.clone())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{asked}");
    }
}

#[tokio::test]
async fn an_imported_grant_is_new_then_kept_and_replaced_on_request() {
    let settings = Settings { refresh_token: RefreshToken::Rotating, ..Settings::default() };
    let server = ApiServer::with_sim_settings(Settings { noop_window: Duration::ZERO, ..settings }).await;
    for (outcome, replace) in [("new", false), ("kept", false), ("replaced", true)] {
        let now_ms = server.sim.now_ms();
        let pair = server.sim.with(|webex| webex.mint(now_ms, 0));
        let (refresh_token, access_token) = (&pair.refresh_token, pair.access_token);
        let asked = json!({"refresh_token": refresh_token, "access_token": access_token, "replace": replace});
        let imported = import(&server, asked).await;
        assert_eq!(imported["outcome"], outcome);
        let detail = imported["detail"].as_str();
        assert_eq!(
            detail.is_some_and(|detail| detail.contains("--replace")),
            outcome == "kept",
            "{imported}"
        );
        assert_eq!(imported["person"], server.get("/people/ada@example.com").await.json());
        assert!(!imported.to_string().contains(&pair.refresh_token));
    }
    assert_eq!(server.refreshes(), 3);
    assert_eq!(server.get("/people/ada@example.com/token").await.status, 200);
}

#[tokio::test]
async fn an_import_gives_way_to_a_consent_that_came_while_webex_was_asked() {
    let server = ApiServer::new().await;
    let kind = FaultKind::Slow(Duration::from_millis(500));
    server.sim.with(|webex| {
        webex.fault(Fault { on: Endpoint::PeopleMe, person: None, times: Some(1), kind });
    });
    let now_ms = server.sim.now_ms();
    let pair = server.sim.with(|webex| webex.mint(now_ms, 0));
    let newer = async {
        eventually("the grant is refreshed", || server.refreshes() == 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let person = server.store_grant(0, Duration::ZERO, |_| {}).await;
        (person, server.events().position())
    };
    let (imported, (person, kept)) =
        tokio::join!(import(&server, json!({"refresh_token": pair.refresh_token})), newer);
    assert_eq!(imported["outcome"], "older", "{imported}");
    assert!(
        imported["detail"].as_str().unwrap().contains("the stored grant of this person is newer"),
        "{imported}"
    );
    assert!(!server.events().changed_since(kept, &person), "without a change there is no event");
    assert_eq!(imported["person"], server.get(&format!("/people/{person}")).await.json());
    let token = server.get(&format!("/people/{person}/token")).await.json();
    assert_ne!(token["access_token"], json!(pair.access_token), "the newer grant's token is returned");
}

#[tokio::test]
async fn an_unusable_token_is_refused_and_an_import_during_an_outage_fails() {
    let mut people = Person::some(3);
    people[1].kind = "bot";
    let server = ApiServer::with_sim_settings(Settings { people, ..Settings::default() }).await;
    let mint = |person| {
        let now_ms = server.sim.now_ms();
        server.sim.with(|webex| webex.mint(now_ms, person))
    };
    let (dead, bot, personal) = (mint(0), mint(1), mint(2));
    server.sim.with(|webex| webex.kill_refresh_token(&dead.refresh_token));
    for (asked, says) in [
        (json!({"refresh_token": dead.refresh_token}), "consent here"),
        (json!({"access_token": bot.access_token}), "use it as it is"),
        (json!({"access_token": personal.access_token}), "12 hours"),
        (json!({}), "no token"),
        (json!({"refresh_token": "two words"}), "white space"),
    ] {
        let imported = import(&server, asked).await;
        assert_eq!((&imported["outcome"], &imported["person"]), (&json!("refused"), &Value::Null));
        assert!(imported["detail"].as_str().unwrap().contains(says), "{imported}");
    }
    let kind = FaultKind::Unavailable { status: 503, html: false };
    server.sim.with(|webex| {
        webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind });
    });
    let imported = import(&server, json!({"refresh_token": personal.refresh_token})).await;
    assert_eq!(imported["outcome"], "failed");
    assert_eq!(server.get("/people").await.json()["people"], json!([]));
}

#[tokio::test]
async fn an_import_is_completed_even_if_the_client_disconnects() {
    let settings = Settings { refresh_token: RefreshToken::Rotating, ..Settings::default() };
    let latency = Duration::from_millis(300);
    let server = ApiServer::with_sim_settings(Settings { latency, ..settings }).await;
    let now_ms = server.sim.now_ms();
    let pair = server.sim.with(|webex| webex.mint(now_ms, 0));
    let request = server.request(AccessPath::Control, Method::POST, "/import");
    let asked = request.json(&json!({"refresh_token": pair.refresh_token}));
    assert!(asked.timeout(Duration::from_millis(100)).send().await.is_err(), "the import was faster");
    let kept = async {
        while server.get("/people/ada@example.com").await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), kept).await.expect("the import was not completed");
    let request =
        server.request(AccessPath::Control, Method::POST, "/import").header("content-type", "text/plain");
    assert_eq!(JsonResponse::read(request.body("{}").send().await.unwrap()).await.status, 415);
}
