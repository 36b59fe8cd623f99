//! Access rights: every route, over TLS and over the control socket.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use webex_tokend::api_keys::NewApiKey;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::http::api::surface;

use super::harness::AccessPath;
use super::harness::ApiServer;

/// For every route, a request that does not affect later ones.
fn harmless(method: &Method, pattern: &str) -> (String, Option<Value>) {
    let person = if method == Method::DELETE { "unknown" } else { "ada@example.com" };
    let body = match pattern {
        "/keys" => Some(json!({"name": ""})),
        "/logins" => Some(json!({"email": ""})),
        "/people/forget" => Some(json!({"persons": []})),
        _ => None,
    };
    let body = body.filter(|_| method == Method::POST);
    // A stream does not end, so this route gets an invalid request.
    let pattern = if pattern == "/events" { "/events?nothing" } else { pattern };
    (pattern.replace("{person}", person).replace("{name}", "nothing").replace("{id}", "nothing"), body)
}

/// The right that a route needs; `None` if any key will do. No key has the right `socket`.
fn right(method: &Method, pattern: &str) -> Option<&'static str> {
    match (method.as_str(), pattern) {
        (_, "/openapi.json") => None,
        (_, "/dashboard-links" | "/doctor") => Some("socket"),
        ("DELETE", _) | (_, "/keys" | "/logins" | "/logins/{id}" | "/import") => Some("admin"),
        ("POST", "/people/forget" | "/notices/test" | "/notices/{id}/resend") => Some("admin"),
        ("POST", _) => Some("refresh"),
        _ => Some("read"),
    }
}

#[tokio::test]
async fn every_route_needs_the_socket_or_a_key_with_its_right() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    let mut keys = Vec::new();
    for can in ["read", "refresh", "admin"] {
        keys.push((can, server.create_key_with_right(can).await));
    }
    for (method, pattern) in surface() {
        let (path, body) = harmless(method, pattern);
        let ask = async |way| server.send(way, method.clone(), &path, body.clone()).await;
        let control = ask(AccessPath::Control).await;
        assert!(![401, 403, 405].contains(&control.status), "{method} {path}: {control:?}");
        let anonymous = ask(AccessPath::NoKey).await;
        assert_eq!(
            (anonymous.status, anonymous.header("www-authenticate")),
            (401, "Bearer"),
            "{method} {path}"
        );
        assert_eq!(anonymous.code(), "unauthorized");
        for (can, key) in &keys {
            let answer = ask(AccessPath::Key(key)).await;
            let may = match right(method, pattern) {
                None => true,
                Some("socket") => false,
                Some(right) => right == *can || *can == "admin",
            };
            assert_eq!(answer.status == 403, !may, "{method} {path} {can}");
            assert!(!may || answer.status == control.status, "{method} {path} {can}");
            assert!(may || answer.code() == "forbidden", "{method} {path} {can}");
        }
    }
}

#[tokio::test]
async fn wrong_revoked_and_expired_keys_are_refused() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    let revoked = server.create_key(json!({"name": "revoked", "can": ["admin"]})).await;
    assert_eq!(server.send(AccessPath::Key(&revoked), Method::GET, "/people", None).await.status, 200);
    assert_eq!(server.send(AccessPath::Control, Method::DELETE, "/keys/revoked", None).await.status, 204);
    let life = Some(Duration::from_millis(1));
    let rights = Rights { admin: true, ..Rights::default() };
    let new = NewApiKey { name: "short".to_owned(), rights, persons: None, life };
    let expired = server.services.keys.create(new).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let wrong = format!("{}x", server.create_key_with_right("admin").await);
    for key in [revoked.as_str(), expired.expose(), &wrong] {
        for path in ["/people/ada@example.com/token", "/openapi.json", "/nothing"] {
            let answer = server.send(AccessPath::Key(key), Method::GET, path, None).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_for_one_person_sees_no_other_person_whether_stored_or_not() {
    let server = ApiServer::new().await;
    for index in 0..3 {
        server.store_fresh_grant(index).await;
    }
    let can = ["read", "refresh", "admin"];
    let key =
        server.create_key(json!({"name": "graces", "can": can, "persons": ["grace@example.com"]})).await;
    let way = AccessPath::Key(&key);
    assert_eq!(server.send(way, Method::GET, "/people/grace@example.com/token", None).await.status, 200);
    for person in ["ada@example.com", "unknown@example.com", "unknown"] {
        for (method, rest) in [
            (Method::GET, ""),
            (Method::GET, "/token"),
            (Method::GET, "/why"),
            (Method::POST, "/refresh"),
            (Method::DELETE, ""),
        ] {
            let answer = server.send(way, method.clone(), &format!("/people/{person}{rest}"), None).await;
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (403, "forbidden"),
                "{method} {person}{rest}"
            );
        }
    }
    for path in ["/people", "/plan"] {
        let list = server.send(way, Method::GET, path, None).await.json();
        assert_eq!(list["people"].as_array().unwrap().len(), 1, "{path}");
        assert_eq!(list["people"][0]["email"], "grace@example.com", "{path}");
    }
    // A restricted key with the right `admin` cannot list all persons.
    let all = json!({"name": "all", "can": ["admin"]});
    assert_eq!(server.send(way, Method::POST, "/keys", Some(all)).await.code(), "forbidden");
    assert_eq!(server.send(way, Method::GET, "/keys", None).await.code(), "forbidden");
    assert_eq!(server.send(way, Method::DELETE, "/keys/graces", None).await.code(), "forbidden");
    for path in ["/logins", "/import"] {
        assert_eq!(server.send(way, Method::POST, path, None).await.code(), "forbidden", "{path}");
    }
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_right_ones_are_not() {
    let server = ApiServer::new().await;
    let key = server.create_key_with_right("read").await;
    let client = server.client().build().unwrap();
    let show = async |key: &str| {
        let request = client.get(server.url("/people")).bearer_auth(key);
        super::harness::JsonResponse::read(request.send().await.unwrap()).await
    };
    for n in 0..10 {
        assert_eq!(show("wtk_wrong").await.status, 401, "{n}");
    }
    let slowed = show("wtk_wrong").await;
    assert_eq!((slowed.status, slowed.code().as_str()), (429, "too_many_requests"));
    assert!((1..=6).contains(&slowed.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(show(&key).await.status, 200);
    assert_eq!(server.send(AccessPath::NoKey, Method::GET, "/people", None).await.status, 401);
    for text in ["Basic YTpi", "Bearer", ""] {
        let request = client.get(server.url("/people")).header("authorization", text);
        assert_eq!(request.send().await.unwrap().status(), 429, "{text}");
    }
}
