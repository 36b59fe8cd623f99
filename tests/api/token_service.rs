//! `GET /api/token`: responses for clients of the token service sample, and for all others.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::TokenShape;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;

use super::harness::ApiServer;
use super::harness::JsonResponse;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::process_logs;
use crate::support::time::DAY;

const PHRASE: &str = "a phrase that is long enough";
const ORG: &str = "1eb65fdf-9643-417f-9974-ad72cae0e10f";
const FROM: &str = "the flow";

async fn server_with(settings: Settings, org: &str, from: &str, source: &str) -> ApiServer {
    let variables = [("PASSPHRASE", PHRASE), ("ORG_ID", org), ("FROM", from), ("SOURCE_IP", source)];
    ApiServer::with_settings(settings, &variables).await
}

async fn server() -> ApiServer {
    server_with(Settings::default(), ORG, FROM, "127.0.0.0/8").await
}

type Headers<'a> = [(&'a str, &'a str)];

const RIGHT: [(&str, &str); 3] = [("X-Organization-Id", ORG), ("X-From", FROM), ("X-Api-Phrase", PHRASE)];

async fn get_token(server: &ApiServer, method: Method, path: &str, headers: &Headers<'_>) -> JsonResponse {
    let request = server.client().build().unwrap().request(method, server.page_url(path));
    let with = |request: reqwest::RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
    JsonResponse::read(headers.iter().fold(request, with).send().await.unwrap()).await
}

async fn get(server: &ApiServer, headers: &Headers<'_>) -> JsonResponse {
    get_token(server, Method::GET, "/api/token", headers).await
}

/// The id of the person whose token the response has.
async fn person_id_of(server: &ApiServer, headers: &Headers<'_>) -> String {
    let token = get(server, headers).await.json()["access_token"].as_str().unwrap().to_owned();
    for person in server.get("/people").await.json()["people"].as_array().unwrap() {
        let id = person["person_id"].as_str().unwrap();
        let theirs = server.get(&format!("/people/{id}/token")).await.json();
        if theirs["access_token"] == token.as_str() {
            return id.to_owned();
        }
    }
    panic!("the token belongs to no person");
}

fn malformed(answer: &JsonResponse) {
    assert_eq!((answer.status, answer.text.as_str()), (400, r#"{"error":"Malformed Request"}"#));
    assert_eq!(answer.header("content-type"), "application/json");
}

fn no_such_person(answer: &JsonResponse) {
    assert_eq!((answer.status, answer.text.as_str()), (409, r#"{"error":"Consent Needed"}"#));
}

#[tokio::test]
async fn the_response_has_the_samples_fields_with_a_whole_token_and_no_refresh_token() {
    let server = server().await;
    server.store_grant(0, Duration::from_secs(3600), |_| {}).await;
    let answer = get(&server, &RIGHT).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
    let record = answer.json();
    let fields: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "id",
        "org_id",
        "cluster_id",
        "access_token",
        "expires_in",
        "refresh_token_expires_in",
        "token_type",
        "createdAt",
        "updatedAt",
    ];
    expected.sort_unstable();
    let mut fields = fields;
    fields.sort_unstable();
    assert_eq!(fields, expected);
    let token = server.get("/people/ada@example.com/token").await.json();
    assert_eq!((&record["id"], &record["access_token"]), (&json!(1), &token["access_token"]));
    assert_eq!((&record["org_id"], &record["cluster_id"]), (&json!(ORG), &json!("PF84")));
    let left = |name: &str| record[name].as_u64().unwrap();
    assert!((14 * 86_400 - 3700..=14 * 86_400 - 3600).contains(&left("expires_in")));
    assert!((90 * 86_400 - 3700..=90 * 86_400 - 3600).contains(&left("refresh_token_expires_in")));
    assert_eq!(record["token_type"], "Bearer");
    for name in ["createdAt", "updatedAt"] {
        let date = record[name].as_str().unwrap();
        assert!(date.len() == 24 && date.ends_with('Z') && date.as_bytes()[19] == b'.', "{date}");
    }
    assert!(!server.sim.with(|webex| webex.secrets_issued()).iter().any(|secret| {
        *secret != token["access_token"].as_str().unwrap() && answer.text.contains(secret.as_str())
    }));
}

#[tokio::test]
async fn every_wrong_request_gets_the_same_response() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    malformed(&get(&server, &[]).await);
    for at in 0..3 {
        let mut wrong = RIGHT;
        wrong[at].1 = "wrong";
        malformed(&get(&server, &wrong).await);
        let missing: Vec<_> = RIGHT.into_iter().filter(|header| *header != RIGHT[at]).collect();
        malformed(&get(&server, &missing).await);
        let twice: Vec<_> = RIGHT.into_iter().chain([RIGHT[at]]).collect();
        malformed(&get(&server, &twice).await);
    }
    assert_eq!(get(&server, &RIGHT).await.status, 200);
    let log = process_logs();
    assert!(log.contains("GET /api/token 400"));
    assert!(!log.contains(PHRASE));
}

#[tokio::test]
async fn only_the_address_of_the_connection_is_checked() {
    let server = server_with(Settings::default(), ORG, FROM, "10.0.0.0/8,::1").await;
    server.store_fresh_grant(0).await;
    let forwarded = [&RIGHT[..], &[("X-Forwarded-For", "10.0.0.1"), ("Forwarded", "for=10.0.0.1")]].concat();
    malformed(&get(&server, &RIGHT).await);
    malformed(&get(&server, &forwarded).await);
}

#[tokio::test]
async fn without_a_configured_phrase_the_route_does_not_exist() {
    let server = ApiServer::new().await;
    server.store_fresh_grant(0).await;
    assert_eq!(get(&server, &RIGHT).await.status, 404);
    assert_eq!(get(&server, &[]).await.status, 404);
}

#[tokio::test]
async fn path_and_method_are_matched_as_leniently_as_by_the_sample() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    let accept = [&RIGHT[..], &[("Accept", "text/html"), ("Content-Type", "text/plain")]].concat();
    let length = get(&server, &accept).await.header("content-length").to_owned();
    for path in ["/api/token", "/api/token/", "/API/TOKEN", "/api/token?x=1"] {
        assert_eq!(get_token(&server, Method::GET, path, &RIGHT).await.status, 200, "{path}");
        let head = get_token(&server, Method::HEAD, path, &RIGHT).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-length").len(), length.len(), "{path}");
    }
    assert_eq!(get_token(&server, Method::POST, "/api/token", &RIGHT).await.status, 405);
    for path in ["/api/tokens", "/api/token/x", "/api"] {
        assert_eq!(get_token(&server, Method::GET, path, &RIGHT).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_address_in_from_selects_that_person_and_other_words_the_first_person() {
    let mut people = Person::some(3);
    people[0].org_id = Person::numbered(0).org_id.replace('a', "b");
    people[0].org_uuid = "00000000-0000-0000-0000-000000000000".to_owned();
    let settings = || Settings { people: people.clone(), ..Settings::default() };
    let senders = [
        (FROM, Some(1)),
        ("not an address", Some(1)),
        ("Katherine@example.com", Some(2)),
        ("admin@webexcc.com", None),
        // A person of another organization.
        ("ada@example.com", None),
    ];
    let orgs = [ORG, people[1].org_id.as_str()];
    for (org, (from, expected)) in orgs.into_iter().flat_map(|org| senders.map(|sender| (org, sender))) {
        let server = server_with(settings(), org, from, "127.0.0.1").await;
        let headers = [("X-Organization-Id", org), ("X-From", from), ("X-Api-Phrase", PHRASE)];
        server.store_fresh_grant(0).await;
        let early = get(&server, &headers).await;
        if from.contains('@') {
            no_such_person(&early)
        } else {
            malformed(&early)
        }
        for index in [1, 2] {
            server.store_fresh_grant(index).await;
        }
        let Some(expected) = expected else {
            no_such_person(&get(&server, &headers).await);
            continue;
        };
        let found = [person_id_of(&server, &headers).await, person_id_of(&server, &headers).await];
        assert!(found.iter().all(|id| *id == people[expected].id), "{org} {from}");
    }
}

#[tokio::test]
async fn a_forgotten_person_named_in_from_is_not_replaced_by_another() {
    let server = server_with(Settings::default(), ORG, "grace@example.com", "127.0.0.0/8").await;
    let headers = [RIGHT[0], ("X-From", "grace@example.com"), RIGHT[2]];
    server.store_fresh_grant(0).await;
    let grace = server.store_fresh_grant(1).await;
    assert_eq!(person_id_of(&server, &headers).await, grace.as_str());
    server.services.refresher.forget(&grace).await.unwrap();
    no_such_person(&get(&server, &headers).await);
}

#[tokio::test]
async fn the_reason_of_a_refusal_is_logged_once_a_minute_and_hidden_from_the_caller() {
    let server = server_with(Settings::default(), ORG, "unknown@example.com", "127.0.0.0/8").await;
    server.store_fresh_grant(0).await;
    let right = [RIGHT[0], ("X-From", "unknown@example.com"), RIGHT[2]];
    capture_thread_logs();
    let refused = async |last: u8, headers: &Headers<'_>| {
        let client = server.client().local_address(IpAddr::from([127, 0, 0, last])).build().unwrap();
        let request = client.get(server.page_url("/api/token"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let status = request.send().await.unwrap().status().as_u16();
        let heard = captured_logs().into_iter().filter(|(level, _)| *level == log::Level::Info);
        (status, heard.map(|(_, text)| text).filter(|text| text.contains("/api/token")).collect::<Vec<_>>())
    };
    let wrong = [right[0], right[1], ("X-Api-Phrase", "another phrase")];
    let cases = [
        (
            right.to_vec(),
            409,
            "FROM names unknown@example.com, who has not consented, or does not belong to ORG_ID",
        ),
        (wrong.to_vec(), 400, "X-Api-Phrase is not PASSPHRASE"),
        (
            vec![("X-Organization-Id", "x"), ("X-From", "x"), right[2]],
            400,
            "X-Organization-Id is not ORG_ID, X-From is not FROM",
        ),
        (right[..2].to_vec(), 400, "x-api-phrase is missing"),
        ([&right[..], &right[..1]].concat(), 400, "x-organization-id is given more than once"),
    ];
    // Each request comes from a different address.
    for (last, (headers, status, why)) in (1..).zip(cases) {
        let line = format!("GET /api/token from 127.0.0.{last} was refused: {why}");
        assert_eq!(refused(last, &headers).await, (status, vec![line]));
        assert_eq!(refused(last, &headers).await, (status, vec![]), "logged again within a minute");
    }
}

#[tokio::test]
async fn the_next_person_follows_a_forgotten_first_person() {
    let server = server().await;
    let first = server.store_fresh_grant(0).await;
    let second = server.store_fresh_grant(1).await;
    assert_eq!(person_id_of(&server, &RIGHT).await, first.as_str());
    server.services.refresher.forget(&first).await.unwrap();
    assert_eq!(person_id_of(&server, &RIGHT).await, second.as_str());
    server.services.refresher.forget(&second).await.unwrap();
    malformed(&get(&server, &RIGHT).await);
}

#[tokio::test]
async fn a_token_of_another_shape_is_not_split() {
    let settings = Settings { token_shape: TokenShape::Jwt, ..Settings::default() };
    let server = server_with(settings, ORG, FROM, "127.0.0.1").await;
    server.store_fresh_grant(0).await;
    let record = get(&server, &RIGHT).await.json();
    assert_eq!((&record["org_id"], &record["cluster_id"]), (&json!(ORG), &Value::Null));
    assert!(record["access_token"].as_str().unwrap().len() > 2000);
}

fn dead(grant: &mut Grant) {
    grant.tokens.expires_at = grant.obtained_at + DAY * 13 - Duration::from_secs(1);
}

#[tokio::test]
async fn a_dead_token_is_refreshed_and_each_failure_has_its_own_status() {
    let settings = Settings { noop_window: Duration::ZERO, ..Settings::default() };
    let server = server_with(settings, ORG, FROM, "127.0.0.1").await;
    server.store_grant(0, DAY * 13, dead).await;
    let record = get(&server, &RIGHT).await.json();
    assert!(record["expires_in"].as_u64().unwrap() > 13 * 86_400, "{record}");
    assert_eq!(server.refreshes(), 1);
    server.store_grant(0, DAY * 13, dead).await;
    let kind = FaultKind::Unavailable { status: 503, html: true };
    server
        .sim
        .with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind }));
    let answer = get(&server, &RIGHT).await;
    assert_eq!((answer.status, answer.text.as_str()), (503, r#"{"error":"No Live Token"}"#));
    assert!((1..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    server.store_grant(0, DAY * 13, dead).await;
    server.sim.with(|webex| {
        webex.clear_faults();
        webex.revoke_person(0);
    });
    let answer = get(&server, &RIGHT).await;
    assert_eq!((answer.status, answer.text.as_str()), (409, r#"{"error":"Consent Needed"}"#));
}

#[tokio::test]
async fn a_throttled_caller_is_refused_even_with_the_right_phrase() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    // A request without a phrase does not count as a guess, however the requests differ.
    for n in 0..20 {
        malformed(&get(&server, &[RIGHT[0], ("X-From", &format!("sender {n}"))]).await);
    }
    let guesses: Vec<String> = (0..11).map(|n| format!("guess {n}")).collect();
    let guess = |n: usize| [RIGHT[0], RIGHT[1], (RIGHT[2].0, guesses[n].as_str())];
    for n in 0..10 {
        malformed(&get(&server, &guess(n)).await);
    }
    for headers in [guess(10), RIGHT] {
        let answer = get(&server, &headers).await;
        assert_eq!((answer.status, answer.text.as_str()), (429, r#"{"error":"Too Many Requests"}"#));
        assert!((1..=6).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    }
}

#[tokio::test]
async fn a_wrong_request_removes_no_grant() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    server.store_fresh_grant(1).await;
    let kept = async || server.get("/people").await.json()["people"].clone();
    assert_eq!(get(&server, &RIGHT).await.status, 200);
    let before = kept().await;
    for wrong in [("X-Organization-Id", "another"), ("X-From", "another"), ("X-Api-Phrase", "another")] {
        let headers = RIGHT.map(|right| if right.0 == wrong.0 { wrong } else { right });
        malformed(&get(&server, &headers).await);
        let others = RIGHT.into_iter().filter(|right| right.0 != wrong.0).collect::<Vec<_>>();
        malformed(&get(&server, &others).await);
    }
    assert_eq!(get_token(&server, Method::DELETE, "/api/token", &RIGHT).await.status, 405);
    assert_eq!(kept().await, before);
    assert_eq!(get(&server, &RIGHT).await.status, 200);
}

#[tokio::test]
async fn wrong_api_keys_and_wrong_phrases_are_throttled_separately() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    let client = server.client().build().unwrap();
    let wrong_key =
        async || client.get(server.url("/people")).bearer_auth("wtk_wrong").send().await.unwrap().status();
    while wrong_key().await != 429 {}
    assert_eq!(get(&server, &RIGHT).await.status, 200, "wrong keys of another client lock it out");
    let other = self::server().await;
    for n in 0..10 {
        let guess = format!("guess {n}");
        malformed(&get(&other, &[RIGHT[0], RIGHT[1], (RIGHT[2].0, &guess)]).await);
    }
    assert_eq!(get(&other, &RIGHT).await.status, 429);
    let first =
        other.client().build().unwrap().get(other.url("/people")).bearer_auth("wtk_wrong").send().await;
    assert_eq!(first.unwrap().status(), 401, "wrong phrases count as wrong keys");
}

#[tokio::test]
async fn a_client_that_repeats_one_wrong_phrase_locks_no_other_client_out() {
    let server = server().await;
    server.store_fresh_grant(0).await;
    for headers in [("X-Api-Phrase", "last year's phrase"), ("X-From", "another@example.com")] {
        let wrong = RIGHT.map(|right| if right.0 == headers.0 { headers } else { right });
        for _ in 0..30 {
            malformed(&get(&server, &wrong).await);
        }
        assert_eq!(get(&server, &RIGHT).await.status, 200, "{headers:?}");
    }
}
