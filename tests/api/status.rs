//! The status that monitoring reads.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use super::harness::AccessPath;
use super::harness::ApiServer;

#[tokio::test]
async fn status_counts_grants_by_state_and_shows_a_closed_breaker() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    server.store_fresh_grant(1).await;
    let status = server.get("/status").await.json();
    let people = json!({"fresh": 2, "due": 0, "retrying": 0, "consent_needed": 0, "consent_ending": 0, "or_more": false});
    assert_eq!(status["people"], people);
    let closed = json!({"state": "closed", "cause": null, "says": null, "since": null, "until": null});
    assert_eq!(status["breaker"], closed);
    assert_eq!((&status["store"], &status["ready"]), (&json!("ok"), &json!(true)));
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let started: jiff::Timestamp = status["started_at"].as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::now().duration_since(started).as_secs() < 600);
}

#[tokio::test]
async fn status_is_refused_to_a_key_that_is_limited_to_some_persons() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    let limited: Value = json!({"name": "limited", "can": ["read"], "persons": ["ada@example.com"]});
    let key = server.create_key(limited).await;
    let answer = server.send(AccessPath::Key(&key), Method::GET, "/status", None).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(server.send(AccessPath::Key(&key), Method::GET, "/people", None).await.status, 200);
}
