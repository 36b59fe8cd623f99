//! Requests: paths, methods, queries, bodies, pages of lists.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use webex_tokend::domain::schedule::Schedule;

use super::harness::AccessPath;
use super::harness::ApiServer;
use super::harness::JsonResponse;
use crate::support::time::DAY;

#[tokio::test]
async fn a_person_is_shown_by_id_and_by_address_over_tls_and_socket() {
    let server = ApiServer::new().await;
    let id = server.store_fresh_grant(0).await;
    let key = server.create_key_with_right("read").await;
    let person = server.get(&format!("/people/{id}")).await.json();
    assert_eq!(person["person_id"], id.as_str());
    assert_eq!(person["email"], "ada@example.com");
    assert_eq!(person["display_name"], "Ada Lovelace");
    assert_eq!(person["state"], "fresh");
    assert_eq!(person["failures"], 0);
    assert_eq!(person["consent_url"], "https://localhost:8000/oauth?person=ada%40example.com");
    for path in ["/people/ada@example.com", "/people/ADA%40example.com"] {
        assert_eq!(server.get(path).await.json(), person, "{path}");
        assert_eq!(
            server.send(AccessPath::Key(&key), Method::GET, path, None).await.json(),
            person,
            "{path}"
        );
        assert_eq!(server.get_in_process(path).await, person, "{path}");
    }
}

#[tokio::test]
async fn lists_are_paged_and_filtered_by_state() {
    let server = ApiServer::new().await;
    for index in 0..5 {
        server.store_fresh_grant(index).await;
    }
    server.store_grant(5, DAY * 2, |grant| grant.next = Schedule::at(grant.obtained_at)).await;
    for (path, field) in [("/people?limit=4", "people"), ("/plan?limit=4", "people")] {
        let first = server.get(path).await.json();
        assert_eq!(first[field].as_array().unwrap().len(), 4);
        let after = first["next"].as_str().unwrap();
        let last = server.get(&format!("{path}&after={after}")).await.json();
        assert_eq!(last[field].as_array().unwrap().len(), 2);
        assert_eq!(last["next"], Value::Null);
        let ids: std::collections::BTreeSet<&str> = [&first, &last]
            .into_iter()
            .flat_map(|part| part[field].as_array().unwrap())
            .map(|person| person["person_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), 6);
    }
    assert_eq!(server.get("/people?limit=6").await.json()["next"], Value::Null);
    let due = server.get("/people?state=due").await.json();
    assert_eq!(due["people"].as_array().unwrap().len(), 1);
    assert_eq!(due["people"][0]["email"], "hedy@example.com");
    let fresh = server.get("/people?state=fresh&limit=3").await.json();
    let rest = format!("/people?state=fresh&limit=3&after={}", fresh["next"].as_str().unwrap());
    let rest = server.get(&rest).await.json();
    assert_eq!((rest["people"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));
    assert_eq!(server.get("/people?state=consent_needed").await.json()["people"], json!([]));
}

#[tokio::test]
async fn every_get_route_answers_head() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    let paths =
        ["/people", "/people/ada@example.com", "/people/ada@example.com/token", "/people/unknown", "/plan"];
    for path in paths {
        let get = server.get(path).await;
        let head = server.send(AccessPath::Control, Method::HEAD, path, None).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_ne!(head.header("content-length"), "0", "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let server = ApiServer::new().await;
    for (method, path, allow) in [
        (Method::POST, "/people", "GET, HEAD"),
        (Method::PUT, "/people/x", "GET, DELETE, HEAD"),
        (Method::GET, "/people/x/refresh", "POST"),
        (Method::HEAD, "/people/x/refresh", "POST"),
        (Method::OPTIONS, "/keys", "GET, POST, HEAD"),
        (Method::DELETE, "/people/forget", "POST"),
        (Method::PATCH, "/plan", "GET, HEAD"),
    ] {
        let answer = server.send(AccessPath::Control, method.clone(), path, None).await;
        assert_eq!((answer.status, answer.header("allow")), (405, allow), "{method} {path}");
        if method != Method::HEAD {
            assert_eq!(answer.code(), "method_not_allowed", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_unknown_people_have_different_problem_codes() {
    let server = ApiServer::new().await;
    for path in ["", "/", "/people/", "/people/x/y", "/nothing", "/people/x/token/", "//people"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{path}");
    }
    for path in ["/people/unknown", "/people/unknown@example.com/token", "/people/unknown/why"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_person"), "{path}");
    }
    let answer = server.send(AccessPath::Control, Method::DELETE, "/people/unknown", None).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "unknown_person"));
    let answer = server.send(AccessPath::Control, Method::DELETE, "/keys/none", None).await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn an_invalid_parameter_is_refused_and_named() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    for (path, named) in [
        ("/people?limit=0", "limit"),
        ("/people?limit=1001", "limit"),
        ("/people?limit=%2B5", "limit"),
        ("/people?limit=", "limit"),
        ("/people?limit=1&limit=2", "limit"),
        ("/people?state=well", "state"),
        ("/people?after=x", "after"),
        ("/people?after=ffffffffffffffff", "after"),
        ("/people?colour=red", "colour"),
        ("/people/ada@example.com?x=1", "x"),
        ("/people/ada@example.com/token?min_ttl=-1", "min_ttl"),
        ("/people/ada@example.com/token?min_ttl=31536001", "min_ttl"),
        ("/people/ada@example.com/token?min_ttl=1.5", "min_ttl"),
        ("/plan?days=0", "days"),
        ("/plan?days=3651", "days"),
        ("/people/%zz", "path"),
        ("/people/%ff", "path"),
        ("/people/a%20b", "person"),
        ("/people/@", "e-mail"),
        ("/openapi.json?x", "x"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_request"), "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{path}: {detail}");
    }
}

#[tokio::test]
async fn bodies_must_be_json_objects_with_known_fields() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    for (path, kind, body, status) in [
        ("/people/ada@example.com/refresh", "application/json", r#"{"force":false,"now":true}"#, 400),
        ("/people/ada@example.com/refresh", "application/json", r#"{"force":1}"#, 400),
        ("/people/ada@example.com/refresh", "application/json", r#"{"force":true,"force":true}"#, 400),
        ("/people/ada@example.com/refresh", "application/json", "[true]", 400),
        ("/people/ada@example.com/refresh", "application/json", "{", 400),
        ("/people/ada@example.com/refresh", "application/json", "null", 400),
        ("/people/ada@example.com/refresh", "text/plain", "{}", 415),
        ("/people/ada@example.com/refresh", "application/json; charset=utf-8", "{}", 200),
        ("/people/ada@example.com/refresh", "text/plain", "", 200),
        ("/keys", "application/json", "{}", 400),
        ("/keys", "application/json", r#"{"name":" x"}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","can":["write"]}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","can":["read,admin"]}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","days":0}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","days":1.5}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","days":-1}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","days":1e99}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","days":"9"}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","persons":["a b"]}"#, 400),
        ("/keys", "application/json", r#"{"name":"x","persons":["unknown@example.com"]}"#, 404),
    ] {
        let request =
            server.request(AccessPath::Control, Method::POST, path).header("content-type", kind).body(body);
        let answer = JsonResponse::read(request.send().await.unwrap()).await;
        assert_eq!(answer.status, status, "{path} {kind} {body}: {}", answer.text);
    }
    let long = json!({ "name": "x".repeat(65 * 1024) });
    let answer = server.send(AccessPath::Control, Method::POST, "/keys", Some(long)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "bad_request"));
    let answer =
        server.send(AccessPath::Control, Method::DELETE, "/people/ada@example.com", Some(json!({}))).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_forgotten_person_is_gone_at_once() {
    let server = ApiServer::new().await;
    let id = server.store_fresh_grant(0).await;
    assert_eq!(server.get("/people/ada@example.com/token").await.status, 200);
    let answer = server.send(AccessPath::Control, Method::DELETE, &format!("/people/{id}"), None).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(server.get("/people/ada@example.com/token").await.status, 404);
    assert_eq!(server.get(&format!("/people/{id}")).await.code(), "unknown_person");
}

#[tokio::test]
async fn why_explains_every_rule_and_plan_lists_the_times() {
    let server = ApiServer::new().await;
    server.store_grant(0, Duration::from_secs(3600), |_| {}).await;
    let why = server.get("/people/ada@example.com/why").await.json();
    let rules: Vec<&str> =
        why["rules"].as_array().unwrap().iter().map(|rule| rule["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["survival", "age", "noop_window", "floor", "retry", "breaker", "standing"]);
    assert_eq!(why["rules"][2]["refresh"], false);
    assert_eq!(why["next_refresh_at"], why["person"]["next_refresh_at"]);
    assert!(why["summary"].as_str().unwrap().starts_with("All is well"));
    let plan = server.get("/plan").await.json();
    assert_eq!((&plan["days"], &plan["people"][0]["refreshes"]), (&json!(90), &json!(86)));
    assert!(plan["people"][0]["consent_by"].is_string());
    let plan = server.get("/plan?days=1").await.json();
    assert_eq!(plan["people"][0]["consent_by"], Value::Null);
}
