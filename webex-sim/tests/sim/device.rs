//! The device grant.

use std::time::Duration;

use serde_json::Value;
use webex_sim::Settings;

use crate::client::{Client, client, status_and_json, text};

async fn start(c: &Client) -> Value {
    let fields = [("client_id", c.id.as_str()), ("scope", "spark:all")];
    let (status, device) =
        status_and_json(c.post("/device/authorize").form(&fields).send().await.unwrap()).await;
    assert_eq!(status, 200);
    device
}

async fn poll(c: &Client, device: &Value) -> (u16, Value) {
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", text(device, "device_code")),
        ("client_id", &c.id),
    ];
    let call = c.post("/device/token").basic_auth(&c.id, Some(&c.secret)).form(&fields);
    status_and_json(call.send().await.unwrap()).await
}

#[tokio::test]
async fn a_device_waits_for_somebody_to_type_its_code() {
    let c = client(Settings::default()).await;
    let device = start(&c).await;
    assert_eq!((&device["expires_in"], &device["interval"]), (&Value::from(300), &Value::from(2)));
    assert_eq!(poll(&c, &device).await.0, 428);
    let (status, error) = poll(&c, &device).await;
    assert_eq!((status, text(&error["errors"][0], "description")), (400, "slow_down"));
    assert!(c.sim.with(|webex| webex.approve_device(text(&device, "user_code"), 2)));
    c.sim.advance(Duration::from_secs(2));
    let (status, tokens) = poll(&c, &device).await;
    assert_eq!(status, 200);
    assert_eq!(c.sim.with(|webex| webex.person_of(text(&tokens, "access_token"))), Some(2));
    c.sim.advance(Duration::from_secs(2));
    assert_eq!(poll(&c, &device).await.0, 400);
}

#[tokio::test]
async fn the_page_approves_and_declines() {
    let c = client(Settings::default()).await;
    for (button, status) in [("accept", 200), ("decline", 400)] {
        let device = start(&c).await;
        let link = text(&device, "verification_uri_complete");
        let page = c.http.get(link).send().await.unwrap().text().await.unwrap();
        let filled_in = format!("value=\"{}\"", text(&device, "user_code"));
        assert!(page.contains("id=\"device-code\"") && page.contains(&filled_in), "{page}");
        let fields = [("userCode", text(&device, "user_code")), ("person", "1"), ("decision", button)];
        let press = || c.post("/device/verify").form(&fields).send();
        assert_eq!(press().await.unwrap().status(), 200);
        assert_eq!(press().await.unwrap().status(), 400);
        assert_eq!(poll(&c, &device).await.0, status);
    }
}

#[tokio::test]
async fn a_device_code_expires_and_can_be_declined() {
    let c = client(Settings::default()).await;
    let declined = start(&c).await;
    assert!(c.sim.with(|webex| webex.decline_device(text(&declined, "user_code"))));
    assert_eq!(text(&poll(&c, &declined).await.1["errors"][0], "description"), "access_denied");
    let late = start(&c).await;
    c.sim.advance(Duration::from_secs(301));
    assert_eq!(text(&poll(&c, &late).await.1["errors"][0], "description"), "invalid_grant");
}

#[tokio::test]
async fn a_device_needs_a_known_client_and_basic_credentials() {
    let c = client(Settings::default()).await;
    let call = c.post("/device/authorize").form(&[("client_id", "C0"), ("scope", "x")]);
    let (status, error) = status_and_json(call.send().await.unwrap()).await;
    assert_eq!((status, text(&error["errors"][0], "description")), (400, "Client Id is invalid"));
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", c.id.as_str()),
        ("client_secret", c.secret.as_str()),
        ("device_code", "x"),
    ];
    assert_eq!(c.post("/device/token").form(&fields).send().await.unwrap().status(), 401);
}
