//! Notices in the event stream: the same events that sinks get, each once, and only those that a key may see.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use webex_sim::Settings;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Committed;
use webex_tokend::store::Lease;

use super::event_client::Event;
use super::event_client::EventStream;
use super::harness::AccessPath;
use super::harness::ApiServer;

async fn stream(server: &ApiServer, way: AccessPath<'_>) -> EventStream {
    EventStream::open(server.request(way, Method::GET, "/events")).await.0
}

fn is_notice(event: &Event, kind: &str) {
    assert_eq!((event.name.as_str(), event.data["type"].as_str()), (kind, Some(kind)));
    let fields: Vec<&String> = event.data.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["app", "at", "data", "id", "person", "type"]);
}

fn lease_at(now: UnixTime) -> Lease {
    Lease { now, owner: "test".to_owned(), end: now + Duration::from_secs(60) }
}

/// A notice about this person, as the store publishes it.
fn publish(server: &ApiServer, kind: NoticeType, person: Option<&PersonId>, is_in_digest: bool) -> String {
    let person = person.map(|id| Person::known_by(id.clone()));
    let notice = Notice::new(kind, person.as_ref(), "1", server.now());
    let id = notice.id.clone();
    server.events().notice_created(notice, is_in_digest);
    id
}

#[tokio::test]
async fn an_event_is_the_notice_that_sinks_get() {
    let settings = [("NOTIFY_COMMAND", "/bin/true")];
    let server = ApiServer::with_settings(Settings::default(), &settings).await;
    let mut stream = stream(&server, AccessPath::Control).await;
    server.create_key_with_right("read").await;
    let event = stream.next_notice().await;
    is_notice(&event, "key.created");
    let notices = server.get("/notices").await.json();
    let mut notice = notices["notices"][0].clone();
    notice.as_object_mut().unwrap().remove("deliveries");
    assert_eq!(event.data, notice);
}

#[tokio::test]
async fn without_a_sink_each_event_comes_once_and_at_once() {
    let server = ApiServer::new().await;
    let mut stream = stream(&server, AccessPath::Control).await;
    let ada = server.store_fresh_grant(0).await;
    server.create_key_with_right("read").await;
    let path = format!("/people/{ada}");
    assert_eq!(server.send(AccessPath::Control, Method::DELETE, &path, None).await.status, 204);
    server.send(AccessPath::Control, Method::DELETE, "/keys/can%20read", None).await;
    for kind in ["consent.granted", "key.created", "person.forgotten", "key.revoked"] {
        is_notice(&stream.next_notice().await, kind);
    }
    assert_eq!(stream.text.matches("event: consent.granted").count(), 1);
}

#[tokio::test]
async fn a_notice_that_asks_for_a_consent_has_the_persons_link() {
    let server = ApiServer::new().await;
    let ada = server.store_fresh_grant(0).await;
    let mut stream = stream(&server, AccessPath::Control).await;
    let (store, now) = (&server.store, server.now());
    let claim = store.claim_one(ada, lease_at(now)).await.unwrap().unwrap();
    let mut grant = claim.grant.clone();
    grant.outbox_entries =
        OutboxEntries::of(Notice::new(NoticeType::ConsentNeeded, Some(&grant.person), "1", now));
    assert_eq!(store.commit(claim.fence, grant).await, Ok(Committed::Kept));
    let event = stream.next_notice().await;
    is_notice(&event, "consent.needed");
    let link = event.data["data"]["consent_url"].as_str().unwrap();
    assert!(link.starts_with("http") && link.contains("person="), "{link}");
}

#[tokio::test]
async fn a_limited_key_gets_the_notices_about_its_persons_and_no_digest() {
    let server = ApiServer::new().await;
    let (ada, grace) = (server.store_fresh_grant(0).await, server.store_fresh_grant(1).await);
    let key =
        server.create_key(json!({"name": "graces", "can": ["read"], "persons": [grace.as_str()]})).await;
    let mut limited = stream(&server, AccessPath::Key(&key)).await;
    let mut whole = stream(&server, AccessPath::Control).await;
    publish(&server, NoticeType::ConsentNeeded, Some(&ada), true);
    let in_digest = publish(&server, NoticeType::ConsentNeeded, Some(&grace), true);
    let digest = publish(&server, NoticeType::Digest, None, false);
    publish(&server, NoticeType::TokenAtRisk, Some(&ada), false);
    let single = publish(&server, NoticeType::TokenAtRisk, Some(&grace), false);
    let id = |event: Event| event.data["id"].clone();
    assert_eq!(id(limited.next_notice().await), Value::from(in_digest));
    assert_eq!(id(limited.next_notice().await), Value::from(single.clone()));
    assert!(!limited.text.contains(ada.as_str()), "{}", limited.text);
    assert_eq!(id(whole.next_notice().await), Value::from(digest));
    is_notice(&whole.next_notice().await, "token.at_risk");
    assert_eq!(id(whole.next_notice().await), Value::from(single));
}

#[tokio::test]
async fn text_of_a_person_cannot_forge_an_event() {
    let server = ApiServer::new().await;
    let mut stream = stream(&server, AccessPath::Control).await;
    let name = "Ada\n\nevent: store.failing\ndata: {}\r\nid: x".to_owned();
    let person =
        Person { display_name: Some(name.clone()), ..Person::known_by(PersonId::parse("ada").unwrap()) };
    let notice = Notice::new(NoticeType::ConsentGranted, Some(&person), "1", server.now());
    server.events().notice_created(notice.with("how", name.clone()), false);
    let event = stream.next_notice().await;
    is_notice(&event, "consent.granted");
    assert_eq!(event.data["person"]["display_name"], name.as_str());
    assert_eq!(event.data["data"]["how"], name.as_str());
}
