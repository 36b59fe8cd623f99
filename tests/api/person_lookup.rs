//! Which person a parameter means: shared addresses, and records that cannot be opened.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;
use webex_sim::Person;
use webex_sim::Settings;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::PersonId;

use super::event_client::EventStream;
use super::harness::AccessPath;
use super::harness::ApiServer;

const KATE: &str = "/people/kate@example.com";

const FRESH: Duration = Duration::from_secs(60);

async fn store_kate(server: &ApiServer, index: usize, change: impl FnOnce(&mut Grant)) -> PersonId {
    let change = |grant: &mut Grant| {
        grant.person.email = Email::parse("Kate@example.com").ok();
        change(grant);
    };
    server.store_grant(index, FRESH, change).await
}

async fn count(server: &ApiServer) -> usize {
    server.get("/people").await.json()["people"].as_array().unwrap().len()
}

/// Every route for one person.
fn every_route_for_a_person() -> [(Method, &'static str, Option<Value>); 5] {
    [
        (Method::GET, "", None),
        (Method::GET, "/token", None),
        (Method::GET, "/why", None),
        (Method::POST, "/refresh", Some(json!({"force": true}))),
        (Method::DELETE, "", None),
    ]
}

#[tokio::test]
async fn an_address_shared_by_two_living_grants_resolves_to_neither() {
    let server = ApiServer::new().await;
    let both = [store_kate(&server, 0, |_| {}).await, store_kate(&server, 1, |_| {}).await];
    let ids = json!([both[0].as_str(), both[1].as_str()]);
    for (method, rest, body) in every_route_for_a_person() {
        let answer = server.send(AccessPath::Control, method.clone(), &format!("{KATE}{rest}"), body).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "ambiguous_person"), "{method} {rest}");
        assert_eq!(answer.json()["persons"], ids);
        let detail = answer.json()["detail"].to_string();
        assert!(both.iter().all(|id| detail.contains(id.as_str())), "{detail}");
    }
    let asked = json!({"name": "k", "persons": ["kate@example.com"]});
    assert_eq!(
        server.send(AccessPath::Control, Method::POST, "/keys", Some(asked)).await.code(),
        "ambiguous_person"
    );
    assert_eq!((count(&server).await, server.refreshes()), (2, 0), "no request had an effect");
    for id in &both {
        let token = server.get(&format!("/people/{id}/token")).await.json();
        assert_eq!(token["person_id"], id.as_str());
    }
    let removed =
        server.send(AccessPath::Control, Method::DELETE, &format!("/people/{}", both[0]), None).await;
    assert_eq!(removed.status, 204);
    assert_eq!(server.get(KATE).await.json()["person_id"], both[1].as_str());
}

#[tokio::test]
async fn a_shared_address_resolves_to_the_living_grant_but_removes_neither() {
    let server = ApiServer::new().await;
    store_kate(&server, 0, |grant| grant.status = GrantStatus::ConsentNeeded).await;
    let living = store_kate(&server, 1, |_| {}).await;
    let token = server.get(&format!("{KATE}/token")).await;
    assert_eq!(token.json()["person_id"], living.as_str(), "{token:?}");
    let answer = server.send(AccessPath::Control, Method::DELETE, KATE, None).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "ambiguous_person"));
    assert_eq!(count(&server).await, 2);
}

#[tokio::test]
async fn an_address_with_a_lookalike_letter_is_a_different_address() {
    let server = ApiServer::new().await;
    let ada = store_kate(&server, 0, |_| {}).await;
    let kelvin = "\u{212a}ate@example.com";
    let eve = store_kate(&server, 1, |grant| grant.person.email = Email::parse(kelvin).ok()).await;
    for (name, id) in [("KATE@Example.com", &ada), ("%E2%84%AAate@example.com", &eve)] {
        assert_eq!(server.get(&format!("/people/{name}")).await.json()["person_id"], id.as_str());
    }
}

#[tokio::test]
async fn a_key_for_one_of_two_namesakes_learns_nothing_of_the_other() {
    let server = ApiServer::new().await;
    let (one, other) = (store_kate(&server, 0, |_| {}).await, store_kate(&server, 1, |_| {}).await);
    let third = server.store_fresh_grant(2).await;
    let key = async |name: &str, id: &PersonId| {
        server.create_key(json!({"name": name, "persons": [id.as_str()]})).await
    };
    let (his, thirds) = (key("his", &one).await, key("third's", &third).await);
    let answer = server.send(AccessPath::Key(&his), Method::GET, KATE, None).await;
    assert_eq!(
        (answer.code().as_str(), &answer.json()["persons"]),
        ("ambiguous_person", &json!([one.as_str()]))
    );
    assert!(!answer.text.contains(other.as_str()));
    assert_eq!(server.send(AccessPath::Key(&thirds), Method::GET, KATE, None).await.code(), "forbidden");
}

/// With a store in a file, so that a test can tamper with a record.
async fn on_disk() -> (ApiServer, TempDir) {
    let dir = TempDir::new().unwrap();
    let (store, key) = (dir.path().join("db"), dir.path().join("key"));
    let url = format!("sqlite:{}", store.display());
    let variables = [("TOKEND_STORE_URL", url.as_str()), ("TOKEND_KEY_FILE", key.to_str().unwrap())];
    let settings = Settings { people: Person::some(3), noop_window: Duration::ZERO, ..Settings::default() };
    (ApiServer::with_settings(settings, &variables).await, dir)
}

fn tamper(dir: &Path, person: &PersonId) {
    let shell = Connection::open(dir.join("db")).unwrap();
    shell.busy_timeout(Duration::from_secs(5)).unwrap();
    let spoilt =
        "UPDATE grants SET refresh_token = access_token, access_token = refresh_token WHERE person_id = ?1";
    assert_eq!(shell.execute(spoilt, [person.as_str()]).unwrap(), 1);
}

async fn must_consent(server: &ApiServer, method: Method, path: &str) {
    let answer = server.send(AccessPath::Control, method, path, None).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "consent_needed"), "{path}: {answer:?}");
    assert_eq!(answer.header("retry-after"), "");
    let url = answer.json()["consent_url"].as_str().unwrap().to_owned();
    assert!(url.ends_with("/oauth?person=ada%40example.com"), "{url}");
}

#[tokio::test]
async fn an_unreadable_record_is_answered_with_the_consent_link() {
    let (server, dir) = on_disk().await;
    let (ada, grace) = (server.store_fresh_grant(0).await, server.store_fresh_grant(1).await);
    tamper(dir.path(), &ada);
    for name in [ada.as_str(), "ada@example.com"] {
        must_consent(&server, Method::GET, &format!("/people/{name}/token")).await;
        must_consent(&server, Method::POST, &format!("/people/{name}/refresh")).await;
        let shown = server.get(&format!("/people/{name}")).await.json();
        assert_eq!((&shown["state"], &shown["person_id"]), (&json!("consent_needed"), &json!(ada.as_str())));
        let why = server.get(&format!("/people/{name}/why")).await.json();
        assert!(why["last_detail"].as_str().unwrap().contains("does not open"), "{why}");
    }
    let list = server.get("/people").await.json();
    let states: Vec<&Value> = list["people"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["consent_needed", "fresh"]);
    assert_eq!(
        server.get(&format!("/people/{grace}/token")).await.status,
        200,
        "no other person is affected"
    );
    assert_eq!(server.refreshes(), 0);

    assert_eq!(
        server.send(AccessPath::Control, Method::DELETE, "/people/ada@example.com", None).await.status,
        204
    );
    server.store_fresh_grant(0).await;
    assert_eq!(server.get(&format!("/people/{ada}/token")).await.status, 200, "a new consent replaces it");
}

#[tokio::test]
async fn a_record_damaged_while_cached_is_reported_when_it_is_needed() {
    let (server, dir) = on_disk().await;
    let ada = server.store_fresh_grant(0).await;
    assert_eq!(server.get(&format!("/people/{ada}/token")).await.status, 200);
    tamper(dir.path(), &ada);
    assert_eq!(server.get(&format!("/people/{ada}/token")).await.status, 200, "the grant is alive");
    let (mut stream, _) =
        EventStream::open(server.request(AccessPath::Control, Method::GET, "/events")).await;
    let path = format!("/people/{ada}/refresh");
    let answer = server.send(AccessPath::Control, Method::POST, &path, Some(json!({"force": true}))).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "consent_needed"), "{answer:?}");
    must_consent(&server, Method::GET, &format!("/people/{ada}/token")).await;
    assert_eq!(stream.person(&ada).await["state"], "consent_needed");
}
