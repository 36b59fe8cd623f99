//! The page after a successful consent.

use jiff::ToSpan;
use webex_sim::Avatar;
use webex_sim::Person;
use webex_sim::Settings;

use super::GRANTED;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PageResponse;
use crate::support::start_sim;
use crate::support::start_sim_with;

fn image_policy(answered: &PageResponse) -> String {
    let policy = answered.header("content-security-policy").unwrap();
    policy.split("; ").find(|rule| rule.starts_with("img-src")).unwrap().to_owned()
}

#[tokio::test]
async fn the_granted_page_shows_scopes_expiry_and_how_to_revoke() {
    let sim = start_sim().await;
    let scopes = [("MY_APP_SCOPES", "spark:people_read spark:rooms_read odd:scope")];
    let (daemon, visitor) = (Daemon::start(&sim, &scopes).await, BrowserClient::new());
    let answered = visitor.consent(&daemon, 0).await;
    page(&answered, 200, GRANTED);
    assert!(answered.says("<span>See your spaces</span> <code>spark:rooms_read</code>"), "{}", answered.body);
    assert!(answered.says("<span>Permission</span> <code>odd:scope</code>"), "{}", answered.body);
    assert!(!answered.says("id=\"missing\""), "{}", answered.body);
    // 90 days, the lifetime of the refresh token. The day may change while the test runs.
    let day = |shift: i64| {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        now.checked_add(90.days().hours(shift)).unwrap().strftime("%-d %B %Y").to_string()
    };
    assert!(answered.says(&day(0)) || answered.says(&day(-1)), "{} in {}", day(0), answered.body);
    assert!(answered.says(r#"href="https://idbroker.webex.com/idb/profile#/tokens""#), "{}", answered.body);
    assert!(answered.says("webex-tokend forget <bdi>ada@example.com</bdi>"), "{}", answered.body);
}

#[tokio::test]
async fn a_grant_lasts_at_least_as_long_as_its_access_token() {
    let settings =
        Settings { access_lifetime: std::time::Duration::from_secs(200 * 86_400), ..Settings::default() };
    let sim = start_sim_with(settings).await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let answered = visitor.consent(&daemon, 0).await;
    let line = daemon.wait_for_line("consent stored").await;
    let expires = line.split("expires_at=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(answered.says(&format!("datetime=\"{expires}\"")), "{expires} in {}", answered.body);
}

#[tokio::test]
async fn an_avatar_is_loaded_from_webex_only_and_on_this_page_only() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let answered = visitor.consent(&daemon, 0).await;
    let origin = sim.base_url().trim_end_matches("/v1").to_owned();
    assert_eq!(image_policy(&answered), format!("img-src 'self' {origin}"));
    assert!(answered.says(&format!("src=\"{origin}/v1/pictures/")), "{}", answered.body);
    assert!(
        answered.says(r#"referrerpolicy="no-referrer""#) && answered.says(">AL<img"),
        "{}",
        answered.body
    );
    assert_eq!(image_policy(&visitor.get(daemon.url("/")).await), "img-src 'self'");

    let webexs = "https://avatar-prod-us-east-2.webexcontent.com/Avtr~V1~a/b\"><script>";
    for (avatar, policy) in [
        (Avatar::At(webexs.to_owned()), "img-src 'self' https://avatar-prod-us-east-2.webexcontent.com"),
        (Avatar::At("https://example.com/picture.png".to_owned()), "img-src 'self'"),
        (Avatar::None, "img-src 'self'"),
    ] {
        let shown = policy.contains("https");
        sim.with(|webex| webex.settings_mut().avatar = avatar);
        let answered = visitor.consent(&daemon, 0).await;
        page(&answered, 200, GRANTED);
        assert_eq!(image_policy(&answered), policy);
        assert_eq!(answered.says("id=\"picture\""), shown, "{}", answered.body);
        assert!(!answered.says("example.com/picture"), "{}", answered.body);
    }
}

#[tokio::test]
async fn long_names_are_truncated_and_missing_ones_have_a_substitute() {
    let people = vec![Person::new(&"ẞ".repeat(300), "long@example.com"), Person::new("", "")];
    let sim = start_sim_with(Settings { people, ..Settings::default() }).await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let long = visitor.consent(&daemon, 0).await;
    assert!(long.says(&"ẞ".repeat(200)) && !long.says(&"ẞ".repeat(201)), "{}", long.body);
    let unnamed = visitor.consent(&daemon, 1).await;
    page(&unnamed, 200, GRANTED);
    let id = sim.with(|webex| webex.settings().people[1].id.clone());
    assert!(unnamed.says(&format!("webex-tokend forget <bdi>{id}</bdi>")), "{}", unnamed.body);
}

#[tokio::test]
async fn requested_scopes_that_were_not_granted_are_shown() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let begun = visitor.begin(&daemon).await;
    let mut fewer = begun.clone();
    fewer.webex =
        url::Url::parse(&begun.webex.as_str().replace("spark%3Aall%20spark%3Akms", "spark%3Aall")).unwrap();
    let back = visitor.accept(&fewer, 0).await;
    let answered = visitor.get(back).await;
    page(&answered, 200, GRANTED);
    let (_, missing) = answered.body.split_once("id=\"missing\"").unwrap();
    assert!(missing.split("</div>").next().unwrap().contains("<code>spark:kms</code>"), "{}", answered.body);
}
