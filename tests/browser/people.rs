//! Consents, step by step as people do them.

use std::time::Duration;

use webex_sim::Settings;

use super::accept;
use super::consent;
use super::granted;
use super::start;
use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim;
use crate::support::start_sim_with;

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn two_people_consent_in_their_browsers_and_are_refreshed() {
    let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    let daemon = Daemon::start(&sim, &REFRESH_EVERY_SECOND).await;
    let (ada, grace) = (Browser::start().await, Browser::start().await);
    start(&ada, &daemon).await;
    start(&grace, &daemon).await;
    accept(&ada, 0).await;
    accept(&grace, 1).await;
    assert_eq!(granted(&ada).await, "Ada Lovelace");
    assert_eq!(granted(&grace).await, "Grace Hopper");
    daemon.wait_until_stored(&["ada", "grace"]).await;
    let renewed = || counters(&sim).people.iter().filter(|person| person.refreshes.renewed > 1).count();
    eventually("both are refreshed twice", || renewed() == 2).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn after_a_decline_the_person_can_still_consent() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    start(&browser, &daemon).await;
    browser.click("#decline").await;
    assert_eq!(browser.text("#problem").await, "You did not consent");
    assert!(daemon.stored_grants().is_empty());
    browser.click("#start").await;
    accept(&browser, 2).await;
    assert_eq!(granted(&browser).await, "Katherine Johnson");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn reloading_the_last_page_and_going_back_are_harmless() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    consent(&browser, &daemon, 0).await;
    let kept = daemon.stored_grants();

    browser.reload().await;
    assert_eq!(granted(&browser).await, "Ada Lovelace");
    assert_eq!(daemon.stored_grants(), kept);
    assert_eq!(counters(&sim).calls.access_token, 1);

    // Back on the consent page of Webex: its earlier answer is used up.
    browser.back().await;
    accept(&browser, 0).await;
    assert_eq!(browser.text("#problem").await, "This link is no longer valid");
    assert!(browser.text("main").await.contains("all is well"));
    assert_eq!(daemon.stored_grants(), kept);

    browser.click("#start").await;
    accept(&browser, 1).await;
    assert_eq!(granted(&browser).await, "Grace Hopper");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn consents_in_two_tabs_do_not_interfere() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    let one = browser.tab().await;
    start(&browser, &daemon).await;
    let two = browser.new_tab().await;
    start(&browser, &daemon).await;
    browser.switch_to(&one).await;
    accept(&browser, 0).await;
    browser.switch_to(&two).await;
    accept(&browser, 1).await;
    assert_eq!(granted(&browser).await, "Grace Hopper");
    browser.switch_to(&one).await;
    assert_eq!(granted(&browser).await, "Ada Lovelace");
    daemon.wait_until_stored(&["ada", "grace"]).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_restart_while_a_person_reads_webexs_page_does_not_break_the_consent() {
    let sim = start_sim().await;
    let (mut daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    start(&browser, &daemon).await;
    assert_eq!(daemon.terminate().await.code, Some(0));
    daemon.restart(&[]).await;
    accept(&browser, 4).await;
    assert_eq!(granted(&browser).await, "Dorothy Vaughan");
    daemon.wait_until_stored(&["dorothy"]).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn consent_pages_send_no_referrer_hide_cookies_and_run_no_scripts() {
    let sim = start_sim().await;
    let (daemon, browser) = (Daemon::start(&sim, &[]).await, Browser::start().await);
    start(&browser, &daemon).await;
    assert_eq!(browser.evaluate("document.referrer").await, "", "Webex gets a referrer");
    accept(&browser, 0).await;
    granted(&browser).await;
    assert_eq!(browser.evaluate("document.cookie").await, "", "scripts see the ticket cookie");
    // Our only style sheet passes the strict policy, and there is nothing else.
    assert_eq!(browser.evaluate("document.styleSheets.length").await, 1);
    assert_eq!(browser.evaluate("document.scripts.length").await, 0);
    assert_eq!(browser.url().await.path(), "/oauth");
}
