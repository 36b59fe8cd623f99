//! The page of the Space widget: who can open it, with whose token, and how failures of the bot affect it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;
use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::GRANTED;
use super::STALE;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PLAIN;
use crate::support::PageResponse;
use crate::support::counters;
use crate::support::eventually;
use crate::support::http;
use crate::support::inject_fault;
use crate::support::start_sim;
use crate::support::start_sim_with;

const NO_VISIT: &str = "Consent first";

/// A daemon with a bot, a space, and these settings.
async fn daemon_with(sim: &Sim, more: &[(&str, &str)]) -> Daemon {
    let (bot, space) = sim.with(|webex| {
        let settings = webex.settings();
        (settings.bot_token.clone(), settings.space_id.clone())
    });
    let mut settings = vec![("BOT_TOKEN", bot.as_str()), ("SPACE_ID", space.as_str())];
    settings.extend(more);
    Daemon::start(sim, &settings).await
}

/// The link of the button on the page `granted`.
fn space_of(granted: &PageResponse) -> String {
    let (_, rest) = granted.body.split_once(r#"id="space" href=""#).expect("the page has no button");
    let path = rest.split('"').next().unwrap();
    assert_eq!(path.strip_prefix("/space/").unwrap().len(), 43, "256 bits in base64url");
    path.to_owned()
}

/// A browser whose person has consented, and the URL of its space page.
struct ConsentedBrowser {
    visitor: BrowserClient,
    /// The callback URL to which Webex sent the browser.
    back: Url,
    space: String,
}

impl ConsentedBrowser {
    async fn new(daemon: &Daemon, person: usize) -> Self {
        let visitor = BrowserClient::new();
        let back = visitor.come_back(daemon, person).await;
        let granted = visitor.get(back.clone()).await;
        page(&granted, 200, GRANTED);
        Self { visitor, back, space: space_of(&granted) }
    }

    async fn open(&self, daemon: &Daemon) -> PageResponse {
        self.visitor.get(daemon.url(&self.space)).await
    }
}

/// The space page for a browser that does not know the random path.
async fn open(visitor: &BrowserClient, daemon: &Daemon) -> PageResponse {
    visitor.get(daemon.url("/space")).await
}

/// Asserts that this is the page with the widget. Returns the token in it.
fn shown(answered: &PageResponse) -> String {
    assert_eq!(answered.status, 200, "{}", answered.body);
    let policy = answered.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for needed in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(needed), "{policy}");
    }
    assert_eq!(answered.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answered.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answered.header("cache-control"), Some("no-store"));
    let (_, rest) = answered.body.split_once("data-access-token=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn owner(sim: &Sim, token: &str) -> Option<usize> {
    sim.with(|webex| webex.person_of(token))
}

fn members(sim: &Sim) -> Vec<usize> {
    sim.with(|webex| webex.members())
}

#[tokio::test]
async fn without_its_settings_there_is_no_space_page() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let granted = visitor.consent(&daemon, 0).await;
    assert!(!granted.says("/space"), "{}", granted.body);
    assert!(!visitor.cookie_names().iter().any(|name| name.contains("visit")));
    page(&open(&visitor, &daemon).await, 404, "Page not found");
    assert_eq!(counters(&sim).calls.memberships, 0);
}

#[tokio::test]
async fn only_the_person_sees_the_space_page_with_their_token() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    let visitor = BrowserClient::new();
    let back = visitor.come_back(&daemon, 0).await;
    let granted = visitor.get(back.clone()).await;
    page(&granted, 200, GRANTED);
    let space = space_of(&granted);
    let visit = granted.all("set-cookie").find(|line| line.starts_with("__Secure-visit=")).unwrap();
    let attributes = format!("; Max-Age=3600; Path={space}; HttpOnly; SameSite=Strict; Secure");
    assert!(visit.ends_with(&attributes), "{visit}");
    let (ada, grace, stranger) = (
        ConsentedBrowser { visitor, back, space },
        ConsentedBrowser::new(&daemon, 1).await,
        BrowserClient::new(),
    );
    for (consented, person) in [(&ada, 0), (&grace, 1)] {
        let opened = consented.open(&daemon).await;
        assert_eq!(owner(&sim, &shown(&opened)), Some(person));
        let id = sim.with(|webex| webex.settings().space_id.clone());
        assert!(opened.says(&format!("data-destination-id=\"{id}\"")) && !opened.says("id=\"trouble\""));
    }
    page(&open(&stranger, &daemon).await, 403, NO_VISIT);
    page(&stranger.get(daemon.url(&ada.space)).await, 403, NO_VISIT);
    page(&grace.visitor.get(daemon.url(&ada.space)).await, 403, NO_VISIT);
    assert_eq!(members(&sim), [0, 1]);
}

#[tokio::test]
async fn only_the_space_page_allows_the_widgets_hosts() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    let granted = visitor.consent(&daemon, 0).await;
    let policy = |answered: &PageResponse| answered.header("content-security-policy").unwrap().to_owned();
    for other in [&granted, &visitor.get(daemon.url("/")).await, &open(&BrowserClient::new(), &daemon).await]
    {
        assert!(
            !policy(other).contains("code.s4d.io") && !policy(other).contains("script"),
            "{}",
            policy(other)
        );
    }
    let opened = visitor.get(daemon.url(&space_of(&granted))).await;
    let policy = policy(&opened);
    assert!(policy.contains("script-src https://code.s4d.io;"), "{policy}");
    assert!(policy.contains("style-src 'self' https://code.s4d.io;"), "{policy}");
    assert_eq!(opened.body.matches("<script").count(), 1);
    assert!(
        opened.says(r#"<script src="https://code.s4d.io/widget-space/production/bundle.js" defer></script>"#)
    );
}

#[tokio::test]
async fn a_newer_consent_and_forgetting_end_a_space_session() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    let first = ConsentedBrowser::new(&daemon, 0).await;
    shown(&first.open(&daemon).await);
    let second = ConsentedBrowser::new(&daemon, 0).await;
    page(&first.open(&daemon).await, 403, NO_VISIT);
    shown(&second.open(&daemon).await);
    forget(&daemon.state_dir(), "ada@example.com");
    page(&second.open(&daemon).await, 403, NO_VISIT);
}

fn forget(state_dir: &Path, person: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    let command = command.args(["forget", person, "--yes"]).env_clear().env("TOKEND_STATE_DIR", state_dir);
    assert!(command.output().unwrap().status.success());
}

#[tokio::test]
async fn a_forged_space_cookie_opens_nothing() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    let begun = visitor.get(daemon.redirect_uri()).await;
    let ticket = begun.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    for made_up in ["", "x", "AAAA", &ticket, &"A".repeat(3000)] {
        visitor.plant("__Secure-visit", made_up);
        page(&open(&visitor, &daemon).await, 403, NO_VISIT);
        page(&visitor.get(daemon.url(&format!("/space/{}", "A".repeat(43)))).await, 403, NO_VISIT);
    }
    // It does not prevent the real session from being found either.
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    consented.visitor.plant("__Secure-visit", "made up");
    shown(&consented.open(&daemon).await);
}

#[tokio::test]
async fn the_cookie_alone_does_not_open_the_space() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    let granted = visitor.consent(&daemon, 0).await;
    let cookie = granted.all("set-cookie").find(|line| line.contains("visit=")).unwrap();
    let cookie = cookie.split(';').next().unwrap();
    // Another server on this host that received the cookie from the browser, or a program that read it there.
    for path in ["/space", "/space/", &format!("/space/{}", "A".repeat(43))] {
        for method in [Method::GET, Method::POST] {
            let request = http().request(method.clone(), daemon.url(path)).header("cookie", cookie);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 403, "{method} {path}");
            assert_eq!(answer.headers().get("set-cookie"), None, "{method} {path}");
            let body = answer.text().await.unwrap();
            assert!(!body.contains("data-access-token"), "{method} {path} gives a token");
        }
    }
    shown(&visitor.get(daemon.url(&space_of(&granted))).await);
    daemon.wait_for_line("GET /space/… 200").await;
    let log = daemon.log().join("\n");
    let part = space_of(&granted).replace("/space/", "");
    assert!(!log.contains(&part), "{log}");
}

#[tokio::test]
async fn a_refused_token_of_the_bot_is_named_in_the_log_and_not_on_the_page() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[("BOT_TOKEN", "not-the-bots-token")]).await;
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    daemon.wait_for_line("is BOT_TOKEN (or BOT_TOKEN_FILE) right?").await;
    let opened = consented.open(&daemon).await;
    shown(&opened);
    assert!(opened.says("The bot could not add you to the space: HTTP 401"), "{}", opened.body);
    assert!(!opened.body.contains("BOT_TOKEN") && !opened.body.contains(".."), "{}", opened.body);
}

#[tokio::test]
async fn a_failing_bot_does_not_fail_the_consent_and_is_logged_and_retried() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    // One fault for the request after the consent, one for the first visit.
    inject_fault(&sim, Endpoint::Memberships, 2, FaultKind::TooMany429 { retry_after: None });
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    daemon.wait_for_line("the bot could not add a person to the space: HTTP 429").await;
    let opened = consented.open(&daemon).await;
    shown(&opened);
    assert!(opened.says("The bot could not add you to the space: HTTP 429"), "{}", opened.body);
    assert!(members(&sim).is_empty());
    let opened = consented.open(&daemon).await;
    shown(&opened);
    assert!(!opened.says("could not add you"), "{}", opened.body);
    assert_eq!(members(&sim), [0]);
}

#[tokio::test]
async fn a_hanging_bot_does_not_delay_the_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::Memberships, 1, FaultKind::Hang);
    let begun = Instant::now();
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    eventually("the bot has sent a request", || counters(&sim).calls.memberships == 1).await;
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn the_bot_adds_people_whose_browser_has_left() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(1)));
    let back = visitor.come_back(&daemon, 0).await;
    tokio::select! {
        _ = visitor.get(back) => panic!("Webex answered too fast for this test"),
        () = eventually("Webex is asked", || counters(&sim).calls.access_token == 1) => {}
    }
    drop(visitor);
    daemon.wait_for_line("the bot added a person to the space").await;
    assert_eq!(members(&sim), [0]);
}

#[tokio::test]
async fn a_person_who_is_in_the_space_already_is_added_once() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    daemon.wait_for_line("the bot added a person to the space").await;
    for _ in 0..3 {
        shown(&consented.open(&daemon).await);
    }
    assert_eq!(counters(&sim).calls.memberships, 1);
    // Another daemon does not know that the person is a member; a 409 of Webex is fine.
    let other = daemon_with(&sim, &[]).await;
    let there = ConsentedBrowser::new(&other, 0).await;
    other.wait_for_line("the bot added a person to the space").await;
    assert!(!there.open(&other).await.says("could not add you"));
}

#[tokio::test]
async fn a_person_removed_from_the_space_is_added_again_after_a_new_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (daemon_with(&sim, &[]).await, BrowserClient::new());
    visitor.consent(&daemon, 0).await;
    eventually("the bot has added them", || members(&sim) == [0]).await;
    sim.with(|webex| webex.remove_member(0));
    visitor.consent(&daemon, 0).await;
    eventually("the bot has added them again", || members(&sim) == [0]).await;
}

#[tokio::test]
async fn every_person_is_added_when_many_consent_while_webex_is_slow() {
    let people: Vec<_> = (0..24).map(Person::numbered).collect();
    let sim = start_sim_with(Settings { people, ..Settings::default() }).await;
    let daemon = Arc::new(daemon_with(&sim, &[]).await);
    inject_fault(&sim, Endpoint::Memberships, 24, FaultKind::Slow(Duration::from_secs(4)));
    let mut consents = JoinSet::new();
    for person in 0..24 {
        let daemon = daemon.clone();
        consents.spawn(async move { BrowserClient::new().consent(&daemon, person).await });
    }
    while let Some(granted) = consents.join_next().await {
        page(&granted.unwrap(), 200, GRANTED);
    }
    eventually("all are in the space", || members(&sim).len() == 24).await;
}

#[tokio::test]
async fn reloading_the_granted_page_causes_no_bot_request() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    eventually("Ada is in the space", || members(&sim) == [0]).await;
    for _ in 0..3 {
        let again = consented.visitor.get(consented.back.clone()).await;
        page(&again, 200, GRANTED);
        shown(&consented.visitor.get(daemon.url(&space_of(&again))).await);
    }
    assert_eq!(counters(&sim).calls.memberships, 1);
}

#[tokio::test]
async fn closing_the_space_session_requires_a_new_consent() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[]).await;
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    let (visitor, space) = (&consented.visitor, &consented.space);
    let opened = consented.open(&daemon).await;
    shown(&opened);
    assert!(opened.says("For one hour after your consent"), "{}", opened.body);
    assert!(opened.says(&format!(r#"method="post" action="{space}""#)), "{}", opened.body);
    // A form of another site has no cookie, and removes none.
    let foreign = BrowserClient::new().ask(Method::POST, daemon.url(space)).await;
    page(&foreign, 403, NO_VISIT);
    assert_eq!(foreign.header("set-cookie"), None);
    let left = visitor.ask(Method::POST, daemon.url(space)).await;
    page(&left, 200, "This browser can no longer open the space");
    let cookie = format!("__Secure-visit=; Max-Age=0; Path={space}; HttpOnly; SameSite=Strict; Secure");
    assert_eq!(left.header("set-cookie"), Some(cookie.as_str()));
    assert!(visitor.cookie_names().is_empty());
    page(&consented.open(&daemon).await, 403, NO_VISIT);
    // The callback URL in the browser's history does not give access either.
    page(&visitor.get(consented.back.clone()).await, 400, STALE);
    page(&consented.open(&daemon).await, 403, NO_VISIT);
    daemon.wait_until_stored(&["ada"]).await;
    // Without a space, and at other paths, nothing is sent.
    let plain = Daemon::start(&sim, &[]).await;
    page(&visitor.ask(Method::POST, plain.url("/space")).await, 404, "Page not found");
    assert_eq!(visitor.ask(Method::POST, daemon.url("/")).await.status, 405);
}

#[tokio::test]
async fn plain_http_shows_the_space_on_this_machine_only() {
    let sim = start_sim().await;
    let daemon = daemon_with(&sim, &[PLAIN]).await;
    let consented = ConsentedBrowser::new(&daemon, 0).await;
    let visitor = &consented.visitor;
    assert!(visitor.cookie_names().iter().any(|name| name == "visit"), "{:?}", visitor.cookie_names());
    shown(&consented.open(&daemon).await);
    assert!(!visitor.get(daemon.url("/")).await.says("id=\"overheard\""));
    // Not a loopback address, but one that leads to this machine.
    let address = ("MY_APP_REDIRECT_URI", "http://0.0.0.0:{port}/oauth");
    let bind = ("TOKEND_BIND", "0.0.0.0");
    for settings in [vec![address], vec![PLAIN, bind]] {
        let abroad = daemon_with(&sim, &settings).await;
        page(&open(visitor, &abroad).await, 403, "This connection is not secure");
        assert!(visitor.get(abroad.url("/")).await.says("id=\"overheard\""));
        let told = abroad.log();
        assert!(told.iter().any(|line| line.contains(" WARN  plain HTTP is served at 0.0.0.0:")), "{told:?}");
    }
}
