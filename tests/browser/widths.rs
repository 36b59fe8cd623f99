//! Screens of every width, from the smallest phone to a wide desktop: no page scrolls sideways, and no address is
//! broken inside a word.

use webex_sim::Person;
use webex_sim::Settings;

use super::consent;
use super::home;
use super::operators::daemon_with_people;
use super::operators::sign_in;
use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::start_sim_with;

/// How much wider the page is than the screen, and which elements overflow.
const SIDEWAYS: &str = "[document.documentElement.scrollWidth - document.documentElement.clientWidth, \
     [...document.querySelectorAll('body *')].filter(it => it.getBoundingClientRect().right > \
     document.documentElement.clientWidth + 1).slice(0, 3).map(it => it.outerHTML.slice(0, 120))]";

/// Words of addresses that span more than one line.
const TORN: &str = "[...document.querySelectorAll('.address')].flatMap(it => [...it.childNodes])\
     .filter(it => { const range = document.createRange(); range.selectNodeContents(it); \
     return new Set([...range.getClientRects()].map(box => box.top)).size > 1; }).map(it => it.textContent)";

/// Checks the open page at every width.
async fn assert_never_scrolls_sideways(browser: &Browser, name: &str) {
    let mut wide = Vec::new();
    for width in (320..=1920).step_by(8) {
        browser.resize(width, 800).await;
        let found = browser.evaluate(SIDEWAYS).await;
        if found[0].as_i64().unwrap() > 0 {
            wide.push(format!("{width}: by {} {}", found[0], found[1]));
        }
    }
    assert!(wide.is_empty(), "{name} scrolls sideways at {} widths:\n{}", wide.len(), wide.join("\n"));
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn no_dashboard_page_scrolls_sideways_at_any_width() {
    for people in [0, 206] {
        let (_sim, daemon, key) = daemon_with_people(people).await;
        let browser = Browser::start().await;
        browser.open(&daemon.url("/dashboard/sign-in")).await;
        assert_never_scrolls_sideways(&browser, "the sign-in page").await;
        sign_in(&browser, &daemon, &key).await;
        assert_never_scrolls_sideways(&browser, &format!("the overview of {people}")).await;
        if people == 0 {
            continue;
        }
        let overview = browser.url().await;
        for closed in ["#invite summary", "[data-key=invitation]", "#account summary"] {
            browser.evaluate(&format!("document.querySelector('{closed}').click()")).await;
        }
        assert_never_scrolls_sideways(&browser, "the overview with all that can be opened").await;
        for width in [320, 1280] {
            browser.resize(width, 800).await;
            browser.screenshot(&format!("dashboard-opened-{width}")).await;
        }
        for list in ["consent_needed", "consent_ending", "retrying", "working"] {
            browser.click(&format!("#tile-{list} a")).await;
            browser.text("#only").await;
            assert_never_scrolls_sideways(&browser, &format!("the list of {list}")).await;
            browser.click("[data-key=who]").await;
            browser.text("#person").await;
            assert_never_scrolls_sideways(&browser, &format!("the page of one of {list}")).await;
            browser.open(&overview).await;
        }
        browser.write("#q", "very").await;
        browser.click("#search").await;
        browser.text("#only").await;
        assert_never_scrolls_sideways(&browser, "what was found").await;
        browser.click("[data-key=who]").await;
        browser.text("#person").await;
        assert_never_scrolls_sideways(&browser, "the page of a person with a long name").await;
        browser.click("#forget").await;
        browser.text("#forget-heading").await;
        assert_never_scrolls_sideways(&browser, "the question before a person is forgotten").await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn no_consent_page_scrolls_sideways_at_any_width() {
    let long_address = format!("{}@{}.example.com", "a".repeat(64), "b".repeat(60));
    let people = vec![
        Person::new(&"Wolfeschlegelsteinhausenbergerdorff ".repeat(9), &long_address),
        Person::new(&"x".repeat(300), "x@example.com"),
    ];
    let sim =
        start_sim_with(Settings { people, avatar: webex_sim::Avatar::None, ..Settings::default() }).await;
    let operator = format!("Example {}", "Aktiengesellschaft".repeat(5));
    let purpose =
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft ".repeat(5);
    let settings = [
        ("TOKEND_OPERATOR", operator.as_str()),
        ("TOKEND_PURPOSE", purpose.trim()),
        ("TOKEND_CONTACT", long_address.as_str()),
        (
            "MY_APP_SCOPES",
            "spark:all spark-admin:wholesale_billing_reports_write_and_something_that_never_ends",
        ),
    ];
    let daemon = Daemon::start(&sim, &settings).await;
    let browser = Browser::start().await;
    browser.open(&home(&daemon)).await;
    assert_never_scrolls_sideways(&browser, "the home page").await;
    for person in [0, 1] {
        consent(&browser, &daemon, person).await;
        assert_never_scrolls_sideways(&browser, &format!("the thanks to person {person}")).await;
    }
    for path in ["/oauth?code=a&state=b", "/oauth?error=invalid_scope", "/nothing"] {
        browser.open(&daemon.url(path)).await;
        browser.text("#problem").await;
        assert_never_scrolls_sideways(&browser, path).await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn no_address_is_broken_inside_a_word_on_a_desktop() {
    let (_sim, daemon, key) = daemon_with_people(206).await;
    let browser = Browser::start().await;
    sign_in(&browser, &daemon, &key).await;
    browser.resize(1280, 800).await;
    let shown = browser.evaluate("document.querySelectorAll('.address').length").await;
    assert!(shown.as_u64().unwrap() > 50, "{shown}");
    assert_eq!(browser.evaluate(TORN).await, serde_json::json!([]));
    for list in ["consent_needed", "consent_ending", "retrying", "working"] {
        browser.click(&format!("#tile-{list} a")).await;
        browser.text("#only").await;
        assert_eq!(browser.evaluate(TORN).await, serde_json::json!([]), "{list}");
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn on_a_phone_the_first_person_is_visible_without_scrolling() {
    for people in [1, 5, 206] {
        let (_sim, daemon, key) = daemon_with_people(people).await;
        let browser = Browser::start().await;
        browser.emulate_screen(360, 640, "light").await;
        sign_in(&browser, &daemon, &key).await;
        let end = "document.querySelector('[data-person]').getBoundingClientRect().bottom";
        let end = browser.evaluate(end).await.as_f64().unwrap();
        assert!(end <= 640.0, "with {people} people the first one ends at {end}");
    }
}
