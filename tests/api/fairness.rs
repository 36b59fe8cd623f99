//! Limits on one key: how many refreshes it may cause, and none at the expense of another key.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::timeout;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::grant::Grant;

use super::harness::AccessPath;
use super::harness::ApiServer;
use super::harness::JsonResponse;
use crate::support::time::DAY;

const PERSONS: usize = 30;

/// The value of `EVENT_LOOP_MAX_PER_SECOND`.
const RATE: &str = "8";

/// What a key may cause at once at this rate, and in each second from then on.
const BURST: usize = 8;
const SUSTAINED: usize = 2;

/// So high that a key's share of it limits nothing here.
const CONCURRENCY: (&str, &str) = ("EVENT_LOOP_CONCURRENCY", "128");

fn dead(grant: &mut Grant) {
    grant.tokens.expires_at = grant.obtained_at + DAY * 13 - Duration::from_secs(1);
}

/// The token lives for half a minute.
fn dying(grant: &mut Grant) {
    grant.tokens.expires_at = grant.obtained_at + DAY * 13 + Duration::from_secs(30);
}

/// Persons as `change` leaves them; the last one belongs to the other key.
async fn server(change: fn(&mut Grant)) -> ApiServer {
    let people = (0..=PERSONS).map(Person::numbered).collect();
    let settings = Settings { people, noop_window: Duration::ZERO, ..Settings::default() };
    let server =
        ApiServer::with_settings(settings, &[("EVENT_LOOP_MAX_PER_SECOND", RATE), CONCURRENCY]).await;
    for index in 0..=PERSONS {
        server.store_grant(index, DAY * 13, change).await;
    }
    server
}

fn id(index: usize) -> String {
    Person::numbered(index).id
}

/// A key for the persons in this range.
async fn key_for(server: &ApiServer, name: &str, persons: std::ops::Range<usize>) -> String {
    let persons: Vec<String> = persons.map(id).collect();
    server.create_key(json!({"name": name, "can": ["read", "refresh"], "persons": persons})).await
}

/// Reads the tokens of all persons of the busy key at once. `refused` is notified as soon as the key is over its
/// budget.
async fn read_all_at_once(
    server: &ApiServer,
    key: &str,
    (method, rest): (&Method, &str),
    refused: &Arc<Notify>,
) -> Vec<JsonResponse> {
    let (client, mut asked) = (server.client().build().unwrap(), JoinSet::new());
    for index in 0..PERSONS {
        let url = server.url(&format!("/people/{}{rest}", id(index)));
        let request = client.request(method.clone(), url).bearer_auth(key);
        let request = if *method == Method::POST { request.json(&json!({"force": true})) } else { request };
        let refused = refused.clone();
        asked.spawn(async move {
            let answer = JsonResponse::read(request.send().await.unwrap()).await;
            if answer.status == 429 {
                refused.notify_one();
            }
            answer
        });
    }
    asked.join_all().await
}

/// Asserts that the budget held, and that requests over it got a `Retry-After`. Returns how many were let through.
fn assert_within_budget(server: &ApiServer, answers: &[JsonResponse], took: Duration) -> usize {
    let over: Vec<&JsonResponse> = answers.iter().filter(|answer| answer.status != 200).collect();
    for answer in &over {
        assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"), "{answer:?}");
        assert!((1..=30).contains(&answer.header("retry-after").parse::<u32>().unwrap()), "{answer:?}");
        assert!(answer.text.contains("refreshes"), "{answer:?}");
    }
    let most = BURST + SUSTAINED * (usize::try_from(took.as_secs()).unwrap() + 1);
    assert!(server.refreshes() <= most as u64, "{} refreshes in {took:?}", server.refreshes());
    answers.len() - over.len()
}

/// One key sends this request for all its persons at once. As soon as it is over its budget, another key sends one.
/// Asserts that the budget held and that the other key did not wait. Returns the other key's response.
async fn answer_beside_busy_key(
    server: &ApiServer,
    (method, rest): (Method, &str),
    body: Option<Value>,
) -> JsonResponse {
    let (busy, neighbour) =
        (key_for(server, "busy", 0..PERSONS).await, key_for(server, "other", PERSONS..PERSONS + 1).await);
    let (begun, refused) = (Instant::now(), Arc::new(Notify::new()));
    let flood = async {
        let answers = read_all_at_once(server, &busy, (&method, rest), &refused).await;
        (assert_within_budget(server, &answers, begun.elapsed()), answers.len())
    };
    let path = format!("/people/{}{rest}", id(PERSONS));
    let beside = async {
        refused.notified().await;
        let begun = Instant::now();
        (server.send(AccessPath::Key(&neighbour), method.clone(), &path, body).await, begun.elapsed())
    };
    let ((accepted, all), (answer, waited)) = tokio::join!(flood, beside);
    assert!((BURST..all).contains(&accepted), "{accepted} were let through");
    assert!(waited < Duration::from_secs(3), "it waited for {waited:?}");
    answer
}

#[tokio::test]
async fn a_key_that_forces_refreshes_leaves_room_for_others() {
    let server = server(|_| {}).await;
    let body = Some(json!({"force": true}));
    let answer = answer_beside_busy_key(&server, (Method::POST, "/refresh"), body.clone()).await;
    assert_eq!((answer.status, answer.json()["outcome"].as_str()), (200, Some("renewed")));
    // Requests over the control socket have no budget.
    for index in 0..BURST {
        let path = format!("/people/{}/refresh", id(PERSONS - 1 - index));
        assert_eq!(server.send(AccessPath::Control, Method::POST, &path, body.clone()).await.status, 200);
    }
}

/// Webex hangs for the persons of one key: its refreshes start quickly, but occupy their slots for 40 seconds.
#[tokio::test]
async fn a_key_whose_refreshes_hang_leaves_slots_for_others() {
    hang_for_one_key(&Method::POST, "/refresh").await;
    hang_for_one_key(&Method::GET, "/token").await;
}

async fn hang_for_one_key(method: &Method, rest: &str) {
    let people = (0..=PERSONS).map(Person::numbered).collect();
    let settings = Settings { people, noop_window: Duration::ZERO, ..Settings::default() };
    let limits = [("EVENT_LOOP_MAX_PER_SECOND", "0"), ("EVENT_LOOP_CONCURRENCY", "8")];
    let server = ApiServer::with_settings(settings, &limits).await;
    for index in 0..=PERSONS {
        server.store_grant(index, DAY * 13, dead).await;
    }
    for person in 0..PERSONS {
        let fault =
            Fault { on: Endpoint::AccessToken, person: Some(person), times: None, kind: FaultKind::Hang };
        server.sim.with(|webex| webex.fault(fault));
    }
    let busy = key_for(&server, "busy", 0..PERSONS).await;
    let neighbour = key_for(&server, "other", PERSONS..PERSONS + 1).await;
    let (client, mut asked) = (server.client().build().unwrap(), JoinSet::new());
    let ask = |index: usize, key: &str| {
        let url = server.url(&format!("/people/{}{rest}", id(index)));
        let request = client.request(method.clone(), url).bearer_auth(key);
        if method == Method::POST { request.json(&json!({"force": true})) } else { request }
    };
    for index in 0..PERSONS {
        let request = ask(index, &busy);
        asked.spawn(async move { JsonResponse::read(request.send().await.unwrap()).await });
    }
    // Two of eight slots are a quarter.
    for _ in 2..PERSONS {
        let answer = asked.join_next().await.unwrap().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), "2", "{answer:?}");
    }
    let begun = Instant::now();
    let answer = JsonResponse::read(ask(PERSONS, &neighbour).send().await.unwrap()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "it waited for {:?}", begun.elapsed());
    // A slot is occupied until the refresh has ended, even if no request waits for it.
    asked.abort_all();
    while asked.join_next().await.is_some() {}
    let mut refused = 0;
    for index in 0..PERSONS {
        let answer = timeout(Duration::from_secs(1), ask(index, &busy).send()).await;
        refused += usize::from(answer.is_ok_and(|answer| answer.unwrap().status() == 429));
    }
    assert_eq!(refused, PERSONS - 2, "two continue");
}

#[tokio::test]
async fn skipped_refreshes_do_not_count_against_a_key() {
    let server = ApiServer::with_settings(Settings::default(), &[("EVENT_LOOP_MAX_PER_SECOND", "1")]).await;
    server.store_fresh_grant(0).await;
    let key = server.create_key_with_right("refresh").await;
    for _ in 0..30 {
        let answer =
            server.send(AccessPath::Key(&key), Method::POST, "/people/ada@example.com/refresh", None).await;
        assert_eq!((answer.status, answer.json()["outcome"].as_str()), (200, Some("skipped")));
    }
}

#[tokio::test]
async fn a_key_that_reads_many_dead_tokens_leaves_room_for_others() {
    let server = server(dead).await;
    let answer = answer_beside_busy_key(&server, (Method::GET, "/token"), None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_key_over_its_budget_gets_the_stored_live_token() {
    let server = server(dying).await;
    let busy = key_for(&server, "busy", 0..PERSONS).await;
    let begun = Instant::now();
    let answers = read_all_at_once(&server, &busy, (&Method::GET, "/token"), &Arc::default()).await;
    assert_eq!(assert_within_budget(&server, &answers, begun.elapsed()), PERSONS, "each has a live token");
    let noted = answers.iter().filter(|answer| answer.json()["note"].is_string()).count();
    assert!(noted >= PERSONS / 2, "{noted} have a warning");
    // Reads that need no refresh are free.
    let client = server.client().build().unwrap();
    for _ in 0..100 {
        let request =
            client.get(server.url(&format!("/people/{}/token?min_ttl=0", id(0)))).bearer_auth(&busy);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn imports_of_a_key_are_limited_and_the_operators_go_on_beside_them() {
    let latency = Duration::from_millis(500);
    let settings =
        Settings { latency, people: (0..20).map(Person::numbered).collect(), ..Settings::default() };
    let limits = [("EVENT_LOOP_MAX_PER_SECOND", "0"), ("EVENT_LOOP_CONCURRENCY", "8")];
    let server = ApiServer::with_settings(settings, &limits).await;
    let now = server.sim.now_ms();
    let tokens: Vec<String> =
        (0..20).map(|person| server.sim.with(|webex| webex.mint(now, person)).refresh_token).collect();
    let key = server.create_key_with_right("admin").await;
    let (client, mut asked) = (server.client().build().unwrap(), JoinSet::new());
    for token in &tokens[..10] {
        let request = client.post(server.url("/import")).bearer_auth(&key);
        let request = request.json(&json!({ "refresh_token": token }));
        asked.spawn(async move { JsonResponse::read(request.send().await.unwrap()).await.status });
    }
    let mut operator = JoinSet::new();
    for token in &tokens[10..14] {
        let request = server.request(AccessPath::Control, Method::POST, "/import");
        let request = request.json(&json!({ "refresh_token": token }));
        operator.spawn(async move { JsonResponse::read(request.send().await.unwrap()).await.json() });
    }
    let statuses = asked.join_all().await;
    let done = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=3).contains(&done), "a quarter of the places at once: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    let imported = operator.join_all().await;
    assert!(imported.iter().all(|imported| imported["outcome"] == "new"), "{imported:?}");
}
