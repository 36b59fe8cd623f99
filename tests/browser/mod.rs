//! People in real browsers. Ignored unless asked for, since they need Chromium and chromedriver.

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

/// From the home page to the question at Webex.
async fn start(browser: &Browser, daemon: &Daemon) {
    browser.open(&home(daemon)).await;
    browser.click("#start").await;
    browser.text("#accept").await;
}

fn home(daemon: &Daemon) -> Url {
    daemon.url("/")
}

/// Answers the question at Webex with yes, as the person of this index.
async fn accept(browser: &Browser, person: usize) {
    browser.click(&format!("#person option[value='{person}']")).await;
    browser.click("#accept").await;
}

/// The page after a good end: whom it thanks.
async fn granted(browser: &Browser) -> String {
    assert_eq!(browser.text("#granted").await, "Access Granted");
    browser.text("#person").await
}
