//! The dashboard, as operators use it: with a mouse, with keys alone, without scripts, on a phone, in the dark.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use webex_sim::Sim;
use webex_tokend::clock::Clock;
use webex_tokend::clock::SystemClock;
use webex_tokend::domain::key::Rights;
use webex_tokend::domain::schedule::Next;
use webex_tokend::keys::Keys;
use webex_tokend::keys::NewKey;
use webex_tokend::store::Store;
use webex_tokend::store::sqlite::SqliteStore;

use super::axe;
use super::webdriver::Browser;
use super::webdriver::ENTER;
use super::webdriver::TAB;
use crate::support::Daemon;
use crate::support::Visitor;
use crate::support::crowd;
use crate::support::sim;

const ROWS: &str = "document.querySelectorAll('[data-person]').length";

/// Two of the same width, as [`super::looks`] measures them: of the page and of the screen.
const WIDTHS: &str = "[document.documentElement.scrollWidth, innerWidth]";

/// Things to be pressed that are smaller than WCAG 2.2 asks for (2.5.8), links in sentences aside.
const SMALL: &str = "[...document.querySelectorAll('button, .button, .small-button, input:not([type=hidden])')].filter(it => \
    { const box = it.getBoundingClientRect(); return box.width > 0 && (box.width < 20 || box.height < 20); }).length";

/// A daemon that keeps so many people, and a key of an operator's.
async fn house(people: usize) -> (Sim, Daemon, String) {
    let sim = sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    daemon.terminate().await;
    let client = sim.with(|webex| webex.settings().client_id.clone());
    let (dir, now) = (daemon.state_dir(), SystemClock.now());
    crowd::settle(&dir, &client, people, now).await;
    let opened = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), &client, now);
    let store = Arc::new(opened.unwrap().0);
    // These are no grants of the simulator's: nothing of them is due while the tests look.
    for n in (0..people).filter(|n| n % 100 == 3) {
        let mut odd = crowd::member(n, now);
        odd.person.display_name =
            Some("<script>document.title = 'taken'</script> ".to_owned() + &"Very long ".repeat(12));
        odd.next = crowd::member(0, now).next;
        store.save_consent(odd).await.unwrap();
    }
    let keys = Keys::load(store.clone(), Arc::new(SystemClock)).await.unwrap();
    let new = NewKey {
        name: "operator".to_owned(),
        rights: Rights::parse("admin").unwrap(),
        persons: None,
        life: None,
    };
    let key = keys.make(new).await.unwrap().expose().to_owned();
    drop((keys, store));
    daemon.restart(&[]).await;
    (sim, daemon, key)
}

/// A key for the dashboard, made as an operator makes one.
pub(super) fn operator_key(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir());
    let made = command.args(["key", "create", "operator", "--can", "admin"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

async fn sign_in(browser: &Browser, daemon: &Daemon, key: &str) {
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", key).await;
    browser.click("#sign-in").await;
    assert_eq!(browser.text("#name").await, "operator");
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn an_operator_signs_in_watches_acts_and_signs_out() {
    let (sim, daemon, key) = house(0).await;
    let browser = Browser::start().await;
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", "wtk_wrong").await;
    browser.click("#sign-in").await;
    assert!(browser.text("#said").await.contains("opens nothing"));
    sign_in(&browser, &daemon, &key).await;
    assert!(browser.text("#rows").await.contains("Nobody has consented yet"));

    // Whoever consents appears, without a reload.
    browser.until("document.getElementById('live').textContent.startsWith('Live')").await;
    browser.run("window.same = true").await;
    for person in [0, 1] {
        Visitor::new().consent(&daemon, person).await;
        browser.until(&format!("{ROWS} === {}", person + 1)).await;
        // Whoever is at the keyboard stays there, though the table is another one.
        if person == 0 {
            browser.run("document.querySelector('th a[data-key=\"Next refresh\"]').focus()").await;
        }
    }
    assert_eq!(browser.evaluate("document.activeElement.textContent").await, "Next refresh");
    assert_eq!(browser.text("#tile-all .number").await, "2");
    assert_eq!(browser.evaluate("window.same").await, true, "the page was loaded anew");
    drop(sim);

    browser.may_copy().await;
    browser.click("[data-key=copy]").await;
    browser.until("document.getElementById('live').textContent.includes('copied')").await;
    let copied = browser.run("return navigator.clipboard.readText()").await;
    assert!(copied.as_str().unwrap().ends_with("/oauth?person=ada%40example.com"), "{copied}");

    browser.click("[data-key=refresh]").await;
    assert!(browser.text("#said").await.contains("not refreshed: the last refresh is too young"));
    browser.click("[data-key=who]").await;
    assert_eq!(browser.text("#person").await, "Ada Lovelace");
    assert!(browser.text("#summary").await.starts_with("All is well"));
    browser.click("#force").await;
    browser.click("#refresh").await;
    assert!(browser.text("#said").await.contains("the refresh failed"), "the simulator is gone");
    browser.until("document.querySelector('#tile-retrying .number').textContent === '1'").await;

    browser.click("[data-key=forget]").await;
    assert_eq!(browser.text("#forget-heading").await, "Forget Ada Lovelace?");
    browser.click("#keep").await;
    browser.until(&format!("{ROWS} === 2")).await;
    browser.click("[data-key=forget]").await;
    browser.click("#forget").await;
    assert!(browser.text("#said").await.contains("forgotten"));
    browser.until(&format!("{ROWS} === 1")).await;
    daemon.wait_until_kept(&["grace"]).await;

    browser.click("#sign-out").await;
    browser.text("#sign-in").await;
    browser.back().await;
    browser.reload().await;
    browser.text("#sign-in").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn a_page_whose_session_has_ended_says_so_once_and_asks_for_nothing_more() {
    let (_sim, daemon, key) = house(3).await;
    let browser = Browser::start().await;
    sign_in(&browser, &daemon, &key).await;
    browser.until("document.getElementById('live').textContent.startsWith('Live')").await;
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

/// Walks through a long list by links and forms only.
async fn walk(browser: &Browser, daemon: &Daemon, key: &str) {
    sign_in(browser, daemon, key).await;
    browser.look_like(1280, 800, "light").await;
    browser.reload().await;
    assert_eq!(browser.text("#tile-all .number").await, "3,000");
    assert_eq!(browser.text("#tile-retrying .number").await, "30");
    let first = browser.text("[data-person] .who a").await;
    browser.click("#next").await;
    browser.click("#next").await;
    browser.click("#previous").await;
    browser.click("#first").await;
    assert_eq!(browser.text("[data-person] .who a").await, first);
    browser.click("#tile-consent_needed a").await;
    assert!(browser.text("#only").await.contains("consent needed"));
    assert_eq!(browser.text("[data-person] .badge").await, "Consent needed");
    browser.click("#everybody").await;
    browser.click("th[scope=col] a").await;
    assert_eq!(browser.text("[data-person] .who .small").await, "ada.0@example.com");
    browser.click("th[aria-sort=ascending] a").await;
    browser.text("th[aria-sort=descending]").await;
    browser.click("#everybody, #tile-all a").await;
    browser.write("#q", "LISKOV").await;
    browser.click("#search").await;
    assert!(browser.text("#only").await.contains("LISKOV"));
    assert!(browser.text("[data-person] .who a").await.ends_with("Liskov"));
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn three_thousand_people_are_walked_through_with_and_without_scripts() {
    let (_sim, daemon, key) = house(3000).await;
    walk(&Browser::start().await, &daemon, &key).await;
    let plain = Browser::without_scripts().await;
    walk(&plain, &daemon, &key).await;
    plain.click("[data-key=forget]").await;
    plain.click("#keep").await;
    plain.click("[data-key=who]").await;
    plain.text("#link").await;
    plain.click("#refresh").await;
    plain.text("#said").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn the_keyboard_is_enough_for_operators() {
    let (_sim, daemon, key) = house(3).await;
    let browser = Browser::start().await;
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", &key).await;
    browser.press(ENTER).await;
    browser.text("#name").await;
    // Everything that can be pressed is reached, in the order of the page, and is seen to be.
    let mut reached = Vec::new();
    for _ in 0..30 {
        browser.press(TAB).await;
        let at = "[document.activeElement.dataset.key || document.activeElement.id || document.activeElement.className, \
                  getComputedStyle(document.activeElement).outlineStyle]";
        let at = browser.evaluate(at).await;
        assert_eq!(at[1], "solid", "{at}");
        reached.push(at[0].as_str().unwrap().to_owned());
        if reached.iter().filter(|key| *key == "forget").count() == 3 {
            break;
        }
    }
    let row = ["who", "refresh", "copy", "forget"];
    assert_eq!(reached[..2], ["brand", "sign-out"]);
    assert_eq!(reached[reached.len() - 12..], [row, row, row].concat(), "{reached:?}");
    browser.press(ENTER).await;
    browser.text("#forget-heading").await;
    assert_ne!(browser.evaluate("document.title").await, "taken");
}

/// People as a week of refreshing leaves them, and what the last day's refreshes came to.
async fn settle_for_the_picture(dir: &Path, client: &str) {
    let (now, day) = (SystemClock.now(), Duration::from_secs(86_400));
    let opened = SqliteStore::open(&dir.join("tokend.db"), &dir.join("key"), client, now);
    let store = opened.unwrap().0;
    for n in 0..1240 {
        let mut grant = crowd::member(n, now);
        // Spread over the week, each person at a minute of their own.
        let age = Duration::from_secs(60 * (u64::try_from(n).unwrap() * 997 % (7 * 1440)));
        let renewed_at = now - age;
        (grant.obtained_at, grant.renewed_at, grant.answered_at) =
            (renewed_at - day * 60, renewed_at, renewed_at);
        grant.tokens.expires_at = renewed_at + day * 14;
        grant.tokens.refresh_token_expires_at = Some(renewed_at + day * 90);
        if grant.failures == 0 {
            grant.last.at = renewed_at;
            grant.next = Next::at(renewed_at + day * 7);
        }
        store.save_consent(grant).await.unwrap();
    }
    drop(store);
    let db = Connection::open(dir.join("tokend.db")).unwrap();
    let hour = now.0 / 3_600_000;
    for back in 0..24_i64 {
        let renewed = 5 + (back * 7 + 3) % 6;
        for (outcome, refreshes) in [
            ("renewed", renewed),
            ("unchanged", i64::from(back % 7 == 2)),
            ("transient", if [13, 14].contains(&back) { 3 } else { 0 }),
        ] {
            let sql = "INSERT INTO history VALUES (?1, ?2, ?3, ?4)";
            db.execute(sql, (client, hour - back, outcome, refreshes)).unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "writes docs/images; needs chromium and chromedriver"]
async fn pictures_for_the_readme_are_taken() {
    let (sim, mut daemon, key) = house(0).await;
    daemon.terminate().await;
    let client = sim.with(|webex| webex.settings().client_id.clone());
    settle_for_the_picture(&daemon.state_dir(), &client).await;
    daemon.restart(&[("EVENT_LOOP_DAYS", "7")]).await;
    let browser = Browser::start().await;
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&images).unwrap();
    browser.look_like(1280, 1000, "light").await;
    browser.open(&daemon.url("/")).await;
    let consent = browser.seen("consent").await;
    sign_in(&browser, &daemon, &key).await;
    browser.click("th[scope=col] a").await;
    browser.run("document.getElementById('plan').loading = 'eager'").await;
    browser.is_loaded("#plan").await;
    let dashboard = browser.seen("dashboard").await;
    for (file, name) in [(consent, "consent.png"), (dashboard, "dashboard.png")] {
        assert!(std::fs::metadata(&file).unwrap().len() < 150_000, "{name} is too large");
        std::fs::copy(file, images.join(name)).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs chromium, chromedriver and axe-core; bash tests/run.sh installs them"]
async fn the_dashboard_fits_phones_and_desks_by_day_and_by_night() {
    for people in [0, 3, 3000] {
        let (_sim, daemon, key) = house(people).await;
        let browser = Browser::start().await;
        for (screen, scheme) in [("phone", "light"), ("phone", "dark"), ("desk", "light"), ("desk", "dark")] {
            let width = [1280, 360][usize::from(screen == "phone")];
            browser.look_like(width, 800, scheme).await;
            look_at(&browser, &daemon, &key, &format!("dashboard-{people}-{screen}-{scheme}")).await;
        }
    }
}

async fn look_at(browser: &Browser, daemon: &Daemon, key: &str, name: &str) {
    browser.open(&daemon.url("/dashboard/sign-in")).await;
    browser.text("#sign-in").await;
    looked_at(browser, &format!("{name}-sign-in")).await;
    sign_in(browser, daemon, key).await;
    if name.contains("-0-") {
        looked_at(browser, name).await;
    } else {
        browser.run("document.getElementById('plan').loading = 'eager'").await;
        browser.is_loaded("#plan").await;
        looked_at(browser, name).await;
        browser.click("[data-key=who]").await;
        browser.text("#person").await;
        looked_at(browser, &format!("{name}-person")).await;
        browser.click("#forget").await;
        browser.text("#forget-heading").await;
        looked_at(browser, &format!("{name}-forget")).await;
    }
    browser.click("#sign-out").await;
    browser.text("#sign-in").await;
}

async fn looked_at(browser: &Browser, name: &str) {
    browser.screenshot(name).await;
    let widths = browser.evaluate(WIDTHS).await;
    assert_eq!(widths[0], widths[1], "{name} must be scrolled sideways");
    assert_eq!(browser.evaluate(SMALL).await, 0, "{name}: too small to be pressed");
    axe::is_content(browser, name).await;
}
