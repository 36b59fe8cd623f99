//! Attacks by other ports of the same host name: browsers send them cookies, but a cookie alone opens nothing.

use std::time::Duration;

use reqwest::Method;
use reqwest::Response;
use webex_tokend::clock::Clock;

use super::harness::DashboardServer;
use super::harness::HTTP_REDIRECT_URI;
use crate::support::http;
use crate::support::many_grants;

/// A client that has the cookie of a session and nothing else of it.
struct CookieThief {
    base: String,
    cookie: String,
}

impl CookieThief {
    async fn get(&self, method: Method, path: &str) -> Response {
        let request = http().request(method, format!("{}{path}", self.base)).header("cookie", &self.cookie);
        let request = request.header("origin", &self.base).header("sec-fetch-site", "same-origin");
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    }
}

/// Asserts that this client gets nothing of the dashboard, whatever it requests below `home`.
async fn assert_gets_nothing(thief: &CookieThief, home: &str) {
    for room in ["", "/", "/person?id=x", "/forget?id=x", "/plan.svg", "/events", "/sign-out", "/nothing"] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let path = format!("{home}{room}");
            let answer = thief.get(method.clone(), &path).await;
            let status = answer.status().as_u16();
            assert!([303, 403].contains(&status), "{method} {path}: {status}");
            assert!(answer.headers().get("set-cookie").is_none(), "{method} {path} changes a cookie");
            let to = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
            let sign_in = |to: &String| {
                to.starts_with("/webex/dashboard/sign-in") || to.starts_with("/dashboard/sign-in")
            };
            assert!(to.iter().all(sign_in), "{method} {path} leads to {to:?}");
            assert!(
                !answer.text().await.unwrap().contains("csrf"),
                "{method} {path} is a page of the session"
            );
        }
    }
}

#[tokio::test]
async fn a_cookie_alone_opens_nothing() {
    for redirect_uri in [super::harness::HTTPS_REDIRECT_URI, HTTP_REDIRECT_URI] {
        let server = DashboardServer::new(redirect_uri).await;
        let mut browser = server.sign_in_operator("op").await;
        let thief = CookieThief { base: server.base.clone(), cookie: browser.cookie.clone().unwrap() };
        for home in ["/dashboard".to_owned(), format!("/dashboard/{}", "A".repeat(43))] {
            assert_gets_nothing(&thief, &home).await;
        }
        assert!(browser.is_signed_in().await, "attempts of others end the session");
    }
}

#[tokio::test]
async fn the_session_path_alone_opens_nothing() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    let home = browser.path("/dashboard");
    for cookie in ["other=1", "__Secure-dashboard=", &format!("__Secure-dashboard={}", "A".repeat(43))] {
        assert_gets_nothing(&CookieThief { base: server.base.clone(), cookie: cookie.to_owned() }, &home)
            .await;
    }
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn the_path_of_one_session_does_not_match_the_cookie_of_another() {
    let server = DashboardServer::new_https().await;
    let (mut one, mut other) = (server.sign_in_operator("one").await, server.sign_in_operator("other").await);
    let thief = CookieThief { base: server.base.clone(), cookie: one.cookie.clone().unwrap() };
    assert_gets_nothing(&thief, &other.path("/dashboard")).await;
    let home = one.path("/dashboard");
    for wrong in [&home[..home.len() - 1], &format!("{home}A"), &home.to_uppercase(), &format!("{home}%20")] {
        assert_eq!(
            thief.get(Method::GET, wrong).await.status(),
            if wrong.starts_with("/D") { 404 } else { 303 }
        );
    }
    // Both cookies at once, as a browser with two sessions behind a careless proxy may send them.
    let both = format!("{}; {}", one.cookie.clone().unwrap(), other.cookie.clone().unwrap());
    (one.cookie, other.cookie) = (Some(both.clone()), Some(both));
    for (browser, name) in [(&mut one, "one"), (&mut other, "other")] {
        let page = browser.get("/dashboard").await;
        assert!(page.text.contains(&format!("<strong id=\"name\">{name}</strong>")), "{}", page.text);
    }
}

#[tokio::test]
async fn every_link_on_a_page_is_below_the_sessions_own_path() {
    let server = DashboardServer::new_https().await;
    for n in 0..60 {
        let member = many_grants::nth_grant(n, server.clock.now());
        server.store.save_consent(member).await.unwrap();
    }
    let mut browser = server.sign_in_operator("op").await;
    let home = format!("/webex{}", browser.path("/dashboard"));
    let id = many_grants::nth_grant(1, server.clock.now()).person.id;
    for path in ["/dashboard", &format!("/dashboard/person?id={id}"), &format!("/dashboard/forget?id={id}")] {
        let page = browser.get(path).await;
        assert_eq!((page.status, page.header("referrer-policy")), (200, "strict-origin"), "{path}");
        let addresses = page.text.split('"').filter(|text| text.starts_with("/webex/dashboard"));
        let addresses: Vec<&str> = addresses.collect();
        assert!(addresses.len() >= 3, "{path}: {addresses:?}");
        for address in addresses {
            let is_sign_in = address == "/webex/dashboard/sign-in?ended";
            assert!(is_sign_in || address.starts_with(&home), "{path} has {address}");
        }
    }
}

#[tokio::test]
async fn the_path_of_an_ended_session_leads_to_a_page_that_says_so() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    server.clock.advance(Duration::from_secs(3600));
    let away = browser.get("/dashboard/person?id=x").await;
    assert_eq!((away.status, away.header("location")), (303, "/webex/dashboard/sign-in?ended"));
    let page = browser.get("/dashboard/sign-in?ended").await;
    assert!(page.status == 200 && page.text.contains("You are signed out."), "{}", page.text);
    assert!(page.text.contains("action=\"/webex/dashboard/sign-in\""), "{}", page.text);
    for path in ["/dashboard", "/dashboard/"] {
        let mut stranger = server.browser();
        let away = stranger.get(path).await;
        assert_eq!((away.status, away.header("location")), (303, "/webex/dashboard/sign-in"), "{path}");
    }
    let plain = browser.get("/dashboard/sign-in").await;
    assert!(!plain.text.contains("You are signed out."), "{}", plain.text);
}

#[tokio::test]
async fn signing_out_everywhere_ends_all_sessions_of_the_key_and_no_others() {
    let server = DashboardServer::new_https().await;
    let key = server.create_named_key("shared", "admin", None, None).await;
    let (mut here, mut there, mut other) =
        (server.browser(), server.browser(), server.sign_in_operator("other").await);
    for browser in [&mut here, &mut there] {
        assert_eq!(browser.sign_in(&key).await.status, 303);
    }
    let (before, csrf) = (here.cookie.clone(), here.get("/dashboard").await.csrf());
    let foreign = here.post("/dashboard/sign-out", &[("csrf", "x"), ("everywhere", "yes")]).await;
    assert_eq!(foreign.status, 403);
    assert!(here.is_signed_in().await && there.is_signed_in().await);
    let away = here.post("/dashboard/sign-out", &[("csrf", &csrf), ("everywhere", "yes")]).await;
    assert_eq!((away.status, away.header("location")), (303, "/webex/dashboard/sign-in"));
    assert!(away.header("set-cookie").contains("Max-Age=0"), "{away:?}");
    here.cookie = before;
    assert!(!here.is_signed_in().await && !there.is_signed_in().await, "a session of the key is still valid");
    assert!(other.is_signed_in().await, "a session of another key has ended");
    // The key itself is still valid.
    assert_eq!(here.sign_in(&key).await.status, 303);
    assert!(here.is_signed_in().await);
}
