//! Adding people to the space, and their pictures.

use serde_json::{Value, json};
use webex_sim::model::{Endpoint, Fault, FaultKind};
use webex_sim::{Avatar, Settings};

use crate::client::{Client, client, status_and_json, text};

async fn add(c: &Client, token: &str, body: Value) -> (u16, Value) {
    let call = c.post("/memberships").bearer_auth(token).header("content-type", "application/json");
    status_and_json(call.body(body.to_string()).send().await.unwrap()).await
}

fn bot_and_space(c: &Client) -> (String, String) {
    c.sim.with(|webex| (webex.settings().bot_token.clone(), webex.settings().space_id.clone()))
}

#[tokio::test]
async fn a_bot_adds_each_person_once() {
    let c = client(Settings::default()).await;
    let (bot, space) = bot_and_space(&c);
    let ada = c.sim.with(|webex| webex.settings().people[0].id.clone());
    let (status, made) = add(&c, &bot, json!({"roomId": space, "personId": ada})).await;
    assert_eq!((status, text(&made, "personEmail")), (201, "ada@example.com"));
    let (status, refused) = add(&c, &bot, json!({"roomId": space, "personEmail": "ADA@example.com"})).await;
    assert_eq!((status, refused["trackingId"].is_string()), (409, true));
    assert_eq!(add(&c, &bot, json!({"roomId": space, "personEmail": "grace@example.com"})).await.0, 201);
    assert_eq!(c.sim.with(|webex| webex.members()), [0, 1]);
    assert_eq!(c.sim.with(|webex| webex.counters()).calls.memberships, 3);
}

#[tokio::test]
async fn nobody_else_may_and_nothing_else_can_be_added() {
    let c = client(Settings::default()).await;
    let (bot, space) = bot_and_space(&c);
    let person = c.mint(0).access_token;
    let ada = json!({"roomId": space, "personEmail": "ada@example.com"});
    assert_eq!(add(&c, &person, ada.clone()).await.0, 401);
    assert_eq!(add(&c, &bot, json!({"roomId": "other", "personEmail": "ada@example.com"})).await.0, 404);
    assert_eq!(add(&c, &bot, json!({"roomId": space})).await.0, 400);
    assert_eq!(add(&c, &bot, json!({"roomId": space, "personEmail": "nobody@example.com"})).await.0, 400);
    let kind = FaultKind::TooMany429 { retry_after: Some("7".to_owned()) };
    c.sim.with(|webex| {
        webex.fault(Fault { on: Endpoint::Memberships, person: None, times: Some(1), kind });
    });
    assert_eq!(add(&c, &bot, ada.clone()).await.0, 429);
    assert!(c.sim.with(|webex| webex.members()).is_empty());
    assert_eq!(add(&c, &bot, ada).await.0, 201);
}

#[tokio::test]
async fn people_have_pictures_unless_told_otherwise() {
    let c = client(Settings::default()).await;
    let token = c.mint(0).access_token;
    let me =
        || async { status_and_json(c.get("/people/me").bearer_auth(&token).send().await.unwrap()).await.1 };
    let address = text(&me().await, "avatar").to_owned();
    assert!(address.starts_with(&c.sim.base_url()), "{address}");
    let picture = c.http.get(address).send().await.unwrap();
    assert_eq!(
        (picture.status().as_u16(), &picture.headers()["content-type"] == "image/svg+xml"),
        (200, true)
    );
    c.sim.with(|webex| webex.settings_mut().avatar = Avatar::At("https://example.com/a".to_owned()));
    assert_eq!(text(&me().await, "avatar"), "https://example.com/a");
    c.sim.with(|webex| webex.settings_mut().avatar = Avatar::None);
    assert!(me().await.get("avatar").is_none());
}
