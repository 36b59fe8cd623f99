//! `GET /oauth` without parameters: the redirect to Webex.

use super::guarded;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PageResponse;
use crate::support::start_sim;

fn cookie(answered: &PageResponse) -> (&str, Vec<&str>) {
    let lines: Vec<_> = answered.all("set-cookie").collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let mut parts = lines[0].split("; ");
    let mut attributes = Vec::new();
    let pair = parts.next().unwrap();
    attributes.extend(parts);
    attributes.sort_unstable();
    (pair, attributes)
}

#[tokio::test]
async fn start_redirects_to_webex_with_all_required_parameters() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let answered = visitor.get(daemon.redirect_uri()).await;
    assert_eq!((answered.status, answered.body.as_str()), (302, ""));
    guarded(&answered, "/oauth");
    assert_eq!(answered.header("cache-control"), Some("no-store"));

    let location = answered.header("location").unwrap();
    assert!(location.starts_with(&format!("{}/authorize?", sim.base_url())), "{location}");
    assert!(location.contains("scope=spark%3Aall%20spark%3Akms"), "spaces are %20, not +: {location}");
    let query = visitor.begin(&daemon).await.query;
    let client_id = sim.with(|webex| webex.settings().client_id.clone());
    assert_eq!(query["client_id"], client_id);
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["redirect_uri"], format!("https://localhost:{}/oauth", daemon.port()));
    assert_eq!(query["scope"], "spark:all spark:kms");
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!((query["state"].len(), query["code_challenge"].len()), (43, 43));
    assert_eq!(query.len(), 7, "{query:?}");
}

#[tokio::test]
async fn the_ticket_cookie_is_host_only_secure_and_http_only() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let answered = visitor.get(daemon.redirect_uri()).await;
    let (pair, attributes) = cookie(&answered);
    assert!(pair.starts_with("__Host-ticket-"), "{pair}");
    assert_eq!(attributes, ["HttpOnly", "Max-Age=900", "Path=/", "SameSite=Lax", "Secure"]);

    let query = url::Url::parse(answered.header("location").unwrap()).unwrap();
    for (name, value) in query.query_pairs().filter(|(name, _)| *name != "response_type") {
        let (_, sealed) = pair.split_once('=').unwrap();
        assert!(!sealed.contains(&*value), "the cookie contains {name} in plain text");
    }
}

#[tokio::test]
async fn every_start_begins_a_separate_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let (one, two) = (visitor.begin(&daemon).await.query, visitor.begin(&daemon).await.query);
    for name in ["state", "code_challenge"] {
        assert_ne!(one[name], two[name]);
    }
    assert_eq!(visitor.cookie_names().len(), 2, "{:?}", visitor.cookie_names());
}

#[tokio::test]
async fn abandoned_starts_do_not_fill_the_browser() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for _ in 0..30 {
        visitor.begin(&daemon).await;
    }
    let cookies = visitor.cookie_header().unwrap();
    assert!(visitor.cookie_names().len() <= 8, "{cookies}");
    assert!(cookies.len() < 4096, "{} bytes", cookies.len());
    assert_eq!(visitor.consent(&daemon, 0).await.status, 200);
}

#[tokio::test]
async fn a_named_person_is_preselected_and_no_other_parameter_is_passed_on() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let url = daemon
        .url("/oauth?person=grace%40example.com&redirect_uri=https://evil.example/&scope=more&prompt=x");
    let location = visitor.get(url).await.header("location").unwrap().to_owned();
    assert!(location.contains("login_hint=grace%40example.com"), "{location}");
    assert!(
        !location.contains("evil") && !location.contains("more") && !location.contains("prompt"),
        "{location}"
    );
    let unnamed = visitor.get(daemon.url("/oauth?person=no%20address")).await;
    assert!(!unnamed.header("location").unwrap().contains("login_hint"));
}
