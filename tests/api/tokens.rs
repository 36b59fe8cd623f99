//! Live tokens: one refresh for all waiting readers, the longest life there is, and no token in any other response.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::person::PersonId;

use super::harness::AccessPath;
use super::harness::ApiServer;
use super::harness::JsonResponse;
use crate::support::process_logs;
use crate::support::time::DAY;

const ADA: &str = "/people/ada@example.com/token";

async fn server() -> ApiServer {
    let latency = Duration::from_millis(300);
    ApiServer::with_sim_settings(Settings { noop_window: Duration::ZERO, latency, ..Settings::default() })
        .await
}

fn fault(server: &ApiServer, kind: FaultKind) {
    server
        .sim
        .with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind }));
}

/// Lives for less than any caller asks for.
fn dying(grant: &mut Grant) {
    grant.tokens.expires_at = grant.obtained_at + DAY * 13 + Duration::from_secs(30);
}

fn dead(grant: &mut Grant) {
    grant.tokens.expires_at = grant.obtained_at + DAY * 13 - Duration::from_secs(1);
}

/// A thousand readers over twenty connections, all at the same time.
async fn read_a_thousand_times(server: &ApiServer) -> Vec<JsonResponse> {
    let key = server.create_key_with_right("read").await;
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        let client = server.client().build().unwrap();
        for _ in 0..50 {
            let request = client.get(server.url(ADA)).bearer_auth(&key);
            readers.spawn(async move { JsonResponse::read(request.send().await.unwrap()).await });
        }
    }
    readers.join_all().await
}

#[tokio::test]
async fn a_thousand_readers_cause_one_refresh() {
    let server = server().await;
    server.store_grant(0, DAY * 13, dying).await;
    let answers = read_a_thousand_times(&server).await;
    assert_eq!(server.refreshes(), 1);
    let first = answers[0].json();
    assert!(first["expires_in"].as_u64().unwrap() > 13 * 86_400);
    for answer in &answers {
        assert_eq!((answer.status, &answer.json()["access_token"]), (200, &first["access_token"]));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn concurrent_readers_of_several_people_each_get_the_right_token() {
    let server = server().await;
    let mut people = Vec::new();
    for index in 0..2 {
        people.push(server.store_grant(index, DAY * 13, dying).await);
    }
    let client = server.client().build().unwrap();
    let key = server.create_key_with_right("read").await;
    let mut readers = JoinSet::new();
    for turn in 0..40 {
        let id = people[turn % people.len()].to_string();
        let request = client.get(server.url(&format!("/people/{id}/token"))).bearer_auth(&key);
        readers.spawn(async move { (id, JsonResponse::read(request.send().await.unwrap()).await) });
    }
    for (id, answer) in readers.join_all().await {
        let kept = server.store.find(PersonId::parse(&id).unwrap()).await.unwrap().unwrap();
        assert_eq!(answer.json()["person_id"], id.as_str());
        assert_eq!(answer.json()["access_token"], kept.tokens.access_token.expose());
    }
    assert_eq!(server.refreshes(), 2, "one refresh for each");
}

#[tokio::test]
async fn during_an_outage_a_thousand_readers_get_the_live_token_with_a_warning() {
    let server = server().await;
    server.store_grant(0, DAY * 13, dying).await;
    fault(&server, FaultKind::Unavailable { status: 503, html: true });
    for answer in read_a_thousand_times(&server).await {
        let token = answer.json();
        assert_eq!(answer.status, 200);
        assert!(token["expires_in"].as_u64().unwrap() <= 30, "{token}");
        let note = token["note"].as_str().unwrap();
        assert!(note.contains("the last refresh failed; `webex-tokend why ada@example.com`"), "{token}");
    }
    assert_eq!(server.refreshes(), 1);
}

#[tokio::test]
async fn the_note_with_a_token_that_webex_no_longer_renews_says_so() {
    let server = server().await;
    let no_longer_renewed = |grant: &mut Grant| {
        dying(grant);
        grant.status = GrantStatus::ConsentNeeded;
    };
    server.store_grant(0, DAY * 13, no_longer_renewed).await;
    let token = server.get(ADA).await.json();
    let note = token["note"].as_str().unwrap();
    assert!(note.contains("must consent again; `webex-tokend why ada@example.com`"), "{token}");
    assert_eq!(server.refreshes(), 0);
}

#[tokio::test]
async fn during_an_outage_readers_of_a_dead_token_get_a_retry_after() {
    let server = server().await;
    server.store_grant(0, DAY * 13, dead).await;
    fault(&server, FaultKind::Unavailable { status: 503, html: true });
    for answer in read_a_thousand_times(&server).await {
        assert_eq!((answer.status, answer.code().as_str()), (503, "webex_unavailable"));
        assert!((1..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    }
    assert_eq!(server.refreshes(), 1);
}

#[tokio::test]
async fn a_min_ttl_beyond_webexs_lifetime_causes_one_refresh_and_returns_the_longest_token() {
    let server = server().await;
    server.store_grant(0, DAY * 3, |_| {}).await;
    let path = format!("{ADA}?min_ttl=31536000");
    let token = server.get(&path).await.json();
    assert!(token["expires_in"].as_u64().unwrap() > 13 * 86_400, "{token}");
    assert!(token["note"].as_str().unwrap().contains("31536000"));
    assert_eq!(server.refreshes(), 1);
    for _ in 0..100 {
        assert_eq!(server.get_in_process(&path).await["access_token"], token["access_token"]);
    }
    assert_eq!(server.refreshes(), 1);
    let plain = server.get(ADA).await.json();
    assert_eq!((plain.get("note"), &plain["token_type"]), (None, &json!("Bearer")));
}

#[tokio::test]
async fn a_dead_grant_is_answered_with_the_consent_link() {
    let server = server().await;
    server.store_grant(0, DAY * 13, dead).await;
    server.sim.with(|webex| webex.revoke_person(0));
    let answer = server.get(ADA).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "consent_needed"));
    assert_eq!(answer.json()["consent_url"], "https://localhost:8000/oauth?person=ada%40example.com");
    let shown = server.get("/people/ada@example.com").await.json();
    assert_eq!(
        (&shown["state"], &shown["refresh_token_expires_at"]),
        (&json!("consent_needed"), &Value::Null)
    );
    let nameless = |grant: &mut Grant| {
        dead(grant);
        grant.person.email = None;
        grant.status = GrantStatus::ConsentNeeded;
    };
    let id = server.store_grant(1, DAY * 13, nameless).await;
    let answer = server.get(&format!("/people/{id}/token")).await;
    assert_eq!(answer.json()["consent_url"], "https://localhost:8000/oauth");
}

#[tokio::test]
async fn a_caller_may_request_a_refresh_and_force_it() {
    let floor = [("EVENT_LOOP_FLOOR_SECONDS", "0"), ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "86400")];
    let server =
        ApiServer::with_settings(Settings { noop_window: Duration::ZERO, ..Settings::default() }, &floor)
            .await;
    server.store_fresh_grant(0).await;
    let path = "/people/ada@example.com/refresh";
    let skipped = server.send(AccessPath::Control, Method::POST, path, None).await.json();
    assert_eq!((&skipped["outcome"], server.refreshes()), (&json!("skipped"), 0));
    assert!(skipped["detail"].as_str().unwrap().contains("no-op window"));
    let forced =
        server.send(AccessPath::Control, Method::POST, path, Some(json!({"force": true}))).await.json();
    assert_eq!((&forced["outcome"], &forced["detail"]), (&json!("renewed"), &Value::Null));
    assert_eq!((&forced["person"]["last_outcome"], server.refreshes()), (&json!("renewed"), 1));
    fault(&server, FaultKind::Unavailable { status: 500, html: false });
    let failed =
        server.send(AccessPath::Control, Method::POST, path, Some(json!({"force": true}))).await.json();
    assert_eq!((&failed["outcome"], &failed["person"]["state"]), (&json!("failed"), &json!("retrying")));
}

#[tokio::test]
async fn tokens_and_keys_are_in_no_other_response_and_in_no_log_line() {
    let server = server().await;
    server.store_grant(0, DAY * 3, |_| {}).await;
    let key = server.create_key_with_right("admin").await;
    let way = AccessPath::Key(&key);
    let mut answers = Vec::new();
    let force = Some(json!({"force": true}));
    answers.push(server.send(way, Method::POST, "/people/ada@example.com/refresh", force).await);
    let token =
        server.send(way, Method::GET, ADA, None).await.json()["access_token"].as_str().unwrap().to_owned();
    for path in ["/people", "/people/ada@example.com", "/people/ada@example.com/why", "/plan", "/keys"] {
        answers.push(server.send(way, Method::GET, path, None).await);
    }
    answers.push(server.send(AccessPath::Key(&format!("{key}x")), Method::GET, "/people", None).await);
    answers.push(server.send(way, Method::DELETE, "/people/ada@example.com", None).await);
    let grant_secrets = server.sim.with(|webex| webex.secrets_issued());
    assert!(grant_secrets.contains(&token));
    let log = process_logs();
    assert!(log.contains("GET /api/v1/people"), "the log is not captured");
    for secret in grant_secrets.iter().chain([&key]) {
        assert!(answers.iter().all(|answer| !answer.text.contains(secret.as_str())));
        assert!(!log.contains(secret.as_str()));
    }
}

#[tokio::test]
async fn requested_scopes_that_a_grant_lacks_are_shown() {
    let asked = [("MY_APP_SCOPES", "spark:all spark:people_read spark:rooms_read")];
    let server = ApiServer::with_settings(Settings::default(), &asked).await;
    server.store_fresh_grant(0).await;
    let wide = |grant: &mut Grant| grant.tokens.scope = Some(asked[0].1.to_owned());
    server.store_grant(1, DAY, wide).await;
    let people = server.get("/people").await.json()["people"].clone();
    assert_eq!(people[0]["missing_scopes"], json!(["spark:people_read", "spark:rooms_read"]));
    assert_eq!(people[1]["missing_scopes"], json!([]));
}
