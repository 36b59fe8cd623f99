//! The pages on a phone and a desktop, in light and dark mode, with names of all kinds.

use webex_sim::Person;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::accept;
use super::axe;
use super::consent;
use super::home;
use super::start;
use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::inject_fault;
use crate::support::start_sim;
use crate::support::start_sim_with;

/// `[width of the content, width of the viewport]`, background colour and text colour.
const MEASURES: &str = "[document.documentElement.scrollWidth, document.documentElement.clientWidth, \
                        getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]";

/// Controls smaller than 24 by 24 (WCAG 2.2, 2.5.8), except links in sentences.
const SMALL: &str = "[...document.querySelectorAll('a[href], button')].filter(it => \
                     getComputedStyle(it).display !== 'inline' && \
                     (it.getBoundingClientRect().height < 24 || it.getBoundingClientRect().width < 24)).length";

const SCREENS: [(&str, u32, u32); 2] = [("phone", 360, 740), ("desk", 1280, 800)];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Many scopes, the longest there are.
const SCOPES: &str = "spark:all spark:kms spark-admin:people_write meeting:admin_participants_write \
                      spark-admin:wholesale_billing_reports_write_and_something_that_never_ends";

/// Checks the open page. Returns its background and text colours.
async fn looked_at(browser: &Browser, name: &str) -> (String, String) {
    browser.screenshot(name).await;
    let measures = browser.evaluate(MEASURES).await;
    assert_eq!(measures[0], measures[1], "{name} scrolls sideways");
    assert_eq!(browser.evaluate(SMALL).await, 0, "{name}: controls are too small");
    if name.contains("phone") {
        axe::assert_no_violations(browser, name).await;
    }
    let colour = |at: usize| measures[at].as_str().unwrap().to_owned();
    (colour(2), colour(3))
}

/// The browser returns from Webex while Webex fails.
async fn come_back_to(browser: &Browser, daemon: &Daemon, sim: &Sim, trouble: FaultKind) {
    start(browser, daemon).await;
    inject_fault(sim, Endpoint::AccessToken, 1, trouble);
    accept(browser, 0).await;
    browser.text("#problem").await;
}

async fn look_at_all(browser: &Browser, daemon: &Daemon, sim: &Sim, look: &str) -> (String, String) {
    browser.open(&home(daemon)).await;
    let colours = looked_at(browser, &format!("home-{look}")).await;
    consent(browser, daemon, 0).await;
    looked_at(browser, &format!("granted-{look}")).await;
    browser.open(&daemon.url("/oauth?code=a&state=b")).await;
    browser.text("#problem").await;
    looked_at(browser, &format!("stale-{look}")).await;
    for (name, trouble) in [
        ("refused", FaultKind::TokenLimit),
        ("client-refused", FaultKind::Client401),
        ("unreachable", FaultKind::Unavailable { status: 503, html: true }),
    ] {
        come_back_to(browser, daemon, sim, trouble).await;
        looked_at(browser, &format!("{name}-{look}")).await;
    }
    for (name, path) in [
        ("declined", "/oauth?error=access_denied"),
        ("scopes", "/oauth?error=invalid_scope"),
        ("broken", "/oauth?error=server_error"),
        ("ended", "/oauth?error=else"),
        ("nothing", "/nothing"),
    ] {
        browser.open(&daemon.url(path)).await;
        browser.text("#problem").await;
        looked_at(browser, &format!("{name}-{look}")).await;
    }
    colours
}

#[tokio::test]
#[ignore = "needs chromium, chromedriver and axe-core; bash tests/run.sh installs them"]
async fn pages_fit_phones_and_desktops_in_light_and_dark_mode() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[("MY_APP_SCOPES", SCOPES)]).await;
    let browser = Browser::start().await;
    let mut colours = Vec::new();
    for (screen, width, height) in SCREENS {
        for scheme in SCHEMES {
            browser.emulate_screen(width, height, scheme).await;
            colours.push(look_at_all(&browser, &daemon, &sim, &format!("{screen}-{scheme}")).await);
        }
    }
    let [light, dark] = &colours[..2] else { panic!("{colours:?}") };
    assert!(light.0 != dark.0 && light.1 != dark.1, "dark mode is not dark: {colours:?}");
    assert_eq!(&colours[..2], &colours[2..]);
}

#[tokio::test]
#[ignore = "needs chromium, chromedriver and axe-core; bash tests/run.sh installs them"]
async fn names_of_any_length_and_script_fit_the_page() {
    let long_email = format!("{}@{}.example.com", "a".repeat(64), "b".repeat(60));
    let people = vec![
        Person::new("محمد بن موسى الخوارزمي", "al.khwarizmi@example.com"),
        Person::new("👩‍💻 Grace 🚢 Hopper", "grace@example.com"),
        Person::new(&"Wolfeschlegelsteinhausenbergerdorff ".repeat(9), &long_email),
        Person::new(&"x".repeat(300), "x@example.com"),
        Person::new("", "nameless@example.com"),
        Person::new("", ""),
        Person::new("山田 太郎", "taro@example.com"),
    ];
    let count = people.len();
    let sim =
        start_sim_with(Settings { people, avatar: webex_sim::Avatar::None, ..Settings::default() }).await;
    let daemon = Daemon::start(&sim, &[]).await;
    let browser = Browser::start().await;
    browser.emulate_screen(360, 740, "light").await;
    for person in 0..count {
        consent(&browser, &daemon, person).await;
        looked_at(&browser, &format!("name-{person}-phone")).await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn the_readmes_pictures_are_taken() {
    let sim = start_sim().await;
    let scopes = "spark:people_read spark:rooms_read spark:messages_write";
    let daemon = Daemon::start(&sim, &[("MY_APP_SCOPES", scopes)]).await;
    let browser = Browser::start().await;
    for scheme in SCHEMES {
        browser.emulate_screen(800, 900, scheme).await;
        browser.open(&home(&daemon)).await;
        let home = browser.screenshot(&format!("readme-home-{scheme}")).await;
        consent(&browser, &daemon, 0).await;
        browser.is_loaded("#picture").await;
        let granted = browser.screenshot(&format!("readme-granted-{scheme}")).await;
        for file in [home, granted] {
            let size = std::fs::metadata(&file).unwrap().len();
            assert!(size < 120_000, "{} has {size} bytes", file.display());
        }
    }
}
