//! How the pages look: on a phone and on a desk, in the light and in the dark.

use super::accept;
use super::granted;
use super::home;
use super::start;
use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::sim;

/// `[width, of the page, of the screen]`, the background, and the text's colour.
const MEASURES: &str = "[document.documentElement.scrollWidth, innerWidth, \
                        getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]";

async fn measured(browser: &Browser, name: &str) -> (String, String) {
    browser.screenshot(name).await;
    let measures = browser.evaluate(MEASURES).await;
    assert_eq!(measures[0], measures[1], "{name} must be scrolled sideways");
    let colour = |at: usize| measures[at].as_str().unwrap().to_owned();
    (colour(2), colour(3))
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn pages_fit_phones_and_desks_by_day_and_by_night() {
    let sim = sim().await;
    // Scopes as long as they come, and many.
    let scopes = "spark:all spark:kms spark-admin:people_write meeting:admin_participants_write \
                  spark-admin:wholesale_billing_reports_write_and_something_that_never_ends";
    let daemon = Daemon::start(&sim, &[("MY_APP_SCOPES", scopes)]).await;
    let browser = Browser::start().await;
    let mut colours = Vec::new();
    for (screen, width, height) in [("phone", 360, 740), ("desk", 1280, 800)] {
        for scheme in ["light", "dark"] {
            browser.look_like(width, height, scheme).await;
            browser.open(&home(&daemon)).await;
            colours.push(measured(&browser, &format!("home-{screen}-{scheme}")).await);
            start(&browser, &daemon).await;
            accept(&browser, 0).await;
            granted(&browser).await;
            measured(&browser, &format!("granted-{screen}-{scheme}")).await;
            browser.reload().await;
            browser.text("#problem").await;
            measured(&browser, &format!("stale-{screen}-{scheme}")).await;
            browser.open(&daemon.url("/nothing")).await;
            measured(&browser, &format!("nothing-{screen}-{scheme}")).await;
        }
    }
    let [light, dark] = &colours[..2] else { panic!("{colours:?}") };
    assert!(light.0 == dark.1 || light.0 != dark.0, "the dark is not dark: {colours:?}");
    assert_eq!(&colours[..2], &colours[2..]);
}
