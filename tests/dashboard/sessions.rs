//! Signing in with a key, the lifetime of sessions, and what is refused.

use std::time::Duration;

use log::Level;
use reqwest::Method;
use webex_tokend::domain::person::PersonId;

use super::harness::DashboardServer;
use super::harness::HTTP_REDIRECT_URI;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::time::HOUR;

#[tokio::test]
async fn an_admin_key_signs_in_and_the_cookie_is_not_the_key() {
    let server = DashboardServer::new_https().await;
    let key = server.create_key("admin", None).await;
    let mut browser = server.browser();
    let away = browser.get("/dashboard").await;
    // Behind a proxy with a path prefix.
    assert_eq!((away.status, away.header("location")), (303, "/webex/dashboard/sign-in"));
    let page = browser.get("/dashboard/sign-in").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("action=\"/webex/dashboard/sign-in\""), "{}", page.text);
    // With white space, as people paste it.
    let entered = browser.sign_in(&format!(" {key}\n")).await;
    assert_eq!(entered.status, 303);
    let part = entered.header("location").strip_prefix("/webex/dashboard/").unwrap();
    let cookie = entered.header("set-cookie");
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, format!("Path=/webex/dashboard/{part}; HttpOnly; SameSite=Strict; Secure"));
    let id = pair.strip_prefix("__Secure-dashboard=").unwrap();
    assert_eq!((id.len(), part.len()), (43, 43), "256 bits in base64url");
    assert_ne!(id, part);
    assert!(!cookie.contains(&key));
    let home = browser.get("/dashboard").await;
    assert_eq!(home.status, 200);
    assert!(home.text.contains("<strong id=\"name\">admin</strong>"), "{}", home.text);
    assert!(!home.text.contains(&key) && !home.text.contains(id));
    let behind = browser.get(&format!("/webex/dashboard/{part}")).await;
    assert_eq!(behind.status, 200);
}

#[tokio::test]
async fn over_plain_http_the_cookie_has_no_secure_attributes() {
    let server = DashboardServer::new(HTTP_REDIRECT_URI).await;
    let mut browser = server.sign_in_operator("op").await;
    assert!(browser.cookie.as_deref().unwrap().starts_with("dashboard="));
    assert!(browser.is_signed_in().await);
    let key = server.create_key("admin", None).await;
    let again = browser.sign_in(&key).await;
    let path = again.header("location");
    assert!(path.starts_with("/dashboard/"), "{path}");
    assert!(again.header("set-cookie").ends_with(&format!("; Path={path}; HttpOnly; SameSite=Strict")));
}

#[tokio::test]
async fn wrong_unprivileged_and_restricted_keys_cannot_sign_in() {
    let server = DashboardServer::new_https().await;
    let (admin, expired) = (
        server.create_key("admin", None).await,
        server.create_named_key("e", "admin", None, Some(Duration::ZERO)),
    );
    let some = Some(vec![PersonId::parse("person-1").unwrap()]);
    let limited = server.create_named_key("limited", "admin", some, None).await;
    let weak = server.create_key("read,refresh", None).await;
    let mut browser = server.browser();
    for (key, why) in [
        ("", "invalid, revoked or expired"),
        ("wtk_wrong", "invalid, revoked or expired"),
        (&format!("{admin}x"), "invalid, revoked or expired"),
        (&expired.await, "invalid, revoked or expired"),
        (&weak, "the dashboard requires"),
        (&limited, "the dashboard requires"),
    ] {
        let answer = browser.sign_in(key).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{key}");
        assert!(answer.text.contains(why), "{key}: {}", answer.text);
        assert!(key.is_empty() || !answer.text.contains(key), "the page contains a key");
    }
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_session_ends_with_its_key() {
    let server = DashboardServer::new_https().await;
    let (mut first, mut second) =
        (server.sign_in_operator("first").await, server.sign_in_operator("second").await);
    assert!(server.services.keys.revoke("first").await.unwrap());
    assert!(!first.is_signed_in().await);
    assert!(second.is_signed_in().await);
    // A new key with the same name is a different key.
    server.create_named_key("first", "admin", None, None).await;
    assert!(!first.is_signed_in().await);
    let mut third = server.browser();
    let brief = server.create_named_key("brief", "admin", None, Some(Duration::from_millis(1500))).await;
    assert_eq!(third.sign_in(&brief).await.status, 303);
    assert!(third.is_signed_in().await);
    crate::support::eventually("the key has expired", || {
        let now = webex_tokend::domain::secret::Secret::new(brief.clone());
        server.services.keys.check(&now).is_none()
    })
    .await;
    assert!(!third.is_signed_in().await);
}

#[tokio::test]
async fn a_session_ends_after_an_idle_hour_and_after_twelve_hours() {
    let server = DashboardServer::new_https().await;
    let mut idle = server.sign_in_operator("idle").await;
    server.clock.advance(HOUR - Duration::from_secs(1));
    assert!(idle.is_signed_in().await);
    server.clock.advance(HOUR);
    assert!(!idle.is_signed_in().await);
    let mut busy = server.sign_in_operator("busy").await;
    for _ in 0..23 {
        server.clock.advance(HOUR / 2);
        assert!(busy.is_signed_in().await);
    }
    server.clock.advance(HOUR / 2);
    assert!(!busy.is_signed_in().await);
    let mut late = server.sign_in_operator("late").await;
    server.clock.step_back(HOUR);
    assert!(!late.is_signed_in().await, "a clock step back extends a session");
}

#[tokio::test]
async fn background_requests_do_not_extend_a_session_and_clicks_do() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    for what in ["empty", "image", "script", ""] {
        server.clock.advance(HOUR / 5);
        let request = browser.request(Method::GET, "/dashboard").header("sec-fetch-dest", what);
        assert_eq!(browser.send(request).await.status, 200, "{what:?}");
    }
    server.clock.advance(HOUR / 5);
    let request = browser.request(Method::GET, "/dashboard").header("sec-fetch-dest", "empty");
    assert_eq!(browser.send(request).await.status, 303, "a page that follows events is never idle");
    // Clicks extend the session; so does any form.
    let mut browser = server.sign_in_operator("busy").await;
    for _ in 0..3 {
        server.clock.advance(HOUR / 2);
        let request = browser.request(Method::GET, "/dashboard").header("sec-fetch-dest", "document");
        assert_eq!(browser.send(request).await.status, 200);
        server.clock.advance(HOUR / 2);
        let request = browser.form("/dashboard/nothing", &[]).header("sec-fetch-dest", "empty");
        assert_eq!(browser.send(request).await.status, 403);
    }
}

#[tokio::test]
async fn sign_in_is_refused_over_plain_http_that_others_can_reach() {
    closed(DashboardServer::new("http://tokens.example.com/oauth").await).await;
    let bind = [("TOKEND_STORE_URL", "memory:"), ("TOKEND_BIND", "127.0.0.1,0.0.0.0")];
    closed(DashboardServer::with_settings(HTTP_REDIRECT_URI, &bind).await).await;
}

async fn closed(server: DashboardServer) {
    let key = server.create_key("admin", None).await;
    let mut browser = server.browser();
    let (_, link) = server.link().await;
    let open = format!("/dashboard/open?{}", link["url"].as_str().unwrap().split_once('?').unwrap().1);
    let answers = [
        browser.get("/dashboard/sign-in").await,
        browser.sign_in(&key).await,
        browser.get(&open).await,
        browser.post("/dashboard/open", &[("link", "x"), ("code", "123456")]).await,
    ];
    for answer in answers {
        assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{}", answer.text);
        assert!(answer.text.contains("This connection is not secure"), "{}", answer.text);
        assert!(!answer.text.contains("<form") && !answer.text.contains(&key), "{}", answer.text);
    }
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn failed_sign_ins_are_logged_once_a_minute_without_the_key() {
    let server = DashboardServer::new_https().await;
    let weak = server.create_key("read", None).await;
    capture_thread_logs();
    let mut browser = server.browser();
    for key in ["wtk_wrong_one", "wtk_wrong_two", &weak] {
        assert_eq!(browser.sign_in(key).await.status, 403);
    }
    let heard = captured_logs();
    let warned: Vec<&String> =
        heard.iter().filter(|(level, _)| *level == Level::Warn).map(|(_, text)| text).collect();
    assert_eq!(warned, ["dashboard: sign-in from 127.0.0.1 failed: the key is invalid, revoked or expired"]);
    for (_, text) in heard {
        assert!(!text.contains("wtk_wrong") && !text.contains(&weak), "{text}");
    }
}

#[tokio::test]
async fn a_session_id_sent_by_the_browser_is_never_adopted() {
    let server = DashboardServer::new_https().await;
    let key = server.create_key("admin", None).await;
    let mut browser = server.browser();
    let planted = format!("__Secure-dashboard={}", "A".repeat(43));
    (browser.cookie, browser.part) = (Some(planted.clone()), Some("A".repeat(43)));
    assert!(!browser.is_signed_in().await);
    assert_eq!(browser.sign_in(&key).await.status, 303);
    let (first, first_part) = (browser.cookie.clone().unwrap(), browser.part.clone().unwrap());
    assert_ne!((first.as_str(), first_part.as_str()), (planted.as_str(), "A".repeat(43).as_str()));
    assert_eq!(browser.sign_in(&key).await.status, 303);
    let (second, second_part) = (browser.cookie.clone().unwrap(), browser.part.clone().unwrap());
    assert_ne!(second, first, "a new sign-in has a new id");
    assert_ne!(second_part, first_part, "a new sign-in has a new path");
    // A session cookie among others with the same name.
    browser.cookie = Some(format!("{planted}; {first}; other=1; {second}"));
    assert!(browser.is_signed_in().await);
    // Under its plain name it is not accepted.
    browser.cookie = second.strip_prefix("__Secure-").map(str::to_owned);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn a_form_needs_the_sessions_token_and_our_origin() {
    let server = DashboardServer::new_https().await;
    let (mut browser, mut other) =
        (server.sign_in_operator("one").await, server.sign_in_operator("two").await);
    let csrf = browser.get("/dashboard").await.csrf();
    let others = other.get("/dashboard").await.csrf();
    let base = browser.base.clone();
    for fields in [vec![], vec![("csrf", "")], vec![("csrf", "x")], vec![("csrf", others.as_str())]] {
        let answer = browser.post("/dashboard/sign-out", &fields).await;
        assert_eq!(answer.status, 403, "{fields:?}");
        assert!(answer.text.contains("The form was refused"), "{}", answer.text);
    }
    for (origin, site) in [
        (None, None),
        (Some("https://evil.example"), None),
        (Some("https://evil.example"), Some("same-origin")),
        (Some("null"), Some("same-origin")),
        (Some("null"), None),
        (Some(base.as_str()), Some("cross-site")),
        (Some(base.as_str()), Some("same-site")),
        (Some(base.as_str()), Some("none")),
        (None, Some("cross-site")),
        (Some("http://localhost"), Some("same-origin")),
        (Some("https://localhost"), None),
        (Some("https://tokens.example.com.evil.example"), None),
    ] {
        for (path, field) in [
            ("/dashboard/sign-out", ("csrf", csrf.as_str())),
            ("/dashboard/sign-in", ("key", "wtk_wrong")),
            ("/dashboard/open", ("link", "x")),
            ("/dashboard/anything", ("csrf", csrf.as_str())),
        ] {
            let mut request = browser.request(Method::POST, path).form(&[field]);
            request = origin.map_or_else(
                || request.try_clone().unwrap(),
                |origin| request.try_clone().unwrap().header("origin", origin),
            );
            request = site.map_or_else(
                || request.try_clone().unwrap(),
                |site| request.try_clone().unwrap().header("sec-fetch-site", site),
            );
            let answer = browser.send(request).await;
            assert_eq!(answer.status, 403, "{path} {origin:?} {site:?}");
            assert!(
                answer.text.contains("The form was refused"),
                "{path} {origin:?} {site:?}: {}",
                answer.text
            );
        }
    }
    let twice =
        browser.form("/dashboard/sign-out", &[("csrf", &csrf)]).header("origin", "https://evil.example");
    assert_eq!(browser.send(twice).await.status, 403, "two origins");
    assert!(browser.is_signed_in().await && other.is_signed_in().await);
    // The registered origin, for a proxy that rewrites the host, and browsers that send only one of the two headers.
    for (origin, site) in
        [(Some("https://tokens.example.com"), None), (None, Some("same-origin")), (Some(base.as_str()), None)]
    {
        let mut one = server.sign_in_operator(&format!("{origin:?} {site:?}")).await;
        let csrf = one.get("/dashboard").await.csrf();
        let mut request = one.request(Method::POST, "/dashboard/sign-out").form(&[("csrf", &csrf)]);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        assert_eq!(one.send(request).await.status, 303, "{origin:?} {site:?}");
    }
}

#[tokio::test]
async fn signing_out_ends_this_session_and_no_other() {
    let server = DashboardServer::new_https().await;
    let (mut browser, mut other) =
        (server.sign_in_operator("one").await, server.sign_in_operator("two").await);
    let before = browser.cookie.clone();
    let csrf = browser.get("/dashboard").await.csrf();
    let away = browser.post("/dashboard/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!((away.status, away.header("location")), (303, "/webex/dashboard/sign-in"));
    let path = format!("/webex/dashboard/{}", browser.part.clone().unwrap());
    assert_eq!(
        away.header("set-cookie"),
        format!("__Secure-dashboard=; Max-Age=0; Path={path}; HttpOnly; SameSite=Strict; Secure")
    );
    assert_eq!(browser.cookie, None);
    browser.cookie = before;
    assert!(!browser.is_signed_in().await, "the old cookie still opens something");
    assert!(other.is_signed_in().await);
    let again = browser.post("/dashboard/sign-out", &[("csrf", &csrf)]).await;
    assert_eq!((again.status, again.header("location")), (303, "/webex/dashboard/sign-in?ended"));
}

#[tokio::test]
async fn wrong_keys_share_the_throttle_of_the_api_and_right_ones_are_not_throttled() {
    let server = DashboardServer::new_https().await;
    let key = server.create_key("admin", None).await;
    let mut browser = server.browser();
    for n in 0..5 {
        assert_eq!(browser.sign_in("wtk_wrong").await.status, 403, "{n}");
        let request = browser.request(Method::GET, "/api/v1/people").bearer_auth("wtk_wrong");
        assert_eq!(browser.send(request).await.status, 401, "{n}");
    }
    let slowed = browser.sign_in("wtk_wrong").await;
    assert_eq!(slowed.status, 429);
    assert!((1..=6).contains(&slowed.header("retry-after").parse::<u32>().unwrap()));
    assert!(slowed.text.contains("Too many invalid keys"), "{}", slowed.text);
    assert_eq!(browser.sign_in(&key).await.status, 303);
}

#[tokio::test]
async fn sessions_are_limited_and_the_least_recently_used_ends_first() {
    let server = DashboardServer::new_https().await;
    let key = server.create_key("admin", None).await;
    let (mut stale, mut used) = (server.browser(), server.browser());
    assert_eq!((stale.sign_in(&key).await.status, used.sign_in(&key).await.status), (303, 303));
    let mut many_sessions = server.browser();
    for _ in 0..255 {
        server.clock.advance(Duration::from_millis(1));
        assert!(used.is_signed_in().await);
        (many_sessions.cookie, many_sessions.part) = (None, None);
        assert_eq!(many_sessions.sign_in(&key).await.status, 303);
    }
    assert!(used.is_signed_in().await && many_sessions.is_signed_in().await);
    assert!(!stale.is_signed_in().await);
}

#[tokio::test]
async fn every_response_forbids_caching_framing_and_foreign_scripts() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    let mut stranger = server.browser();
    let csrf = browser.get("/dashboard").await.csrf();
    let answers = [
        browser.get("/dashboard").await,
        browser.get("/dashboard/nothing").await,
        browser.post("/dashboard/nothing", &[("csrf", &csrf)]).await,
        browser.post("/dashboard/sign-out", &[]).await,
        stranger.get("/dashboard").await,
        stranger.get("/dashboard/nothing").await,
        stranger.get("/dashboard/sign-in").await,
        stranger.get("/dashboard/open?link=x").await,
        stranger.sign_in("wtk_wrong").await,
        browser.post("/dashboard/sign-out", &[("csrf", &csrf)]).await,
    ];
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 404, 403, 303, 303, 200, 404, 403, 303]);
    for answer in answers {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        assert!(["no-referrer", "strict-origin"].contains(&answer.header("referrer-policy")), "{answer:?}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        let has_form = answer.text.contains("<form");
        assert!(!has_form || policy.contains("form-action 'self'"), "{policy}");
        assert!(
            !has_form || answer.header("referrer-policy") == "strict-origin",
            "the referrer policy must not hide the origin"
        );
    }
}

#[tokio::test]
async fn methods_bodies_and_head_requests_are_validated() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let request = browser.request(method.clone(), "/dashboard/sign-in");
        let answer = browser.send(request).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, POST"), "{method}");
    }
    let out = browser.get("/dashboard/sign-out").await;
    assert_eq!((out.status, out.header("allow")), (405, "POST"));
    assert!(browser.is_signed_in().await, "opening a link ends no session");
    for path in ["/dashboard", "/dashboard/sign-in"] {
        let whole = browser.get(path).await;
        let request = browser.request(Method::HEAD, path);
        let head = browser.send(request).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-length"), whole.text.len().to_string(), "{path}");
    }
    let long = "x".repeat(40_000);
    assert_eq!(browser.sign_in(&long).await.status, 413);
    let json = browser.form("/dashboard/sign-in", &[]).header("content-type", "application/json").body("{}");
    let refused = browser.send(json).await.status;
    assert!([403, 415].contains(&refused), "{refused}");
    // The dashboard is at its exact path only.
    let request = browser.request(Method::GET, "/dashboards");
    assert_eq!(browser.send(request).await.status, 404);
}
