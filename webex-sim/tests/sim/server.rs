//! The server around the model.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use webex_sim::{Settings, Sim};

use crate::client::{Client, client, http, status_and_json, text};

#[tokio::test]
async fn counters_see_how_many_calls_overlap() {
    let c = client(Settings { latency: Duration::from_millis(500), ..Settings::default() }).await;
    let (ada, grace) = (c.mint(0), c.mint(1));
    tokio::join!(c.refresh(&ada.refresh_token), c.refresh(&grace.refresh_token));
    let counters = c.sim.with(|webex| webex.counters());
    assert_eq!((counters.most_in_flight, counters.most_in_flight_for_one_token), (2, 1));
    tokio::join!(
        c.refresh(&ada.refresh_token),
        c.refresh(&ada.refresh_token),
        c.refresh(&grace.refresh_token)
    );
    let counters = c.sim.with(|webex| webex.counters());
    assert_eq!((counters.most_in_flight, counters.most_in_flight_for_one_token), (3, 2));
    assert_eq!(counters.in_flight, 0);
    assert_eq!(counters.tokens.iter().map(|token| token.most_in_flight).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(counters.people[0].starts_ms.len(), 3);
    assert_eq!(counters.calls.access_token, 5);
}

#[tokio::test]
async fn calls_one_after_another_never_overlap() {
    let c = client(Settings::default()).await;
    let token = c.mint(0).refresh_token;
    for _ in 0..500 {
        assert_eq!(c.refresh(&token).await.0, 200);
    }
    assert_eq!(c.sim.with(|webex| webex.counters()).most_in_flight, 1);
}

#[tokio::test]
async fn tls_serves_both_protocols_to_who_trusts_its_authority() {
    let settings = Settings::default();
    let sim = Sim::start_on((Ipv4Addr::LOCALHOST, 0).into(), true, settings).await.unwrap();
    let ca = reqwest::Certificate::from_pem(sim.ca_pem().unwrap().as_bytes()).unwrap();
    let trusting = || http().tls_certs_only([ca.clone()]);
    let now_ms = sim.now_ms();
    let tokens = sim.with(|webex| webex.mint(now_ms, 0));
    for (client, version) in [
        (trusting().build().unwrap(), reqwest::Version::HTTP_2),
        (trusting().http1_only().build().unwrap(), reqwest::Version::HTTP_11),
    ] {
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("{}/people/me", sim.base_url()).replace("127.0.0.1", host);
            let answer = client.get(url).bearer_auth(&tokens.access_token).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        }
    }
    let stranger = http().tls_certs_only([]).build().unwrap();
    assert!(stranger.get(sim.base_url()).send().await.is_err());
}

#[tokio::test]
async fn a_dropped_simulator_is_gone_and_its_port_is_free() {
    let c = client(Settings { latency: Duration::from_secs(60), ..Settings::default() }).await;
    let address = c.sim.address();
    let call = c.refresh_call(&c.mint(0).refresh_token).send();
    let Client { sim, .. } = c;
    let stop = async {
        while sim.with(|webex| webex.counters()).in_flight == 0 {
            tokio::task::yield_now().await;
        }
        sim.stop().await;
    };
    assert!(tokio::join!(call, stop).0.is_err());
    Sim::start_on(address, false, Settings::default()).await.unwrap();
}

#[tokio::test]
async fn it_stays_on_loopback() {
    let everywhere: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    assert!(Sim::start_on(everywhere, false, Settings::default()).await.is_err());
}

#[tokio::test]
async fn unknown_paths_methods_and_giant_bodies_are_refused() {
    let c = client(Settings::default()).await;
    assert_eq!(c.get("/nothing").send().await.unwrap().status(), 404);
    assert_eq!(c.get("/access_token").send().await.unwrap().status(), 405);
    let giant = c.post("/access_token").body(vec![b'a'; 2 << 20]).send().await;
    assert!(giant.map_or(true, |answer| answer.status() == 413));
}

async fn steer(c: &Client, word: &str, body: Value) -> (u16, Value) {
    let url = c.sim.base_url().replace("/v1", &format!("/sim/{word}"));
    status_and_json(c.http.post(url).json(&body).send().await.unwrap()).await
}

#[tokio::test]
async fn other_processes_can_steer_it() {
    let c = client(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    let look = |word: &str| c.http.get(c.sim.base_url().replace("/v1", &format!("/sim/{word}"))).send();
    let (_, people) = status_and_json(look("people").await.unwrap()).await;
    assert_eq!(text(&people[0], "email"), "ada@example.com");
    let (_, minted) = steer(&c, "mint", json!({"person": 0})).await;
    assert_eq!(minted["id"], people[0]["id"]);
    let token = text(&minted, "refresh_token");

    let rule =
        json!({"on": "access_token", "person": 0, "times": 1, "kind": "too_many429", "retry_after": "7"});
    assert_eq!(steer(&c, "fault", rule).await.0, 200);
    assert_eq!(c.refresh(token).await.0, 429);
    assert_eq!(c.refresh(token).await.0, 200);
    assert_eq!(steer(&c, "fault", json!({"kind": "unavailable"})).await.0, 200);
    assert_eq!(c.refresh(token).await.0, 503);
    assert_eq!(steer(&c, "clear", json!({})).await.0, 200);
    let before = c.sim.now_ms();
    assert_eq!(steer(&c, "advance", json!({"seconds": 3600})).await.0, 200);
    assert!(c.sim.now_ms() >= before + 3_600_000);
    assert_eq!(steer(&c, "revoke", json!({"person": 0})).await.0, 200);
    assert_eq!(c.refresh(token).await.0, 400);

    let (_, counters) = status_and_json(look("counters").await.unwrap()).await;
    let expected = json!({"attempts": 4, "renewed": 1, "unchanged": 0, "refused": 1, "faulted": 2});
    assert_eq!((&counters["refreshes"], &counters["people"][0]["refreshes"]), (&expected, &expected));
    for (word, body) in [
        ("fault", json!({"kind": "bad temper"})),
        ("fault", json!({"kind": "unavailable", "status": 5})),
        ("advance", json!({"seconds": -1})),
        ("revoke", json!({"person": 99})),
    ] {
        assert_eq!(steer(&c, word, body).await.0, 400, "{word}");
    }
    assert_eq!(steer(&c, "nothing", json!({})).await.0, 404);
}
