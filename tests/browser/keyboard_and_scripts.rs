//! Without a mouse, without scripts, and with avatar and widget from other hosts.

use serde_json::Value;
use webex_sim::Settings;
use webex_sim::Sim;

use super::accept;
use super::axe;
use super::consent;
use super::granted;
use super::home;
use super::webdriver::Browser;
use super::webdriver::ENTER;
use super::webdriver::TAB;
use crate::support::Daemon;
use crate::support::start_sim;

/// The focused element, and whether the focus is visible.
const FOCUSED: &str = "[document.activeElement.id || document.activeElement.className, \
                       getComputedStyle(document.activeElement).outlineStyle]";

async fn tab_to(browser: &Browser, id: &str) {
    browser.press(TAB).await;
    let focused = browser.evaluate(FOCUSED).await;
    assert_eq!(focused, Value::from(vec![id, "solid"]));
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_consent_is_possible_with_the_keyboard_alone() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    browser.open(&home(&daemon)).await;
    tab_to(&browser, "brand").await;
    tab_to(&browser, "start").await;
    browser.press(ENTER).await;
    accept(&browser, 0).await;
    granted(&browser).await;
    tab_to(&browser, "brand").await;
    tab_to(&browser, "revoke").await;
    browser.open(&daemon.url("/oauth?code=a&state=b")).await;
    browser.text("#problem").await;
    tab_to(&browser, "brand").await;
    tab_to(&browser, "start").await;
    browser.press(ENTER).await;
    browser.text("#accept").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_consent_needs_no_script() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::without_scripts().await);
    assert_eq!(consent(&browser, &daemon, 1).await, "Grace Hopper");
    browser.reload().await;
    assert_eq!(granted(&browser).await, "Grace Hopper");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn an_avatar_from_webex_passes_the_content_security_policy() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    consent(&browser, &daemon, 0).await;
    browser.is_loaded("#picture").await;
}

/// A TLS simulator that also stands in for the widget's host, and a daemon with a space.
async fn space() -> (Sim, Daemon) {
    let settings = Settings::default();
    let (bot, id) = (settings.bot_token.clone(), settings.space_id.clone());
    let sim = Sim::start_on(([127, 0, 0, 1], 0).into(), true, settings).await.unwrap();
    let daemon = Daemon::start(&sim, &[("BOT_TOKEN", &bot), ("SPACE_ID", &id)]).await;
    (sim, daemon)
}

#[tokio::test]
#[ignore = "needs chromium, chromedriver and axe-core; bash tests/run.sh installs them"]
async fn the_space_opens_after_a_consent() {
    let (sim, daemon) = space().await;
    let mapped = format!("--host-resolver-rules=MAP code.s4d.io {}", sim.address());
    let browser = Browser::with(&[mapped]).await;
    consent(&browser, &daemon, 0).await;
    browser.screenshot("granted-with-space").await;
    browser.click("#space").await;
    let id = sim.with(|webex| webex.settings().space_id.clone());
    browser.text("#widget[data-destination-type=spaceId]").await;
    let shown = format!("Space widget (simulated) for spaceId {id}, with a token");
    browser.until(&format!("document.querySelector('#widget').textContent === {shown:?}")).await;
    assert_eq!(sim.with(|webex| webex.members()), [0]);
    assert_eq!(browser.evaluate("document.styleSheets.length").await, 2, "our style sheet and the widget's");
    assert_eq!(browser.evaluate("document.cookie").await, "", "scripts see the session cookie");
    let inline = "[...document.scripts].filter(script => !script.src).length";
    assert_eq!(browser.evaluate(inline).await, 0);
    for scheme in ["light", "dark"] {
        browser.emulate_screen(360, 740, scheme).await;
        browser.reload().await;
        axe::assert_no_violations(&browser, "space").await;
        browser.screenshot(&format!("space-phone-{scheme}")).await;
    }
    let stranger = Browser::start().await;
    stranger.open(&daemon.url("/space")).await;
    assert_eq!(stranger.text("#problem").await, "Consent first");
    stranger.screenshot("no-visit").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn without_scripts_the_space_says_what_it_needs() {
    let ((_sim, daemon), browser) = (space().await, Browser::without_scripts().await);
    consent(&browser, &daemon, 0).await;
    browser.click("#space").await;
    browser.text("#widget").await;
    // Browsers with scripts hide it.
    let seen = "getComputedStyle(document.querySelector('#widget noscript')).display";
    assert_eq!(browser.evaluate(seen).await, "inline");
}
