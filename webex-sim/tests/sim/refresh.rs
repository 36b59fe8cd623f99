//! What a refresh does.

use std::time::Duration;

use webex_sim::model::{Model, Request};
use webex_sim::{ErrorBody, RefreshLife, RefreshToken, Settings, TokenShape};

use crate::client::{Client, client, text};

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

fn without_window() -> Settings {
    Settings { noop_window: Duration::ZERO, ..Settings::default() }
}

fn is_live(c: &Client, access_token: &str) -> bool {
    let now_ms = c.sim.now_ms();
    c.sim.with(|webex| webex.is_live(access_token, now_ms))
}

#[tokio::test]
async fn inside_the_window_a_refresh_changes_nothing() {
    let c = client(Settings::default()).await;
    let tokens = c.mint(0);
    c.sim.advance(DAY - 60 * SECOND);
    let (status, same) = c.refresh(&tokens.refresh_token).await;
    assert_eq!((status, text(&same, "access_token")), (200, tokens.access_token.as_str()));
    let left = same["expires_in"].as_i64().unwrap();
    assert!((13 * 86_400..=13 * 86_400 + 60).contains(&left), "{left}");
    c.sim.advance(61 * SECOND);
    let (_, new) = c.refresh(&tokens.refresh_token).await;
    assert_ne!(text(&new, "access_token"), tokens.access_token);
    assert_eq!(new["expires_in"], 14 * 86_400);
    let counters = c.sim.with(|webex| webex.counters());
    assert_eq!((counters.refreshes.renewed, counters.refreshes.unchanged), (1, 1));
}

#[tokio::test]
async fn the_window_does_not_keep_an_expired_token() {
    let c = client(Settings { access_lifetime: DAY / 2, ..Settings::default() }).await;
    let tokens = c.mint(0);
    c.sim.advance(DAY / 2 + SECOND);
    let (_, new) = c.refresh(&tokens.refresh_token).await;
    assert_ne!(text(&new, "access_token"), tokens.access_token);
}

#[tokio::test]
async fn the_older_access_token_survives_unless_told_otherwise() {
    let c = client(without_window()).await;
    let tokens = c.mint(0);
    let (_, second) = c.refresh(&tokens.refresh_token).await;
    assert!(is_live(&c, &tokens.access_token) && is_live(&c, text(&second, "access_token")));
    c.sim.with(|webex| webex.settings_mut().old_token_survives = false);
    let (_, third) = c.refresh(&tokens.refresh_token).await;
    assert!(!is_live(&c, &tokens.access_token) && !is_live(&c, text(&second, "access_token")));
    assert!(is_live(&c, text(&third, "access_token")));
}

#[tokio::test]
async fn a_stable_refresh_token_stays_and_a_rotating_one_dies_at_once() {
    let c = client(without_window()).await;
    let tokens = c.mint(0);
    let (_, answer) = c.refresh(&tokens.refresh_token).await;
    assert_eq!(text(&answer, "refresh_token"), tokens.refresh_token);
    c.sim.with(|webex| webex.settings_mut().refresh_token = RefreshToken::Rotating);
    let (_, answer) = c.refresh(&tokens.refresh_token).await;
    assert_ne!(text(&answer, "refresh_token"), tokens.refresh_token);
    assert_eq!(c.refresh(&tokens.refresh_token).await.0, 400);
    assert_eq!(c.refresh(text(&answer, "refresh_token")).await.0, 200);
}

#[tokio::test]
async fn a_rotated_refresh_token_is_answered_with_the_newest_during_its_grace() {
    let rule = RefreshToken::RotatingWithGrace(60 * SECOND);
    let c = client(Settings { refresh_token: rule, ..without_window() }).await;
    let tokens = c.mint(0);
    let (_, newest) = c.refresh(&tokens.refresh_token).await;
    c.sim.advance(50 * SECOND);
    let (status, again) = c.refresh(&tokens.refresh_token).await;
    assert_eq!(status, 200);
    assert_eq!(again["refresh_token"], newest["refresh_token"]);
    assert_eq!(again["access_token"], newest["access_token"]);
    c.sim.advance(11 * SECOND);
    assert_eq!(c.refresh(&tokens.refresh_token).await.0, 400);
}

#[tokio::test]
async fn the_refresh_life_is_renewed_or_counts_down() {
    let short = Settings { first_refresh_life_short_by: DAY, ..without_window() };
    let c = client(short).await;
    let (running, counting) = (c.mint(0), c.mint(1));
    c.sim.advance(10 * DAY);
    let (_, answer) = c.refresh(&running.refresh_token).await;
    assert_eq!(answer["refresh_token_expires_in"], 90 * 86_400);
    c.sim.with(|webex| webex.settings_mut().refresh_life = RefreshLife::CountsDown);
    let (_, answer) = c.refresh(&counting.refresh_token).await;
    let left = answer["refresh_token_expires_in"].as_i64().unwrap();
    assert!((79 * 86_400 - 60..=79 * 86_400).contains(&left), "{left}");
    c.sim.advance(79 * DAY + SECOND);
    assert_eq!(c.refresh(&counting.refresh_token).await.0, 400);
    assert_eq!(c.refresh(&running.refresh_token).await.0, 200);
}

#[tokio::test]
async fn fields_can_be_left_out() {
    let c = client(Settings { omit_scope: true, omit_refresh_token: true, ..without_window() }).await;
    let (status, answer) = c.refresh(&c.mint(0).refresh_token).await;
    let fields: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((status, fields), (200, vec!["access_token", "expires_in", "token_type"]));
}

#[tokio::test]
async fn a_dead_refresh_token_is_told_in_either_shape() {
    const TEXT: &str = "The refresh token provided is expired, revoked, malformed, or invalid.";
    let c = client(Settings::default()).await;
    let tokens = c.mint(0);
    c.sim.with(|webex| webex.revoke_person(0));
    let (status, error) = c.refresh(&tokens.refresh_token).await;
    assert_eq!((status, text(&error["errors"][0], "description")), (400, TEXT));
    assert!(text(&error, "message").starts_with("POST failed: HTTP/1.1 400 Bad Request (url = https://"));
    assert!(text(&error, "trackingId").starts_with("ROUTER_"));
    assert!(is_live(&c, &tokens.access_token));

    c.sim.with(|webex| webex.settings_mut().error_body = ErrorBody::Idbroker);
    let (status, error) = c.refresh("never issued").await;
    assert_eq!((status, text(&error, "error")), (400, "invalid_request"));
    assert_eq!(text(&error, "error_description"), TEXT);
    assert!(text(&error, "trackingID").starts_with("ROUTER_"));
}

#[tokio::test]
async fn steering_ends_exactly_what_it_names() {
    let c = client(without_window()).await;
    let (ada, grace) = (c.mint(0), c.mint(1));
    assert!(c.sim.with(|webex| webex.kill_refresh_token(&ada.refresh_token)));
    assert_eq!(c.refresh(&ada.refresh_token).await.0, 400);
    assert_eq!(c.refresh(&grace.refresh_token).await.0, 200);
    c.sim.with(|webex| webex.reset_access(1));
    assert!(!is_live(&c, &grace.access_token));
    let answer = c.get("/people/me").bearer_auth(&grace.access_token).send().await.unwrap();
    let (status, error) = crate::client::status_and_json(answer).await;
    assert_eq!(status, 401);
    assert_eq!(
        text(&error, "message"),
        "The request requires a valid access token set in the Authorization request header."
    );
    let now_ms = c.sim.now_ms();
    c.sim.with(|webex| webex.adopt(now_ms, 7, "my access", "my refresh"));
    assert_eq!(c.sim.with(|webex| webex.person_of("my access")), Some(7));
    assert_eq!(c.refresh("my refresh").await.0, 200);
    c.sim.with(|webex| webex.change_client_secret("another"));
    assert_eq!(c.refresh("my refresh").await.0, 401);
}

#[tokio::test]
async fn jwt_tokens_are_long_and_work() {
    let c = client(Settings { token_shape: TokenShape::Jwt, ..Settings::default() }).await;
    let token = c.mint(0).access_token;
    assert!(token.starts_with("eyJ") && token.len() > 2048);
    assert_eq!(c.get("/people/me").bearer_auth(&token).send().await.unwrap().status(), 200);
}

#[test]
fn tokens_are_a_function_of_the_seed() {
    let issued = |seed| {
        let mut webex = Model::new(Settings { seed, ..without_window() });
        let tokens = webex.mint(0, 0);
        let (id, secret) = (webex.settings().client_id.clone(), webex.settings().client_secret.clone());
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("refresh_token", &tokens.refresh_token),
        ];
        let answer = webex.answer(5000, &Request::form("/v1/access_token", &fields));
        webex.left(answer.visit);
        (webex.secrets_issued(), answer.body, answer.headers)
    };
    assert_eq!(issued(1), issued(1));
    assert_ne!(issued(1).0, issued(2).0);
}

#[test]
fn memory_does_not_grow_with_the_years() {
    let mut webex = Model::new(without_window());
    webex.settings_mut().refresh_token = RefreshToken::Rotating;
    let (id, secret) = (webex.settings().client_id.clone(), webex.settings().client_secret.clone());
    let mut refresh_token = webex.mint(0, 0).refresh_token;
    for day in 1..=2000_i64 {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
            ("refresh_token", refresh_token.as_str()),
        ];
        let answer = webex.answer(day * 86_400_000, &Request::form("/v1/access_token", &fields));
        webex.left(answer.visit);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        refresh_token = text(&body, "refresh_token").to_owned();
        assert!(!refresh_token.is_empty(), "day {day}: {body}");
    }
    let first = webex.secrets_issued().first().cloned().unwrap();
    assert_eq!(webex.person_of(&first), None);
    assert_eq!(webex.counters().people[0].starts_ms.len(), 1000);
}

#[tokio::test]
async fn an_access_token_tells_the_consent_that_it_comes_from() {
    let c = client(without_window()).await;
    let (first, other, second) = (c.mint(0), c.mint(1), c.mint(0));
    let (_, renewed) = c.refresh(&first.refresh_token).await;
    let consent_of = |token: &str| c.sim.with(|webex| webex.consent_of(token));
    assert_eq!(consent_of(&first.access_token), Some(0));
    assert_eq!(consent_of(&other.access_token), Some(1));
    assert_eq!(consent_of(&second.access_token), Some(2));
    assert_eq!(consent_of(text(&renewed, "access_token")), Some(0), "a refresh is no consent");
    assert_eq!(consent_of("nobody's"), None);
}
