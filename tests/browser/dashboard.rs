//! Operators in a real browser: what it sends with forms, stores as cookies, and refuses to other sites.

use std::process::Command;

use url::Url;

use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::PLAIN;
use crate::support::start_sim;

/// The output of a command, stdout and stderr.
fn said(daemon: &Daemon, words: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir()).args(words.split(' '));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

async fn sign_in(browser: &Browser, daemon: &Daemon, key: &str) {
    browser.open(&daemon.url("/dashboard")).await;
    browser.write("#key", key).await;
    browser.click("#sign-in").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn an_operator_signs_in_by_link_or_key_and_other_sites_cannot() {
    let sim = start_sim().await;
    for settings in [&[][..], &[PLAIN]] {
        let (daemon, browser) = (Daemon::start(&sim, settings).await, Browser::start().await);
        let told = said(&daemon, "dashboard --no-browser");
        let line = |start: &str| told.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
        browser.open(&Url::parse(&line("http")).unwrap()).await;
        browser.write("#code", line("The code").rsplit(' ').next().unwrap()).await;
        browser.click("#open").await;
        assert_eq!(browser.text("#name").await, "the terminal");
        let home = browser.url().await;
        let part = home.path().strip_prefix("/dashboard/").unwrap();
        assert_eq!(part.len(), 43, "{home}");
        assert_eq!(browser.evaluate("document.cookie").await, "");
        let opens = format!(
            "new Promise(told => {{ new EventSource('{}/events').onopen = () => told('open') }})",
            home.path()
        );
        assert_eq!(browser.evaluate(&opens).await, "open");
        browser.click("#account summary").await;
        browser.click("#sign-out").await;
        browser.text("#sign-in").await;

        let key = said(&daemon, "key create op --can admin").lines().next().unwrap().to_owned();
        sign_in(&browser, &daemon, "wtk_wrong").await;
        assert!(browser.text("#said").await.contains("invalid, revoked or expired"));
        sign_in(&browser, &daemon, &key).await;
        assert_eq!(browser.text("#name").await, "op");
        let home = browser.url().await;

        // Another site sends the same form with a valid key.
        browser.open(&Url::parse(&sim.base_url()).unwrap().join("/authorize").unwrap()).await;
        let form = format!(
            "(() => {{ const f = document.createElement('form'); f.method = 'post'; f.action = '{}'; \
             const k = document.createElement('input'); k.name = 'key'; k.value = '{key}'; f.append(k); \
             document.documentElement.append(f); f.submit(); }})()",
            daemon.url("/dashboard/sign-in")
        );
        browser.evaluate(&form).await;
        assert_eq!(browser.text("#problem").await, "The form was refused");
        browser.open(&home).await;
        assert_eq!(browser.text("#name").await, "op");
        // Without the random path of the session, even this browser is not signed in.
        browser.open(&daemon.url("/dashboard")).await;
        browser.text("#sign-in").await;
        browser.open(&home).await;
        browser.text("#name").await;
        said(&daemon, "key revoke op");
        browser.reload().await;
        assert!(browser.text("#said").await.contains("You are signed out."));
        browser.text("#sign-in").await;
    }
}
