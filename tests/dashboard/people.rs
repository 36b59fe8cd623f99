//! The pages after signing in: overview, list, one person, and the actions on a person.

use log::Level;
use rusqlite::Connection;
use webex_tokend::clock::Clock;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::PersonId;

use super::harness::DashboardServer;
use super::harness::HTTPS_REDIRECT_URI;
use super::harness::OperatorBrowser;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::many_grants;

pub(super) async fn keep(server: &DashboardServer, grants: impl IntoIterator<Item = Grant>) {
    for grant in grants {
        server.store.save_consent(grant).await.unwrap();
    }
}

/// A server with so many persons, and a signed-in operator.
pub(super) async fn server_with_people(people: usize) -> (DashboardServer, OperatorBrowser) {
    let server = DashboardServer::new_https().await;
    keep(&server, (0..people).map(|n| many_grants::nth_grant(n, server.clock.now()))).await;
    let browser = server.sign_in_operator("op").await;
    (server, browser)
}

/// The numbers of the persons in the list.
pub(super) fn rows(page: &str) -> Vec<usize> {
    let (_, list) = page.split_once("id=\"rows\"").unwrap();
    let ids = list.split("data-person=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    ids.map(|id| usize::from_str_radix(&id[id.len() - 8..], 16).unwrap()).collect()
}

/// The target of the link with this id, without the proxy's prefix.
fn link(page: &str, id: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("id=\"{id}\""))?;
    let href = rest.split_once("href=\"")?.1.split('"').next()?;
    Some(href.replace("&#38;", "&").trim_start_matches("/webex").to_owned())
}

#[tokio::test]
async fn people_are_shown_with_their_state_and_can_be_found_and_sorted() {
    let (_world, mut browser) = server_with_people(120).await;
    let first = browser.get("/dashboard").await;
    assert_eq!(rows(&first.text), (0..50).collect::<Vec<_>>());
    for (query, expected) in [
        ("q=hedy.3%40", vec![3]),
        ("q=HEDY.103", vec![103]),
        ("q=du+ch%C3%82t", (0..120).filter(|n| n / 7 % 11 == 5).collect()),
        ("q=unknown", vec![]),
        (&format!("q={}", many_grants::nth_grant(77, _world.clock.now()).person.id), vec![77]),
    ] {
        let mut found = rows(&browser.get(&format!("/dashboard?{query}")).await.text);
        found.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
    let needy = browser.get("/dashboard?state=consent_needed").await;
    assert_eq!(rows(&needy.text), [9]);
    assert!(needy.text.contains("Must consent</span>") && needy.text.contains("aria-current=\"true\""));
    let by_name = browser.get("/dashboard?sort=person").await;
    let sorted = |way: &str, by: &str| {
        format!("aria-sort=\"{way}\"><a href=\"/webex{}\"", browser.path(&format!("/dashboard?sort={by}")))
    };
    assert!(by_name.text.contains(&sorted("ascending", "-person")), "{}", by_name.text);
    let other_way = sorted("descending", "person");
    assert_eq!(rows(&by_name.text)[0], 0, "ada.0@example.com");
    let turned = browser.get("/dashboard?sort=-person").await;
    assert!(turned.text.contains(&other_way), "{}", turned.text);
    assert_eq!(rows(&turned.text)[0], 95, "émilie.95@example.com");
}

#[tokio::test]
async fn paging_forwards_and_back_skips_no_person() {
    let (_world, mut browser) = server_with_people(120).await;
    for start in ["/dashboard", "/dashboard?sort=-next", "/dashboard?sort=person", "/dashboard?state=working"]
    {
        let mut pages = vec![browser.get(start).await.text];
        assert_eq!(link(&pages[0], "previous"), None);
        while let Some(next) = link(pages.last().unwrap(), "next") {
            pages.push(browser.get(&next).await.text);
        }
        let mut all: Vec<usize> = pages.iter().flat_map(|page| rows(page)).collect();
        assert_eq!(pages.len(), 3, "{start}");
        for at in [1, 0] {
            let previous = link(&pages[at + 1], "previous").unwrap();
            assert_eq!(rows(&browser.get(&previous).await.text), rows(&pages[at]), "{start}");
        }
        assert_eq!(link(&pages[2], "first").unwrap(), browser.path(start));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), if start.contains("working") { 117 } else { 120 });
    }
}

#[tokio::test]
async fn names_are_escaped_and_no_token_is_on_a_page() {
    let server = DashboardServer::new_https().await;
    let mut grants =
        vec![many_grants::nth_grant(0, server.clock.now()), many_grants::nth_grant(7, server.clock.now())];
    grants[0].person.display_name =
        Some("<script>alert(1)</script>\"'><img src=x onerror=alert(2)>".to_owned());
    grants[1].person.id = PersonId::parse("\"><script>alert(3)</script>&<b>").unwrap();
    grants[1].last.detail = "<i>detail</i>".to_owned();
    let secrets: Vec<String> = grants
        .iter()
        .flat_map(|grant| [&grant.tokens.access_token, &grant.tokens.refresh_token])
        .map(|secret| secret.expose().to_owned())
        .collect();
    let ids = [0, 1].map(|at: usize| grants[at].person.id.to_string());
    keep(&server, grants).await;
    let mut browser = server.sign_in_operator("<u>op</u>").await;
    let session = browser.cookie.clone().unwrap();
    let mut paths =
        vec!["/dashboard".to_owned(), "/dashboard?q=%3Cscript%3E&x=%22%3E%3Cscript%3E".to_owned()];
    for id in ids {
        let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
        paths.push(format!("/dashboard/person?id={id}"));
        paths.push(format!("/dashboard/forget?id={id}"));
        paths.push(format!("/dashboard?done=unknown&who={id}"));
    }
    for path in paths {
        let page = browser.get(&path).await;
        assert_eq!(page.status, 200, "{path}");
        let scripts = page.text.matches("<script").count();
        assert_eq!(scripts, page.text.matches("<script src=\"/webex/assets/dashboard.").count(), "{path}");
        assert!(
            !page.text.contains("<img src=x") && !page.text.contains("<b>") && !page.text.contains("<u>"),
            "{path}"
        );
        assert!(
            !page.text.contains("<i>") && !page.text.contains(" style=") && !page.text.contains(" onclick"),
            "{path}"
        );
        for secret in secrets.iter().chain([&session.split_once('=').unwrap().1.to_owned()]) {
            assert!(!page.text.contains(secret.as_str()), "{path} shows a secret");
        }
        let policy = page.header("content-security-policy");
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"), "{path}: {policy}");
        assert_eq!(page.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn forgetting_asks_for_confirmation_and_returns_to_the_list() {
    let (server, mut browser) = server_with_people(3).await;
    let id = many_grants::nth_grant(1, server.clock.now()).person.id;
    let asked = browser.get(&format!("/dashboard/forget?id={id}")).await;
    assert!(asked.text.contains("Forget Grace Lovelace?"), "{}", asked.text);
    assert!(server.store.find(id.clone()).await.unwrap().is_some(), "opening the page changes nothing");
    let csrf = asked.csrf();
    for fields in [vec![("id", id.as_str())], vec![("id", id.as_str()), ("csrf", "wrong")]] {
        assert_eq!(browser.post("/dashboard/forget", &fields).await.status, 403);
        assert_eq!(browser.post("/dashboard/refresh", &fields).await.status, 403);
    }
    assert!(server.store.find(id.clone()).await.unwrap().is_some());
    let fields = [("id", id.as_str()), ("csrf", &csrf), ("back", "https://evil.example/")];
    let gone = browser.post("/dashboard/forget", &fields).await;
    assert_eq!(gone.status, 303);
    let to = gone.header("location").to_owned();
    let home = format!("/webex{}", browser.path("/dashboard"));
    assert!(to.starts_with(&format!("{home}?done=forgotten&who=")), "{to}");
    assert_eq!(server.store.find(id.clone()).await, Ok(None));
    let page = browser.get(to.trim_start_matches("/webex")).await;
    assert!(page.text.contains("forgotten. The tokens are removed."), "{}", page.text);
    assert_eq!(rows(&page.text), [0, 2]);
    let again = browser.post("/dashboard/forget", &fields).await;
    assert!(again.header("location").contains("done=unknown"));
    let elsewhere = [("id", id.as_str()), ("csrf", &csrf), ("back", "https://evil.example/?sort=-next")];
    let to = browser.post("/dashboard/refresh", &elsewhere).await.header("location").to_owned();
    assert!(to.starts_with(&format!("{home}?done=unknown&who=")), "{to}");
    let here = [("id", id.as_str()), ("csrf", &csrf), ("back", "?sort=-next")];
    let to = browser.post("/dashboard/refresh", &here).await.header("location").to_owned();
    assert!(to.starts_with(&format!("{home}?sort=-next&done=unknown&who=")), "{to}");
    assert_eq!(browser.get(&format!("/dashboard/person?id={id}")).await.status, 404);
}

#[tokio::test]
async fn a_refresh_reports_its_outcome() {
    let (server, mut browser) = server_with_people(4).await;
    let csrf = browser.get("/dashboard").await.csrf();
    let mut refresh = async |n: usize| {
        let id = many_grants::nth_grant(n, server.clock.now()).person.id;
        let fields = [("id", id.as_str()), ("csrf", &csrf), ("back", "")];
        let done = browser.post("/dashboard/refresh", &fields).await;
        assert_eq!(done.status, 303, "{}", done.text);
        let page = browser.get(done.header("location").trim_start_matches("/webex")).await;
        let (_, said) = page.text.split_once("id=\"said\" role=\"alert\">").unwrap();
        said.split('<').next().unwrap().to_owned()
    };
    // No server listens at Webex's address.
    assert!(refresh(3).await.contains("the refresh failed"));
    assert!(refresh(0).await.contains("the refresh failed"), "also if no grant is due");
    assert!(refresh(0).await.contains("not refreshed, because a refresh was tried a moment ago"));
    let csrf = browser.get("/dashboard").await.csrf();
    let none = browser.post("/dashboard/refresh", &[("id", "none"), ("csrf", &csrf)]).await;
    assert!(none.header("location").contains("done=unknown"), "{none:?}");
    assert_eq!(browser.get("/dashboard/refresh").await.status, 405);
}

#[tokio::test]
async fn a_failing_store_is_shown_with_a_retry_time_and_logged_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = DashboardServer::with_settings(
        HTTPS_REDIRECT_URI,
        &[("TOKEND_STATE_DIR", dir.path().to_str().unwrap())],
    )
    .await;
    let mut browser = server.sign_in_operator("op").await;
    assert_eq!(browser.get("/dashboard").await.status, 200);
    let shell = Connection::open(dir.path().join("tokend.db")).unwrap();
    shell.execute_batch("ALTER TABLE tallies RENAME TO gone").unwrap();
    capture_thread_logs();
    let page = browser.get("/dashboard").await;
    assert_eq!((page.status, page.header("retry-after")), (503, "5"), "{}", page.text);
    assert!(page.text.contains("The page cannot be shown at present"), "{}", page.text);
    let told = captured_logs().into_iter().filter(|(level, _)| *level <= Level::Warn).count();
    assert!(told <= 1, "logged {told} times");
}

#[tokio::test]
async fn an_empty_dashboard_explains_how_to_begin() {
    let (_world, mut browser) = server_with_people(0).await;
    let page = browser.get("/dashboard").await;
    assert!(page.text.contains("No person has consented yet") && !page.text.contains("<table"));
    assert!(page.text.contains("webex-tokend import") && !page.text.contains("id=\"tile-"), "{}", page.text);
    assert_eq!(rows(&browser.get("/dashboard?state=working").await.text), [0; 0]);
}

#[tokio::test]
async fn style_and_script_are_cacheable_forever() {
    let (_world, mut browser) = server_with_people(1).await;
    let page = browser.get("/dashboard").await;
    let paths = page.text.split('"').filter(|part| part.starts_with("/webex/assets/dashboard."));
    let paths: Vec<String> = paths.map(str::to_owned).collect();
    assert_eq!(paths.len(), 2);
    for path in paths {
        let asset = browser.get(&path).await;
        assert_eq!(asset.status, 200);
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        let kind = if path.ends_with(".js") { "text/javascript" } else { "text/css" };
        assert!(asset.header("content-type").starts_with(kind));
    }
    let mut stranger = _world.browser();
    for path in ["/dashboard/person?id=x", "/dashboard/forget?id=x"] {
        assert_eq!(stranger.get(path).await.status, 303, "{path}");
    }
}
