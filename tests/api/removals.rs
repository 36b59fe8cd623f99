//! Removing the grants of many persons over the API.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;

use super::harness::AccessPath;
use super::harness::ApiServer;

async fn forget(server: &ApiServer, body: Value) -> Vec<String> {
    let answer = server.send(AccessPath::Control, Method::POST, "/people/forget", Some(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let results = answer.json()["results"].as_array().unwrap().clone();
    results.iter().map(|result| result["outcome"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn many_persons_are_removed_by_id_or_address_with_an_outcome_each() {
    let server = ApiServer::new().await;
    let (ada, grace) = (server.store_fresh_grant(0).await, server.store_fresh_grant(1).await);
    let asked = json!({ "persons": ["ada@example.com", grace.as_str(), "eve@example.com", "unknown"] });
    assert_eq!(forget(&server, asked).await, ["forgotten", "forgotten", "unknown", "unknown"]);
    assert_eq!(server.get("/people").await.json()["people"], json!([]));
    for gone in [ada, grace] {
        assert_eq!(
            server.get(&format!("/people/{}/token", gone.as_str())).await.status,
            404,
            "not even from the cache"
        );
    }
}

#[tokio::test]
async fn with_a_state_only_grants_in_this_state_are_removed() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let refused = |grant: &mut Grant| grant.status = GrantStatus::ConsentNeeded;
    let grace = server.store_grant(1, Duration::from_secs(60), refused).await;
    let asked = json!({ "persons": [ada.as_str(), grace.as_str(), "unknown"], "state": "consent_needed" });
    assert_eq!(forget(&server, asked).await, ["kept", "forgotten", "unknown"]);
    assert_eq!(server.get("/people").await.json()["people"][0]["person_id"], ada.as_str());
}

#[tokio::test]
async fn wrong_requests_and_keys_remove_no_grant() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let many: Vec<String> = (0..201).map(|number| format!("p{number}")).collect();
    for wrong in [
        json!({}),
        json!({ "persons": [] }),
        json!({ "persons": many }),
        json!({ "persons": [ada.as_str(), "Ada Lovelace"] }),
        json!({ "persons": [ada.as_str()], "state": "dead" }),
        json!({ "persons": [ada.as_str()], "all": true }),
    ] {
        let answer =
            server.send(AccessPath::Control, Method::POST, "/people/forget", Some(wrong.clone())).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{wrong}");
    }
    let limited =
        server.create_key(json!({ "name": "limited", "can": ["admin"], "persons": [ada.as_str()] })).await;
    for key in [server.create_key_with_right("refresh").await, limited] {
        let asked = json!({ "persons": [ada.as_str()] });
        let answer = server.send(AccessPath::Key(&key), Method::POST, "/people/forget", Some(asked)).await;
        assert_eq!(answer.status, 403);
    }
    assert_eq!(server.get("/people").await.json()["people"].as_array().unwrap().len(), 1);
}
