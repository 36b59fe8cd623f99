//! Tests in a real browser. Ignored by default, because they need Chromium and chromedriver.

mod appearance;
mod axe;
mod dashboard;
mod keyboard_and_scripts;
mod operators;
mod other_ports;
mod people;
mod webdriver;
mod widths;

use url::Url;

use crate::support::Daemon;
use webdriver::Browser;

/// From the home page to the consent page of Webex.
async fn start(browser: &Browser, daemon: &Daemon) {
    browser.open(&home(daemon)).await;
    browser.click("#start").await;
    browser.text("#accept").await;
}

fn home(daemon: &Daemon) -> Url {
    daemon.url("/")
}

/// Accepts at Webex, as the person of this index.
async fn accept(browser: &Browser, person: usize) {
    browser.click(&format!("#person option[value='{person}']")).await;
    browser.click("#accept").await;
}

/// Checks the page after a successful consent. Returns the person's name on it.
async fn granted(browser: &Browser) -> String {
    assert_eq!(browser.text("#granted").await, "Access Granted");
    browser.text("#person").await
}

/// A consent from the home page to its end. Returns the person's name on the last page.
async fn consent(browser: &Browser, daemon: &Daemon, person: usize) -> String {
    start(browser, daemon).await;
    accept(browser, person).await;
    granted(browser).await
}
