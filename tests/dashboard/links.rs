//! One-time sign-in links from the control socket, and what a real daemon logs of them and forgets.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::harness::DashboardServer;
use super::harness::HTTPS_REDIRECT_URI;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::http;
use crate::support::start_sim;

/// The value after `?link=`.
fn id(link: &Value) -> String {
    let url = link["url"].as_str().unwrap();
    let start = format!("{}dashboard/open?link=", HTTPS_REDIRECT_URI.strip_suffix("oauth").unwrap());
    url.strip_prefix(&start).unwrap_or_else(|| panic!("{url}")).to_owned()
}

fn code(link: &Value) -> String {
    link["code"].as_str().unwrap().to_owned()
}

fn wrong(code: &str) -> &'static str {
    if code == "123456" { "123457" } else { "123456" }
}

#[tokio::test]
async fn a_link_and_its_code_open_the_dashboard_once() {
    let server = DashboardServer::new_https().await;
    let (status, link) = server.link().await;
    assert_eq!(status, 201);
    let (id, code) = (id(&link), code(&link));
    let mut browser = server.browser();
    // A browser may prefetch the link, which does not use it up.
    for _ in 0..3 {
        let page = browser.get(&format!("/dashboard/open?link={id}")).await;
        assert_eq!((page.status, page.header("set-cookie")), (200, ""));
        assert!(page.text.contains("action=\"/webex/dashboard/open\""), "{}", page.text);
        assert!(!page.text.contains(&code), "the page contains the code");
    }
    let entered = browser.post("/dashboard/open", &[("link", &id), ("code", &format!(" {code} "))]).await;
    assert_eq!(entered.status, 303);
    assert!(entered.header("location").starts_with("/webex/dashboard/"), "{entered:?}");
    let home = browser.get("/dashboard").await;
    assert!(home.text.contains("the terminal"), "{}", home.text);
    let mut other = server.browser();
    assert_eq!(other.post("/dashboard/open", &[("link", &id), ("code", &code)]).await.status, 404);
    assert_eq!(other.get(&format!("/dashboard/open?link={id}")).await.status, 404);
    assert!(!other.is_signed_in().await);
}

#[tokio::test]
async fn a_link_without_its_code_opens_nothing_and_allows_three_attempts() {
    let server = DashboardServer::new_https().await;
    let (_, link) = server.link().await;
    let (id, code) = (id(&link), code(&link));
    let mut browser = server.browser();
    for (tried, expected) in [("", 403), (wrong(&code), 403), (wrong(&code), 404), (code.as_str(), 404)] {
        let answer = browser.post("/dashboard/open", &[("link", &id), ("code", tried)]).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (expected, ""), "{tried}");
    }
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_link_expires_after_a_minute_and_at_most_sixteen_are_pending() {
    let server = DashboardServer::new_https().await;
    let (_, link) = server.link().await;
    server.clock.advance(Duration::from_secs(60));
    let mut browser = server.browser();
    let (id, code) = (id(&link), code(&link));
    assert_eq!(browser.get(&format!("/dashboard/open?link={id}")).await.status, 404);
    assert_eq!(browser.post("/dashboard/open", &[("link", &id), ("code", &code)]).await.status, 404);
    for n in 0..16 {
        assert_eq!(server.link().await.0, 201, "{n}");
    }
    let (status, problem) = server.link().await;
    assert_eq!((status, problem["code"].as_str()), (429, Some("too_many_requests")));
}

/// The output lines of `webex-tokend dashboard` on this daemon.
fn dashboard(daemon: &Daemon, words: &[&str], browser: Option<&str>) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir()).env("PATH", "/nonexistent");
    if let Some(browser) = browser {
        command.env("BROWSER", browser);
    }
    let output = command.arg("dashboard").args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_command_opens_the_dashboard_and_its_secrets_are_in_no_log_and_no_argument() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    let told = daemon.state_dir().join("browser-was-told");
    // A browser that records its arguments.
    let script = daemon.state_dir().join("browser");
    std::fs::write(
        &script,
        format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}.new\n/bin/mv {0}.new {0}\n", told.display()),
    )
    .unwrap();
    std::process::Command::new("chmod").arg("700").arg(&script).status().unwrap();
    let (ended, out, said) = dashboard(&daemon, &[], script.to_str());
    assert_eq!((ended, out.as_str()), (Some(0), ""), "{said}");
    let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start)).unwrap().to_owned();
    let (url, code) = (line("https:"), line("The code to enter there: "));
    crate::support::eventually("the browser is opened", || told.exists()).await;
    let arguments = std::fs::read_to_string(&told).unwrap();
    assert!(arguments.contains(&url) && !arguments.contains(&code), "{arguments}");
    let url = Url::parse(&format!("https:{url}")).unwrap();
    let id = url.query().unwrap().strip_prefix("link=").unwrap().to_owned();

    let (ended, out, said) = dashboard(&daemon, &["--no-browser"], None);
    assert!(
        ended == Some(0) && Url::parse(out.trim_end()).is_ok() && said.contains("The code"),
        "{out}{said}"
    );

    let visitor = BrowserClient::new();
    assert_eq!(visitor.get(url.clone()).await.status, 200);
    let origin = url.origin().ascii_serialization();
    let post = |path: &str, fields: &[(&str, &str)]| {
        let request = http().post(daemon.url(path)).form(fields).header("origin", &origin);
        async move { request.send().await.unwrap() }
    };
    let entered = post("/dashboard/open", &[("link", &id), ("code", &code)]).await;
    assert_eq!(entered.status(), 303);
    let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let path = entered.headers()["location"].to_str().unwrap().to_owned();
    let part = path.strip_prefix("/dashboard/").unwrap().to_owned();
    let home = http().get(daemon.url(&path)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(home.status(), 200);
    let home = home.text().await.unwrap();
    let csrf = home.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(post("/dashboard/sign-in", &[("key", "wtk_nokey_but_secret")]).await.status(), 403);
    for line in ["GET /dashboard/open 200", "GET /dashboard/… 200", "POST /dashboard/sign-in 403"] {
        daemon.wait_for_line(line).await;
    }
    let log = daemon.log().join("\n");
    let id_of_session = cookie.split_once('=').unwrap().1;
    for secret in [id.as_str(), code.as_str(), id_of_session, &part, &csrf, "wtk_nokey", "link="] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }

    // Sessions are in memory only.
    daemon.restart(&[]).await;
    let away = http().get(daemon.url(&path)).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(away.status(), 303);
    daemon.terminate().await;
    let (ended, _, said) = dashboard(&daemon, &["--no-browser"], None);
    assert_eq!(ended, Some(5), "{said}");
    assert!(said.contains("no daemon answers"), "{said}");
}

#[tokio::test]
async fn sign_in_links_are_created_over_the_control_socket_only() {
    let server = DashboardServer::new_https().await;
    let key = server.create_key("admin", None).await;
    let mut browser = server.browser();
    let request = browser.request(Method::POST, "/api/v1/dashboard-links").bearer_auth(&key);
    let refused = browser.send(request).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    // A session gives no access to the API: a cookie, which browsers send automatically, must not be enough there.
    let mut operator = server.sign_in_operator("op").await;
    assert_eq!(operator.get("/api/v1/people").await.status, 401);
}
