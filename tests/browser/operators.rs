//! The dashboard as operators use it: with a mouse, with the keyboard alone, without scripts, on a phone, in dark mode.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use webex_sim::Sim;
use webex_tokend::api_keys::ApiKeys;
use webex_tokend::api_keys::NewApiKey;
use webex_tokend::clock::Clock;
use webex_tokend::clock::SystemClock;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::sqlite::SqliteStore;

use super::axe;
use super::webdriver::Browser;
use super::webdriver::ENTER;
use super::webdriver::TAB;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::many_grants;
use crate::support::start_sim;

const ROWS: &str = "document.querySelectorAll('[data-person]').length";

/// Whether the page follows events.
const FOLLOWS: &str = "document.getElementById('live').dataset.follows === 'yes'";

/// `[width of the page, width of the screen]`, see [`super::appearance`].
const WIDTHS: &str = "[document.documentElement.scrollWidth, innerWidth]";

/// Controls smaller than WCAG 2.2 requires (2.5.8), except links in sentences.
const SMALL: &str = "[...document.querySelectorAll('button, .button, .small-button, input:not([type=hidden])')].filter(it => \
    { const box = it.getBoundingClientRect(); return box.width > 0 && (box.width < 20 || box.height < 20); }).length";

/// A daemon with so many persons, and an operator's key.
pub(super) async fn daemon_with_people(people: usize) -> (Sim, Daemon, String) {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    daemon.terminate().await;
    let client = sim.with(|webex| webex.settings().client_id.clone());
    let (dir, now) = (daemon.state_dir(), SystemClock.now());
    many_grants::store_many(&dir, &client, people, now).await;
    let opened = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), &client, now);
    let store = Arc::new(opened.unwrap().0);
    // These grants are not the simulator's: none of them is due during the tests.
    for n in (0..people).filter(|n| [3, 5, 9].contains(&(n % 100))) {
        let mut odd = many_grants::nth_grant(n, now);
        odd.person.display_name =
            Some("<script>document.title = 'taken'</script> ".to_owned() + &"Very long ".repeat(12));
        let long = format!("{n}.katherine-johnson@engineering.departments.example-company.com");
        odd.person.email = Email::parse(&long).ok();
        odd.next = many_grants::nth_grant(0, now).next;
        if n == 103 {
            odd.person.display_name = Some("x".repeat(150));
        }
        store.save_consent(odd).await.unwrap();
    }
    let keys = ApiKeys::load(store.clone(), Arc::new(SystemClock)).await.unwrap();
    let new = NewApiKey {
        name: "operator".to_owned(),
        rights: Rights::parse("admin").unwrap(),
        persons: None,
        life: None,
    };
    let key = keys.create(new).await.unwrap().expose().to_owned();
    drop((keys, store));
    daemon.restart(&[]).await;
    (sim, daemon, key)
}

/// A key for the dashboard, created as an operator creates one.
pub(super) fn operator_key(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir());
    let made = command.args(["key", "create", "operator", "--can", "admin"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

pub(super) async fn sign_in(browser: &Browser, daemon: &Daemon, key: &str) {
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", key).await;
    browser.click("#sign-in").await;
    assert_eq!(browser.text("#name").await, "operator");
}

async fn sign_out(browser: &Browser) {
    browser.click("#account summary").await;
    browser.click("#sign-out").await;
    browser.text("#sign-in").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn an_operator_signs_in_follows_events_acts_and_signs_out() {
    let (sim, daemon, key) = daemon_with_people(0).await;
    let browser = Browser::start().await;
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", "wtk_wrong").await;
    browser.click("#sign-in").await;
    assert!(browser.text("#said").await.contains("invalid, revoked or expired"));
    sign_in(&browser, &daemon, &key).await;
    assert!(browser.text("#rows").await.contains("People appear here"));

    // A person who consents appears without a reload.
    browser.until(FOLLOWS).await;
    browser.run("window.same = true").await;
    for person in [0, 1] {
        BrowserClient::new().consent(&daemon, person).await;
        browser.until(&format!("{ROWS} === {}", person + 1)).await;
        // The focus stays in place although the table was replaced.
        if person == 0 {
            browser.run("document.querySelector('th a[data-key=\"Next refresh\"]').focus()").await;
        }
    }
    assert_eq!(browser.evaluate("document.activeElement.textContent").await, "Next refresh");
    assert_eq!(browser.text("#tile-all .number").await, "2");
    assert_eq!(browser.evaluate("window.same").await, true, "the page was reloaded");
    drop(sim);

    browser.allow_clipboard().await;
    browser.click("[data-key=who]").await;
    browser.click("#copy").await;
    browser.until("document.getElementById('live').textContent === 'Copied.'").await;
    let copied = browser.run("return navigator.clipboard.readText()").await;
    assert!(copied.as_str().unwrap().ends_with("/oauth?person=ada%40example.com"), "{copied}");
    browser.click("#copy-invitation").await;
    browser.until("document.getElementById('copy-invitation').textContent === 'Copied'").await;
    let copied = browser.run("return navigator.clipboard.readText()").await;
    assert!(copied.as_str().unwrap().starts_with("Hello Ada Lovelace,\n"), "{copied}");

    assert_eq!(browser.text("#person").await, "Ada Lovelace");
    assert!(browser.text("#summary").await.starts_with("All is well"));
    browser.click("#refresh").await;
    assert!(browser.text("#said").await.contains("the refresh failed"), "the simulator is gone");
    browser.until("document.querySelector('#tile-retrying .number').textContent === '1'").await;
    browser.click("[data-key=refresh]").await;
    // The previous page has another text in the same place.
    let said = "document.getElementById('said')?.textContent";
    browser
        .until(&format!(
            "{said}?.includes('Ada Lovelace: not refreshed, because a refresh was tried a moment ago')"
        ))
        .await;

    browser.click("[data-key=who]").await;
    browser.click("#forget").await;
    assert_eq!(browser.text("#forget-heading").await, "Forget Ada Lovelace?");
    browser.click("#keep").await;
    assert_eq!(browser.text("#person").await, "Ada Lovelace");
    browser.click("#forget").await;
    browser.click("button#forget").await;
    assert!(browser.text("#said").await.contains("Ada Lovelace: forgotten"));
    browser.until(&format!("{ROWS} === 1")).await;
    daemon.wait_until_stored(&["grace"]).await;

    sign_out(&browser).await;
    browser.back().await;
    browser.reload().await;
    browser.text("#sign-in").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_page_of_an_ended_session_says_so_once_and_sends_no_more_requests() {
    let (_sim, daemon, key) = daemon_with_people(3).await;
    let browser = Browser::start().await;
    sign_in(&browser, &daemon, &key).await;
    browser.until(FOLLOWS).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir()).args(["key", "revoke", "operator"]);
    assert!(command.output().unwrap().status.success());
    browser.until("document.getElementById('live').textContent.startsWith('You are signed out.')").await;
    let count = "window.asked = 0; \
                 for (const name of ['fetch', 'EventSource']) { \
                     window[name] = function () { window.asked += 1; throw new Error('asked again'); }; } \
                 const timer = window.setTimeout; \
                 document.dispatchEvent(new Event('visibilitychange')); \
                 window.later = false; timer(() => { window.later = true; }, 7000)";
    browser.run(count).await;
    browser.until("window.later").await;
    assert_eq!(browser.evaluate("window.asked").await, 0);
    assert!(browser.text("#live").await.starts_with("You are signed out."));
    browser.click("#again").await;
    browser.text("#sign-in").await;
}

/// Pages through a long list by links and forms only.
async fn walk(browser: &Browser, daemon: &Daemon, key: &str) {
    sign_in(browser, daemon, key).await;
    browser.emulate_screen(1280, 800, "light").await;
    browser.reload().await;
    assert_eq!(browser.text("#tile-all .number").await, "3,000");
    assert_eq!(browser.text("#tile-retrying .number").await, "30");
    let first = browser.text("tr[data-person] .who a").await;
    browser.click("#next").await;
    browser.click("#next").await;
    browser.click("#previous").await;
    browser.click("#first").await;
    assert_eq!(browser.text("tr[data-person] .who a").await, first);
    browser.click("#tile-consent_needed a").await;
    assert_eq!(browser.text("#people-heading").await, "People who must consent");
    assert_eq!(browser.text("[data-person] .badge").await, "Must consent");
    browser.click("#show-all").await;
    browser.click("th[scope=col] a").await;
    browser.text("th[aria-sort=ascending]").await;
    assert!(browser.text("[data-person] .who .address").await.starts_with("1003.katherine-johnson@"));
    browser.click("th[aria-sort=ascending] a").await;
    browser.text("th[aria-sort=descending]").await;
    browser.click("#show-all, #tile-all a").await;
    browser.write("#q", "LISKOV").await;
    browser.click("#search").await;
    assert!(browser.text("#only").await.contains("LISKOV"));
    assert!(browser.text("[data-person] .who a").await.ends_with("Liskov"));
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_list_of_three_thousand_people_can_be_paged_with_and_without_scripts() {
    let (_sim, daemon, key) = daemon_with_people(3000).await;
    walk(&Browser::start().await, &daemon, &key).await;
    let plain = Browser::without_scripts().await;
    walk(&plain, &daemon, &key).await;
    plain.click("[data-key=who]").await;
    plain.click("#forget").await;
    plain.click("#keep").await;
    plain.click("details.invitation summary").await;
    assert!(plain.text("#invitation").await.starts_with("Hello "));
    plain.click("#refresh").await;
    plain.text("#said").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn the_dashboard_is_usable_with_the_keyboard_alone() {
    let (_sim, daemon, key) = daemon_with_people(10).await;
    let browser = Browser::start().await;
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", &key).await;
    browser.press(ENTER).await;
    browser.text("#name").await;
    // Every control is reached in the order of the page, with a visible focus.
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press(TAB).await;
        let at = "[document.activeElement.dataset.key || document.activeElement.id || document.activeElement.className \
                  || document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]";
        let at = browser.evaluate(at).await;
        assert_eq!(at[1], "solid", "{at}");
        reached.push(at[0].as_str().unwrap().to_owned());
        if reached.iter().filter(|key| *key == "invitation").count() == 2 {
            break;
        }
    }
    let need = ["who", "copy", "copy-invitation", "mail", "invitation"];
    let tiles = ["tile"; 5];
    let above = ["small-button"];
    assert_eq!(reached, [&["brand", "SUMMARY"][..], &tiles, &above, &need, &need].concat(), "{reached:?}");
    browser.press(ENTER).await;
    browser.until("document.activeElement.closest('details').open").await;
    assert_ne!(browser.evaluate("document.title").await, "taken");
}

/// Persons as they are after a week of refreshing; a few of them need a new consent.
async fn store_people_for_the_picture(dir: &Path, client: &str) {
    let (now, day) = (SystemClock.now(), Duration::from_secs(86_400));
    let opened = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), client, now);
    let store = opened.unwrap().0;
    for n in 0..1240 {
        let mut grant = many_grants::nth_grant(n, now);
        // So that persons in the same state do not all have the same name.
        grant.person = many_grants::nth_grant(n * 7919 % 10_007, now).person;
        // Spread over the week, each person at a different minute.
        let age = Duration::from_secs(60 * (u64::try_from(n).unwrap() * 997 % (7 * 1440)));
        let renewed_at = now - age;
        (grant.obtained_at, grant.renewed_at, grant.answered_at) =
            (renewed_at - day * 60, renewed_at, renewed_at);
        if n % 400 != 209 {
            grant.tokens.expires_at = renewed_at + day * 14;
        }
        if n % 500 != 5 {
            grant.tokens.refresh_token_expires_at = Some(renewed_at + day * 90);
        }
        if grant.failures == 0 {
            grant.last.at = renewed_at;
            grant.next = Schedule::at(renewed_at + day * 7);
        }
        store.save_consent(grant).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "writes docs/images; needs chromium and chromedriver"]
async fn pictures_for_the_readme_are_taken() {
    let (sim, mut daemon, key) = daemon_with_people(0).await;
    daemon.terminate().await;
    let client = sim.with(|webex| webex.settings().client_id.clone());
    store_people_for_the_picture(&daemon.state_dir(), &client).await;
    let settings = [
        ("EVENT_LOOP_DAYS", "7"),
        ("MY_APP_SCOPES", "spark:all spark:kms"),
        ("TOKEND_OPERATOR", "Example Ltd, IT"),
        ("TOKEND_CONTACT", "it@example.com"),
        ("TOKEND_PURPOSE", "Rooms are booked, and their displays are kept up to date."),
    ];
    daemon.restart(&settings).await;
    let browser = Browser::start().await;
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&images).unwrap();
    browser.emulate_screen(1280, 1000, "light").await;
    browser.open(&daemon.url("/")).await;
    let consent = browser.screenshot_viewport("consent").await;
    browser.emulate_screen(1280, 820, "light").await;
    sign_in(&browser, &daemon, &key).await;
    browser.click("[data-key=invitation]").await;
    let dashboard = browser.screenshot_viewport("dashboard").await;
    for (file, name) in [(consent, "consent.png"), (dashboard, "dashboard.png")] {
        assert!(std::fs::metadata(&file).unwrap().len() < 150_000, "{name} is too large");
        std::fs::copy(file, images.join(name)).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium, chromedriver and axe-core; bash tests/run.sh installs them"]
async fn the_dashboard_fits_phones_and_desktops_in_light_and_dark_mode() {
    for people in [0, 1, 5, 206, 3000] {
        let (_sim, daemon, key) = daemon_with_people(people).await;
        let browser = Browser::start().await;
        browser.open(&daemon.url("/dashboard/sign-in")).await;
        browser.text("#sign-in").await;
        looked_at(&browser, &format!("dashboard-{people}-sign-in")).await;
        sign_in(&browser, &daemon, &key).await;
        let overview = browser.url().await;
        looked_at(&browser, &format!("dashboard-{people}")).await;
        if people == 0 {
            continue;
        }
        for list in ["consent_needed", "retrying"] {
            browser.click(&format!("#tile-{list} a")).await;
            browser.text("#only").await;
            looked_at(&browser, &format!("dashboard-{people}-{list}")).await;
            browser.open(&overview).await;
        }
        browser.click("[data-key=who]").await;
        browser.text("#person").await;
        looked_at(&browser, &format!("dashboard-{people}-person")).await;
        browser.click("#forget").await;
        browser.text("#forget-heading").await;
        looked_at(&browser, &format!("dashboard-{people}-forget")).await;
    }
}

/// Checks the open page on every kind of screen.
async fn looked_at(browser: &Browser, name: &str) {
    for scheme in ["light", "dark"] {
        for width in [320, 360, 768, 1024, 1200, 1280, 1920] {
            browser.emulate_screen(width, 800, scheme).await;
            let name = format!("{name}-{width}-{scheme}");
            browser.screenshot(&name).await;
            let widths = browser.evaluate(WIDTHS).await;
            assert_eq!(widths[0], widths[1], "{name} scrolls sideways");
            assert_eq!(browser.evaluate(SMALL).await, 0, "{name}: controls are too small");
            if [360, 1280].contains(&width) {
                axe::assert_no_violations(browser, &name).await;
            }
        }
    }
}
