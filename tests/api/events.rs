//! The stream of events: what comes, to whom, for how long, and what never does.

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
use webex_tokend::events::KEPT;
use webex_tokend::http::api::Caller;
use webex_tokend::http::serve::Body;

use super::event_client::Event;
use super::event_client::Stream;
use super::event_client::event;
use super::harness::Way;
use super::harness::World;
use crate::support::time::HANG_TIMEOUT;

async fn stream(world: &World, way: Way<'_>) -> Stream {
    Stream::open(world.request(way, Method::GET, "/events")).await.0
}

async fn refresh(world: &World, person: &PersonId) -> Value {
    let asked = Some(json!({"force": true}));
    let path = format!("/people/{person}/refresh");
    world.ask(Way::Control, Method::POST, &path, asked).await.json()
}

async fn forget(world: &World, person: &PersonId) {
    let path = format!("/people/{person}");
    assert_eq!(world.ask(Way::Control, Method::DELETE, &path, None).await.status, 204);
}

#[tokio::test]
async fn refreshes_consents_and_removals_are_told_on_every_way_in() {
    let world = World::new().await;
    let ada = world.fresh(0).await;
    let key = world.key_that_can("read").await;
    let old = world.request(Way::Key(&key), Method::GET, "/events");
    let first_version =
        world.client().http1_only().build().unwrap().get(world.url("/events")).bearer_auth(&key);
    let mut streams = vec![
        Stream::open(old).await.0,
        Stream::open(first_version).await.0,
        stream(&world, Way::Control).await,
    ];
    let refreshed = refresh(&world, &ada).await;
    for stream in &mut streams {
        assert_eq!(stream.person(&ada).await, refreshed["person"]);
    }
    let now_ms = world.sim.now_ms();
    let minted = world.sim.with(|webex| webex.mint(now_ms, 1));
    let asked = json!({"refresh_token": minted.refresh_token});
    let imported = world.ask(Way::Control, Method::POST, "/import", Some(asked)).await.json();
    let grace = PersonId::parse(imported["person"]["person_id"].as_str().unwrap()).unwrap();
    for stream in &mut streams {
        assert_eq!(stream.person(&grace).await["state"], "fresh");
    }
    forget(&world, &ada).await;
    for stream in &mut streams {
        let gone = stream.next().await;
        assert_eq!((gone.name.as_str(), gone.data), ("forgotten", json!({"person_id": ada.as_str()})));
    }
    assert_eq!(streams[0].response.version(), reqwest::Version::HTTP_2);
    assert_eq!(streams[1].response.version(), reqwest::Version::HTTP_11);
}

#[tokio::test]
async fn no_secret_is_ever_in_a_stream() {
    let world = World::without_a_floor().await;
    let ada = world.fresh(0).await;
    let mut stream = stream(&world, Way::Control).await;
    let mut secrets = Vec::new();
    for _ in 0..3 {
        refresh(&world, &ada).await;
        stream.person(&ada).await;
        let grant = world.house.view.look(&ada).await.unwrap().unwrap();
        secrets.push(grant.tokens.access_token.clone());
        secrets.push(grant.tokens.refresh_token.clone());
    }
    for secret in secrets {
        assert!(!stream.text.contains(secret.expose()), "{}", stream.text);
    }
    assert!(!stream.text.contains("_token\""), "{}", stream.text);
}

#[tokio::test]
async fn whoever_comes_again_misses_nothing_and_hears_of_each_person_once() {
    let world = World::without_a_floor().await;
    let (ada, grace, alan) = (world.fresh(0).await, world.fresh(1).await, world.fresh(2).await);
    let (mut first, _) = Stream::open(world.request(Way::Control, Method::GET, "/events")).await;
    refresh(&world, &ada).await;
    let seen = first.next().await;
    drop(first);
    for _ in 0..3 {
        refresh(&world, &grace).await;
    }
    let newest = refresh(&world, &grace).await["person"].clone();
    forget(&world, &alan).await;
    let again = |id: &str| world.request(Way::Control, Method::GET, "/events").header("last-event-id", id);
    let (mut second, hello) = Stream::open(again(&seen.id)).await;
    assert_eq!(hello.name, "");
    assert_eq!(second.person(&grace).await, newest);
    let last = second.next().await;
    assert_eq!(last.name, "forgotten");
    assert_ne!(seen.id, last.id);
    // The same as a parameter, for clients that cannot set the header at first.
    let path = format!("/events?since={}", seen.id);
    let (mut third, _) = Stream::open(world.request(Way::Control, Method::GET, &path)).await;
    assert_eq!(third.person(&grace).await, newest);
    // And nothing is told twice.
    let (mut fourth, _) = Stream::open(again(&last.id)).await;
    refresh(&world, &ada).await;
    fourth.person(&ada).await;
}

#[tokio::test]
async fn an_id_that_is_not_known_means_that_everything_must_be_loaded_anew() {
    let world = World::without_a_floor().await;
    let other = World::new().await;
    let ada = world.fresh(0).await;
    other.fresh(0).await;
    let (_, elsewhere) = Stream::open(other.request(Way::Control, Method::GET, "/events")).await;
    let (_, hello) = Stream::open(world.request(Way::Control, Method::GET, "/events")).await;
    assert_eq!(hello.name, "");
    for id in [elsewhere.id.as_str(), "", "nonsense", &hello.id[1..], &"x".repeat(5000)] {
        let request = world.request(Way::Control, Method::GET, "/events").header("last-event-id", id);
        let (mut stream, first) = Stream::open(request).await;
        assert_eq!((first.name.as_str(), &first.data), ("reset", &json!({})), "{id}");
        refresh(&world, &ada).await;
        stream.person(&ada).await;
    }
    // Too far behind.
    for n in 0..=KEPT {
        world.house.view.publish(&PersonId::parse(&format!("person-{n}")).unwrap());
    }
    let request = world.request(Way::Control, Method::GET, "/events").header("last-event-id", &hello.id);
    let (_, first) = Stream::open(request).await;
    assert_eq!(first.name, "reset");
    // A change of everything, while somebody watches.
    let mut stream = stream(&world, Way::Control).await;
    world.house.view.publish_all();
    assert_eq!(stream.next().await.name, "reset");
}

#[tokio::test]
async fn a_key_for_one_person_hears_of_nobody_else() {
    let world = World::new().await;
    let (ada, grace) = (world.fresh(0).await, world.fresh(1).await);
    let key = world.key(json!({"name": "graces", "can": ["read"], "persons": ["grace@example.com"]})).await;
    let mut stream = stream(&world, Way::Key(&key)).await;
    refresh(&world, &ada).await;
    forget(&world, &ada).await;
    refresh(&world, &grace).await;
    stream.person(&grace).await;
    assert!(!stream.text.contains(ada.as_str()), "{}", stream.text);
}

#[tokio::test]
async fn a_stream_ends_at_once_when_its_key_is_revoked() {
    let world = World::new().await;
    let ada = world.fresh(0).await;
    let (one, other) = (world.key_that_can("read").await, world.key_that_can("admin").await);
    let (stream, mut others) = (stream(&world, Way::Key(&one)).await, stream(&world, Way::Key(&other)).await);
    let begun = Instant::now();
    world.ask(Way::Control, Method::DELETE, "/keys/can%20read", None).await;
    stream.ends().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "only a heartbeat noticed it");
    refresh(&world, &ada).await;
    others.person(&ada).await;
}

#[tokio::test]
async fn streams_end_with_the_daemon_and_hold_it_up_for_nothing() {
    let world = World::new().await;
    let key = world.key_that_can("read").await;
    let streams = [stream(&world, Way::Key(&key)).await, stream(&world, Way::Control).await];
    let begun = Instant::now();
    world.house.tasks.stop();
    for stream in streams {
        stream.ends().await;
    }
    timeout(HANG_TIMEOUT, world.house.tasks.drained()).await.expect("the end hangs");
    assert!(begun.elapsed() < Duration::from_secs(5), "the streams were cut off, not ended");
}

#[tokio::test]
async fn the_breakers_turns_are_told() {
    let world = World::new().await;
    let ada = world.fresh(0).await;
    let mut stream = stream(&world, Way::Control).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("60".to_owned()) };
    world
        .sim
        .with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind }));
    refresh(&world, &ada).await;
    let mut events = [stream.next().await, stream.next().await];
    events.sort_by(|a, b| a.name.cmp(&b.name));
    let [breaker, person] = events;
    assert_eq!((breaker.name.as_str(), person.name.as_str()), ("breaker", "person"));
    assert_eq!(breaker.data["state"], "open");
    assert!(breaker.data["until"].is_string() && breaker.data["cause"].is_string(), "{breaker:?}");
}

#[tokio::test]
async fn a_key_for_one_person_is_told_nothing_of_the_whole_daemon() {
    let world = World::new().await;
    let ada = world.fresh(0).await;
    let key = world.key(json!({"name": "adas", "can": ["read"], "persons": [ada.as_str()]})).await;
    let mut stream = stream(&world, Way::Key(&key)).await;
    let kind = FaultKind::Client401;
    world.sim.with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind }));
    refresh(&world, &ada).await;
    assert_ne!(world.get("/status").await.json()["breaker"]["state"], "closed");
    assert_eq!(world.ask(Way::Key(&key), Method::GET, "/status", None).await.code(), "forbidden");
    assert_eq!(stream.person(&ada).await["state"], "retrying");
    // What comes next is the next change of hers, not the breaker's.
    world.house.view.publish(&ada);
    stream.person(&ada).await;
    assert!(!stream.text.contains("breaker"), "{}", stream.text);
}

#[tokio::test]
async fn programs_that_leak_streams_leave_places_for_others() {
    let world = World::new().await;
    let mut open = Vec::new();
    for n in 0..4 {
        let key = world.key(json!({"name": format!("key {n}")})).await;
        let client = world.client().build().unwrap();
        let more = async || client.get(world.url("/events")).bearer_auth(&key).send().await.unwrap();
        let mut response = more().await;
        while response.status() == 200 {
            open.push(response);
            response = more().await;
        }
    }
    assert!(open.len() >= 40, "{}", open.len());
    let key = world.key(json!({"name": "modest"})).await;
    assert_eq!(world.request(Way::Key(&key), Method::GET, "/events").send().await.unwrap().status(), 200);
    assert_eq!(world.request(Way::Control, Method::GET, "/events").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn only_so_many_streams_are_open_and_a_closed_one_makes_room() {
    let world = World::new().await;
    let mut open = Vec::new();
    for n in 0..3 {
        let key = world.key(json!({"name": format!("key {n}")})).await;
        let client = world.client().build().unwrap();
        for _ in 0..16 {
            let request = client.get(world.url("/events")).bearer_auth(&key);
            open.push(Stream::open(request).await.0);
        }
        let more = world.ask(Way::Key(&key), Method::GET, "/events", None).await;
        assert_eq!((more.status, more.code().as_str()), (429, "too_many_requests"), "{n}");
        assert!(!more.header("retry-after").is_empty());
    }
    // The last places are for those who have none yet.
    for n in 0..16 {
        let key = world.key(json!({"name": format!("newcomer {n}")})).await;
        open.push(Stream::open(world.request(Way::Key(&key), Method::GET, "/events")).await.0);
    }
    assert_eq!(world.get("/events").await.status, 429, "all together");
    drop(open);
    let come_again = async {
        while world.request(Way::Control, Method::GET, "/events").send().await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(HANG_TIMEOUT, come_again).await.expect("no place comes back");
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_little_and_then_hears_the_newest() {
    let world = World::new().await;
    let mut people = Vec::new();
    for index in 0..3 {
        people.push(world.fresh(index).await);
    }
    let mut slow = UnixStream::connect(&world.socket).await.unwrap();
    slow.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 1];
    slow.read_exact(&mut first).await.unwrap();
    let burst = 30_000;
    for n in 0..burst {
        world.house.view.publish(&people[n % 3]);
        if n % 10 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let newest = refresh(&world, &people[2]).await["person"]["renewed_at"].as_str().unwrap().to_owned();
    let (mut text, mut piece) = (String::new(), vec![0; 64 * 1024]);
    // All that was kept for it; then nothing more comes.
    while let Ok(read) = timeout(Duration::from_secs(2), slow.read(&mut piece)).await {
        let read = read.unwrap();
        assert!(read > 0, "the stream ended");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    let told = text.matches("event: person").count();
    assert!(told > 3 && told < burst / 10, "{told} events were kept");
    let last = text.rsplit(&format!("\"person_id\":\"{}\"", people[2])).next().unwrap();
    assert!(last.contains(&newest), "{last}");
}

/// The body of a stream, without any socket.
async fn body(world: &World, caller: Caller) -> Body {
    let request = hyper::Request::get("/api/v1/events").body(Bytes::new()).unwrap();
    let response = world.api.answer(request, caller).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn piece(body: &mut Body) -> Option<Event> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    Some(event(std::str::from_utf8(&frame).unwrap().trim_end()))
}

/// The stream of a key that sees one of two persons, behind its hello; from now on in virtual time.
struct OneOfTwo {
    world: World,
    other: PersonId,
    hello: Event,
    body: Body,
}

impl OneOfTwo {
    async fn new() -> Self {
        let world = World::new().await;
        let (other, grace) = (world.fresh(0).await, world.fresh(1).await);
        world.key(json!({"name": "graces", "persons": [grace.as_str()]})).await;
        let key = world.house.keys.list().remove(0);
        tokio::time::pause();
        let mut body = body(&world, Caller::Key(key.into())).await;
        let hello = piece(&mut body).await.unwrap();
        Self { world, other, hello, body }
    }

    /// The next piece, which must be a sign of life in its time.
    async fn sign_of_life(&mut self) -> Event {
        let begun = Instant::now();
        let life = timeout(Duration::from_secs(100), piece(&mut self.body)).await.expect("silence").unwrap();
        assert_eq!(life.name, "");
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(16), "{took:?}");
        life
    }
}

#[tokio::test]
async fn a_sign_of_life_comes_every_fifteen_seconds_and_moves_the_id() {
    let mut stream = OneOfTwo::new().await;
    stream.world.house.view.publish(&stream.other);
    for _ in 0..3 {
        let life = stream.sign_of_life().await;
        assert_ne!(life.id, stream.hello.id, "what was not for these eyes would be looked at again");
    }
}

#[tokio::test]
async fn signs_of_life_come_also_while_much_happens_that_is_for_other_eyes() {
    let mut stream = OneOfTwo::new().await;
    let (view, other) = (stream.world.house.view.clone(), stream.other.clone());
    let changes = async {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            view.publish(&other);
        }
    };
    let signs = async {
        for _ in 0..4 {
            stream.sign_of_life().await;
        }
    };
    tokio::select! {
        () = changes => {}
        () = signs => {}
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place_after_a_minute() {
    let world = World::new().await;
    tokio::time::pause();
    let mut bodies = Vec::new();
    for _ in 0..16 {
        bodies.push(body(&world, Caller::Control).await);
    }
    let request = || hyper::Request::get("/api/v1/events").body(Bytes::new()).unwrap();
    assert_eq!(world.api.answer(request(), Caller::Control).await.status(), 429);
    tokio::time::sleep(Duration::from_secs(80)).await;
    assert_eq!(world.api.answer(request(), Caller::Control).await.status(), 200);
    for mut body in bodies {
        assert!(piece(&mut body).await.is_some(), "what was there is still to be had");
        assert!(piece(&mut body).await.is_none());
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_does_not_go_out_after_its_key() {
    let world = World::new().await;
    let ada = world.fresh(0).await;
    world.key_that_can("read").await;
    let mut body = body(&world, Caller::Key(world.house.keys.list().remove(0).into())).await;
    // The hello fills the only place; the change waits for it to be taken.
    world.house.view.publish(&ada);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(world.house.keys.revoke("can read").await.unwrap());
    assert_eq!(piece(&mut body).await.unwrap().name, "");
    assert!(piece(&mut body).await.is_none());
}

#[tokio::test]
async fn a_head_opens_no_stream() {
    let world = World::new().await;
    for _ in 0..40 {
        let answer = world.ask(Way::Control, Method::HEAD, "/events", None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
        assert_eq!(answer.header("content-length"), "");
    }
}
