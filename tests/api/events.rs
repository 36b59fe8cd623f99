//! The event stream: which events a client gets, for how long, and which it never gets.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Bytes;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::time::Instant;
use tokio::time::timeout;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::domain::person::PersonId;
use webex_tokend::events::RING_LEN;
use webex_tokend::http::api::Caller;
use webex_tokend::http::response::response_body::ResponseBody;

use super::event_client::Event;
use super::event_client::EventStream;
use super::event_client::event;
use super::harness::AccessPath;
use super::harness::ApiServer;
use crate::support::time::HANG_TIMEOUT;

async fn stream(server: &ApiServer, way: AccessPath<'_>) -> EventStream {
    EventStream::open(server.request(way, Method::GET, "/events")).await.0
}

async fn refresh(server: &ApiServer, person: &PersonId) -> Value {
    let asked = Some(json!({"force": true}));
    let path = format!("/people/{person}/refresh");
    server.send(AccessPath::Control, Method::POST, &path, asked).await.json()
}

async fn forget(server: &ApiServer, person: &PersonId) {
    let path = format!("/people/{person}");
    assert_eq!(server.send(AccessPath::Control, Method::DELETE, &path, None).await.status, 204);
}

#[tokio::test]
async fn refreshes_consents_and_removals_are_events_over_tls_and_socket() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let key = server.create_key_with_right("read").await;
    let old = server.request(AccessPath::Key(&key), Method::GET, "/events");
    let first_version =
        server.client().http1_only().build().unwrap().get(server.url("/events")).bearer_auth(&key);
    let mut streams = vec![
        EventStream::open(old).await.0,
        EventStream::open(first_version).await.0,
        stream(&server, AccessPath::Control).await,
    ];
    let refreshed = refresh(&server, &ada).await;
    for stream in &mut streams {
        assert_eq!(stream.person(&ada).await, refreshed["person"]);
    }
    let now_ms = server.sim.now_ms();
    let minted = server.sim.with(|webex| webex.mint(now_ms, 1));
    let asked = json!({"refresh_token": minted.refresh_token});
    let imported = server.send(AccessPath::Control, Method::POST, "/import", Some(asked)).await.json();
    let grace = PersonId::parse(imported["person"]["person_id"].as_str().unwrap()).unwrap();
    for stream in &mut streams {
        assert_eq!(stream.person(&grace).await["state"], "fresh");
    }
    forget(&server, &ada).await;
    for stream in &mut streams {
        let gone = stream.next().await;
        assert_eq!((gone.name.as_str(), gone.data), ("forgotten", json!({"person_id": ada.as_str()})));
    }
    assert_eq!(streams[0].response.version(), reqwest::Version::HTTP_2);
    assert_eq!(streams[1].response.version(), reqwest::Version::HTTP_11);
}

#[tokio::test]
async fn an_event_stream_contains_no_secret() {
    let server = ApiServer::without_refresh_floor().await;
    let ada = server.store_fresh_grant(0).await;
    let mut stream = stream(&server, AccessPath::Control).await;
    let mut secrets = Vec::new();
    for _ in 0..3 {
        refresh(&server, &ada).await;
        stream.person(&ada).await;
        let grant = server.services.cache.get(&ada).await.unwrap().unwrap();
        secrets.push(grant.tokens.access_token.clone());
        secrets.push(grant.tokens.refresh_token.clone());
    }
    for secret in secrets {
        assert!(!stream.text.contains(secret.expose()), "{}", stream.text);
    }
    assert!(!stream.text.contains("_token\""), "{}", stream.text);
}

#[tokio::test]
async fn a_reconnecting_client_gets_each_missed_person_once() {
    let server = ApiServer::without_refresh_floor().await;
    let (ada, grace, alan) = (
        server.store_fresh_grant(0).await,
        server.store_fresh_grant(1).await,
        server.store_fresh_grant(2).await,
    );
    let (mut first, _) = EventStream::open(server.request(AccessPath::Control, Method::GET, "/events")).await;
    refresh(&server, &ada).await;
    let seen = first.next().await;
    drop(first);
    for _ in 0..3 {
        refresh(&server, &grace).await;
    }
    let newest = refresh(&server, &grace).await["person"].clone();
    forget(&server, &alan).await;
    let again =
        |id: &str| server.request(AccessPath::Control, Method::GET, "/events").header("last-event-id", id);
    let (mut second, hello) = EventStream::open(again(&seen.id)).await;
    assert_eq!(hello.name, "");
    assert_eq!(second.person(&grace).await, newest);
    let last = second.next().await;
    assert_eq!(last.name, "forgotten");
    assert_ne!(seen.id, last.id);
    // The id can also be a parameter, for clients that cannot set the header at first.
    let path = format!("/events?since={}", seen.id);
    let (mut third, _) = EventStream::open(server.request(AccessPath::Control, Method::GET, &path)).await;
    assert_eq!(third.person(&grace).await, newest);
    // No event comes twice.
    let (mut fourth, _) = EventStream::open(again(&last.id)).await;
    refresh(&server, &ada).await;
    fourth.person(&ada).await;
}

#[tokio::test]
async fn an_unknown_event_id_tells_the_client_to_reload_everything() {
    let server = ApiServer::without_refresh_floor().await;
    let other = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    other.store_fresh_grant(0).await;
    let (_, elsewhere) = EventStream::open(other.request(AccessPath::Control, Method::GET, "/events")).await;
    let (_, hello) = EventStream::open(server.request(AccessPath::Control, Method::GET, "/events")).await;
    assert_eq!(hello.name, "");
    for id in [elsewhere.id.as_str(), "", "nonsense", &hello.id[1..], &"x".repeat(5000)] {
        let request = server.request(AccessPath::Control, Method::GET, "/events").header("last-event-id", id);
        let (mut stream, first) = EventStream::open(request).await;
        assert_eq!((first.name.as_str(), &first.data), ("reset", &json!({})), "{id}");
        refresh(&server, &ada).await;
        stream.person(&ada).await;
    }
    // The client is too far behind.
    for n in 0..=RING_LEN {
        server.services.cache.invalidate(&PersonId::parse(&format!("person-{n}")).unwrap());
    }
    let request =
        server.request(AccessPath::Control, Method::GET, "/events").header("last-event-id", &hello.id);
    let (_, first) = EventStream::open(request).await;
    assert_eq!(first.name, "reset");
    // All grants change while a client listens.
    let mut stream = stream(&server, AccessPath::Control).await;
    server.services.cache.invalidate_all();
    assert_eq!(stream.next().await.name, "reset");
}

#[tokio::test]
async fn a_key_for_one_person_gets_no_events_of_other_persons() {
    let server = ApiServer::new().await;
    let (ada, grace) = (server.store_fresh_grant(0).await, server.store_fresh_grant(1).await);
    let key =
        server.create_key(json!({"name": "graces", "can": ["read"], "persons": ["grace@example.com"]})).await;
    let mut stream = stream(&server, AccessPath::Key(&key)).await;
    refresh(&server, &ada).await;
    forget(&server, &ada).await;
    refresh(&server, &grace).await;
    stream.person(&grace).await;
    assert!(!stream.text.contains(ada.as_str()), "{}", stream.text);
}

#[tokio::test]
async fn a_stream_ends_at_once_when_its_key_is_revoked() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let (one, other) =
        (server.create_key_with_right("read").await, server.create_key_with_right("admin").await);
    let (stream, mut others) =
        (stream(&server, AccessPath::Key(&one)).await, stream(&server, AccessPath::Key(&other)).await);
    let begun = Instant::now();
    server.send(AccessPath::Control, Method::DELETE, "/keys/can%20read", None).await;
    stream.ends().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "the end was noticed only at a heartbeat");
    refresh(&server, &ada).await;
    others.person(&ada).await;
}

#[tokio::test]
async fn streams_end_with_the_daemon_and_do_not_delay_its_shutdown() {
    let server = ApiServer::new().await;
    let key = server.create_key_with_right("read").await;
    let streams = [stream(&server, AccessPath::Key(&key)).await, stream(&server, AccessPath::Control).await];
    let begun = Instant::now();
    server.services.tasks.stop();
    for stream in streams {
        stream.ends().await;
    }
    timeout(HANG_TIMEOUT, server.services.tasks.drained()).await.expect("the shutdown hangs");
    assert!(begun.elapsed() < Duration::from_secs(5), "the streams were interrupted, not ended");
}

#[tokio::test]
async fn opening_and_closing_of_the_breaker_are_events() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let mut stream = stream(&server, AccessPath::Control).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("60".to_owned()) };
    server
        .sim
        .with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind }));
    refresh(&server, &ada).await;
    let mut events = [stream.next().await, stream.next().await];
    events.sort_by(|a, b| a.name.cmp(&b.name));
    let [breaker, person] = events;
    assert_eq!((breaker.name.as_str(), person.name.as_str()), ("breaker", "person"));
    assert_eq!(breaker.data["state"], "open");
    assert!(breaker.data["until"].is_string() && breaker.data["cause"].is_string(), "{breaker:?}");
}

#[tokio::test]
async fn a_key_for_one_person_gets_no_events_of_the_whole_daemon() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let key = server.create_key(json!({"name": "adas", "can": ["read"], "persons": [ada.as_str()]})).await;
    let mut stream = stream(&server, AccessPath::Key(&key)).await;
    let kind = FaultKind::Client401;
    server
        .sim
        .with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind }));
    refresh(&server, &ada).await;
    assert_ne!(server.get("/status").await.json()["breaker"]["state"], "closed");
    assert_eq!(server.send(AccessPath::Key(&key), Method::GET, "/status", None).await.code(), "forbidden");
    assert_eq!(stream.person(&ada).await["state"], "retrying");
    // The next event is Ada's next change, not the breaker's.
    server.services.cache.invalidate(&ada);
    stream.person(&ada).await;
    assert!(!stream.text.contains("breaker"), "{}", stream.text);
}

#[tokio::test]
async fn a_client_that_leaks_streams_leaves_streams_for_others() {
    let server = ApiServer::new().await;
    let mut open = Vec::new();
    for n in 0..4 {
        let key = server.create_key(json!({"name": format!("key {n}")})).await;
        let client = server.client().build().unwrap();
        let more = async || client.get(server.url("/events")).bearer_auth(&key).send().await.unwrap();
        let mut response = more().await;
        while response.status() == 200 {
            open.push(response);
            response = more().await;
        }
    }
    assert!(open.len() >= 40, "{}", open.len());
    let key = server.create_key(json!({"name": "modest"})).await;
    assert_eq!(
        server.request(AccessPath::Key(&key), Method::GET, "/events").send().await.unwrap().status(),
        200
    );
    assert_eq!(
        server.request(AccessPath::Control, Method::GET, "/events").send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn open_streams_are_limited_and_a_closed_one_frees_its_slot() {
    let server = ApiServer::new().await;
    let mut open = Vec::new();
    for n in 0..3 {
        let key = server.create_key(json!({"name": format!("key {n}")})).await;
        let client = server.client().build().unwrap();
        for _ in 0..16 {
            let request = client.get(server.url("/events")).bearer_auth(&key);
            open.push(EventStream::open(request).await.0);
        }
        let more = server.send(AccessPath::Key(&key), Method::GET, "/events", None).await;
        assert_eq!((more.status, more.code().as_str()), (429, "too_many_requests"), "{n}");
        assert!(!more.header("retry-after").is_empty());
    }
    // The last streams are reserved for clients that have none yet.
    for n in 0..16 {
        let key = server.create_key(json!({"name": format!("newcomer {n}")})).await;
        open.push(EventStream::open(server.request(AccessPath::Key(&key), Method::GET, "/events")).await.0);
    }
    assert_eq!(server.get("/events").await.status, 429, "the total limit");
    drop(open);
    let come_again = async {
        while server.request(AccessPath::Control, Method::GET, "/events").send().await.unwrap().status()
            != 200
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(HANG_TIMEOUT, come_again).await.expect("no slot becomes free");
}

#[tokio::test]
async fn a_client_that_does_not_read_uses_bounded_memory_and_then_gets_the_latest_events() {
    let server = ApiServer::new().await;
    let mut people = Vec::new();
    for index in 0..3 {
        people.push(server.store_fresh_grant(index).await);
    }
    let mut slow = UnixStream::connect(&server.socket).await.unwrap();
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    slow.read_exact(&mut first).await.unwrap();
    let burst = 30_000;
    for n in 0..burst {
        server.services.cache.invalidate(&people[n % 3]);
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let newest = refresh(&server, &people[2]).await["person"]["renewed_at"].as_str().unwrap().to_owned();
    let (mut text, mut chunk) = (String::new(), vec![0; 64 * 1024]);
    // Reads all that was queued for the client; then nothing more comes.
    while let Ok(read) = timeout(Duration::from_secs(2), slow.read(&mut chunk)).await {
        let read = read.unwrap();
        assert!(read > 0, "the stream ended");
        text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    let told = text.matches("event: person").count();
    assert!(told > 3 && told < burst / 10, "{told} events were queued");
    let last = text.rsplit(&format!("\"person_id\":\"{}\"", people[2])).next().unwrap();
    assert!(last.contains(&newest), "{last}");
}

/// The body of a stream, without a socket.
async fn body(server: &ApiServer, caller: Caller) -> ResponseBody {
    let request = hyper::Request::get("/api/v1/events").body(Bytes::new()).unwrap();
    let response = server.api.handle(request, caller).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn next_chunk(body: &mut ResponseBody) -> Option<Event> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    Some(event(std::str::from_utf8(&frame).unwrap().trim_end()))
}

/// The stream of a key that may see one of two persons, after its hello event; from then on in virtual time.
struct RestrictedStream {
    server: ApiServer,
    other: PersonId,
    hello: Event,
    body: ResponseBody,
}

impl RestrictedStream {
    async fn new() -> Self {
        let server = ApiServer::new().await;
        let (other, grace) = (server.store_fresh_grant(0).await, server.store_fresh_grant(1).await);
        server.create_key(json!({"name": "graces", "persons": [grace.as_str()]})).await;
        let key = server.services.keys.list(None, 1).remove(0);
        tokio::time::pause();
        let mut body = body(&server, Caller::Key(key)).await;
        let hello = next_chunk(&mut body).await.unwrap();
        Self { server, other, hello, body }
    }

    /// The next chunk, which must be a heartbeat on time.
    async fn next_heartbeat(&mut self) -> Event {
        let begun = Instant::now();
        let life =
            timeout(Duration::from_secs(100), next_chunk(&mut self.body)).await.expect("silence").unwrap();
        assert_eq!(life.name, "");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(16), "{took:?}");
        life
    }
}

#[tokio::test]
async fn a_heartbeat_comes_every_fifteen_seconds_and_advances_the_id() {
    let mut stream = RestrictedStream::new().await;
    stream.server.services.cache.invalidate(&stream.other);
    for _ in 0..3 {
        let life = stream.next_heartbeat().await;
        assert_ne!(life.id, stream.hello.id, "the id must advance past hidden events");
    }
}

#[tokio::test]
async fn heartbeats_come_while_all_events_are_hidden_from_the_key() {
    let mut stream = RestrictedStream::new().await;
    let (cache, other) = (stream.server.services.cache.clone(), stream.other.clone());
    let changes = async {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            cache.invalidate(&other);
        }
    };
    let signs = async {
        for _ in 0..4 {
            stream.next_heartbeat().await;
        }
    };
    tokio::select! {
        () = changes => {}
        () = signs => {}
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_for_a_minute_loses_its_stream() {
    let server = ApiServer::new().await;
    tokio::time::pause();
    let mut bodies = Vec::new();
    for _ in 0..16 {
        bodies.push(body(&server, Caller::Control).await);
    }
    let request = || hyper::Request::get("/api/v1/events").body(Bytes::new()).unwrap();
    assert_eq!(server.api.handle(request(), Caller::Control).await.status(), 429);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(server.api.handle(request(), Caller::Control).await.status(), 200);
    for mut body in bodies {
        assert!(next_chunk(&mut body).await.is_some(), "the queued event can still be read");
        assert!(next_chunk(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn events_queued_for_a_slow_client_are_not_sent_after_its_key_is_revoked() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    server.create_key_with_right("read").await;
    let mut body = body(&server, Caller::Key(server.services.keys.list(None, 1).remove(0))).await;
    // The hello event fills the queue; the change waits until it is read.
    server.services.cache.invalidate(&ada);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(server.services.keys.revoke("can read").await.unwrap());
    assert_eq!(next_chunk(&mut body).await.unwrap().name, "");
    assert!(next_chunk(&mut body).await.is_none());
}

#[tokio::test]
async fn a_head_request_opens_no_stream() {
    let server = ApiServer::new().await;
    for _ in 0..40 {
        let answer = server.send(AccessPath::Control, Method::HEAD, "/events", None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
        assert_eq!(answer.header("content-length"), "");
    }
}
