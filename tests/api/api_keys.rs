//! API keys: creating, listing and revoking them over the API.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use super::harness::AccessPath;
use super::harness::ApiServer;

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let server = ApiServer::new().await;
    let id = server.store_fresh_grant(0).await;
    let asked =
        json!({"name": "flow", "can": ["refresh", "read"], "persons": ["ada@example.com"], "days": 30});
    let made = server.send(AccessPath::Control, Method::POST, "/keys", Some(asked.clone())).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert!(made["secret"].as_str().unwrap().starts_with("wtk_"));
    assert_eq!(made["key"]["persons"], json!([id.as_str()]));
    assert_eq!(made["key"]["can"], json!(["read", "refresh"]));
    assert!(made["key"]["expires_at"].is_string());
    let list = server.get("/keys").await;
    assert_eq!(list.json()["keys"], json!([made["key"]]));
    assert!(!list.text.contains(made["secret"].as_str().unwrap()));
    let again = server.send(AccessPath::Control, Method::POST, "/keys", Some(asked)).await;
    assert_eq!((again.status, again.code().as_str()), (409, "taken"));
    let least =
        server.send(AccessPath::Control, Method::POST, "/keys", Some(json!({"name": "least"}))).await.json();
    assert_eq!((&least["key"]["can"], &least["key"]["persons"]), (&json!(["read"]), &Value::Null));
}

#[tokio::test]
async fn keys_are_listed_in_pages_although_some_are_revoked_and_created_meanwhile() {
    let server = ApiServer::new().await;
    // Some of them are created in the same millisecond. The name decides then.
    for name in ["one", "two", "three", "four", "five"] {
        let made =
            server.send(AccessPath::Control, Method::POST, "/keys", Some(json!({ "name": name }))).await;
        assert_eq!(made.status, 201);
    }
    let names = |list: &Value| -> Vec<String> {
        list["keys"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = names(&server.get("/keys").await.json());
    let first = server.get("/keys?limit=2").await.json();
    assert_eq!(names(&first), all[..2]);
    for gone in &all[1..3] {
        assert_eq!(
            server.send(AccessPath::Control, Method::DELETE, &format!("/keys/{gone}"), None).await.status,
            204
        );
    }
    let path = format!("/keys?limit=2&after={}", first["next"].as_str().unwrap());
    let last = server.get(&path).await.json();
    assert_eq!((names(&last), &last["next"]), (all[3..].to_vec(), &Value::Null));
    for wrong in ["/keys?limit=0", "/keys?limit=1001", "/keys?after=x", "/keys?page=2"] {
        assert_eq!(server.get(wrong).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_recorded() {
    let server = ApiServer::new().await;
    let key = server.create_key_with_right("read").await;
    assert_eq!(server.get("/keys").await.json()["keys"][0]["last_used_at"], Value::Null);
    assert_eq!(server.send(AccessPath::Key(&key), Method::GET, "/people", None).await.status, 200);
    let noted = async {
        while server.get("/keys").await.json()["keys"][0]["last_used_at"].is_null() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noted).await.expect("the use is not recorded");
}

#[tokio::test]
async fn a_key_lifetime_in_days_may_be_any_json_form_of_a_whole_number() {
    let server = ApiServer::new().await;
    for (name, days) in [("a", "9"), ("b", "9.0"), ("c", "0.9e1")] {
        let asked: Value = serde_json::from_str(&format!(r#"{{"name":"{name}","days":{days}}}"#)).unwrap();
        let made = server.send(AccessPath::Control, Method::POST, "/keys", Some(asked)).await;
        assert!(made.status == 201 && made.json()["key"]["expires_at"].is_string(), "{days}: {made:?}");
    }
}

#[tokio::test]
async fn a_missing_person_list_means_all_and_an_empty_one_is_refused() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    for (list, asked) in [
        ("persons", json!({"name": "empty", "persons": []})),
        ("persons", json!({"name": "empty", "persons": null})),
        ("can", json!({"name": "empty", "can": []})),
        ("can", json!({"name": "empty", "can": null})),
    ] {
        let refused = server.send(AccessPath::Control, Method::POST, "/keys", Some(asked.clone())).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, "bad_request"), "{asked}: {refused:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(list) && detail.contains("leave"), "{asked}: {detail}");
    }
    assert_eq!(server.get("/keys").await.json()["keys"], json!([]), "a key was created");
    let all =
        server.send(AccessPath::Control, Method::POST, "/keys", Some(json!({"name": "all"}))).await.json();
    assert_eq!((&all["key"]["can"], &all["key"]["persons"]), (&json!(["read"]), &Value::Null));
}
