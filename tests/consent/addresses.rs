//! Addresses of the daemon: over TLS, without TLS, and behind proxies that keep or strip a path prefix.

use url::Url;

use super::GRANTED;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::PLAIN;
use crate::support::counters;
use crate::support::start_sim;

#[tokio::test]
async fn plain_http_on_the_tls_port_is_redirected_to_https() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let port = daemon.port();
    for path in ["/", "/oauth", "/oauth?person=ada%40example.com"] {
        let answered = visitor.get(Url::parse(&format!("http://localhost:{port}{path}")).unwrap()).await;
        let there = format!("https://localhost:{port}{path}");
        assert_eq!((answered.status, answered.header("location")), (308, Some(there.as_str())));
        assert_eq!(answered.header("cache-control"), Some("no-store"));
        assert_eq!(answered.all("set-cookie").count(), 0);
    }
}

/// A redirect would come back over the same proxy, endlessly.
#[tokio::test]
async fn a_proxy_that_speaks_plain_http_to_the_tls_port_gets_advice() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let plain = Url::parse(&format!("http://localhost:{}/oauth?code=a&state=b", daemon.port())).unwrap();
    for (name, value) in [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto", "HTTPS, http"),
        ("Forwarded", "for=192.0.2.7;proto=https"),
    ] {
        let answered = visitor.get_with_header(plain.clone(), name, value).await;
        assert_eq!((answered.status, answered.header("location")), (400, None), "{name}: {value}");
        assert!(answered.says("Behind a proxy") && answered.says("HTTPS to this port"), "{}", answered.body);
    }
    assert_eq!(visitor.get_with_header(plain, "X-Forwarded-Proto", "http").await.status, 308);
    let line = daemon.wait_for_line("a proxy (X-Forwarded-Proto: https)").await;
    assert!(line.contains(" WARN ") && line.contains("proxy_pass https://"), "{line}");
    daemon.terminate().await;
    let log = daemon.final_log().await;
    assert_eq!(log.iter().filter(|line| line.contains("a proxy (X-Forwarded")).count(), 1);
}

#[tokio::test]
async fn an_http_redirect_uri_is_served_without_tls() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[PLAIN]).await, BrowserClient::new());
    let answered = visitor.get(daemon.redirect_uri()).await;
    let cookie = answered.header("set-cookie").unwrap();
    assert!(cookie.starts_with("ticket-"), "browsers refuse __Host- on plain HTTP: {cookie}");
    assert!(cookie.ends_with("; Max-Age=900; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
    let granted = BrowserClient::new().consent(&daemon, 3).await;
    page(&granted, 200, GRANTED);
    assert!(granted.says("Mary Jackson"));
    daemon.wait_until_stored(&["mary"]).await;
}

const UNDER_A_PREFIX: (&str, &str) = ("MY_APP_REDIRECT_URI", "https://localhost:{port}/webex/oauth");

#[tokio::test]
async fn a_path_prefix_that_the_proxy_keeps_is_handled() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[UNDER_A_PREFIX]).await, BrowserClient::new());
    let home = visitor.get(daemon.url("/webex/")).await;
    assert_eq!(home.status, 200);
    assert!(
        home.says(r#"href="/webex/oauth""#) && home.says(r#"href="/webex/assets/style."#),
        "{}",
        home.body
    );
    let style = home.body.split_once(r#"stylesheet" href=""#).unwrap().1.split('"').next().unwrap();
    assert_eq!(visitor.get(daemon.url(style)).await.status, 200);
    for path in ["/webex/healthz", "/webex/readyz", "/healthz"] {
        assert_eq!(visitor.get(daemon.url(path)).await.status, 200, "{path}");
    }
    for path in ["/webexoauth", "/other/oauth", "/webex/webex/oauth"] {
        assert_eq!(visitor.get(daemon.url(path)).await.status, 404, "{path}");
    }
    let back = visitor.come_back(&daemon, 0).await;
    assert_eq!(back.path(), "/webex/oauth");
    page(&visitor.get(back).await, 200, GRANTED);
    daemon.wait_until_stored(&["ada"]).await;
}

#[tokio::test]
async fn a_path_prefix_that_the_proxy_strips_is_handled() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[UNDER_A_PREFIX]).await, BrowserClient::new());
    let stripped = |url: &Url| {
        let mut url = url.clone();
        let path = url.path().strip_prefix("/webex").unwrap().to_owned();
        url.set_path(&path);
        url
    };
    let home = visitor.get(stripped(&daemon.url("/webex/"))).await;
    assert!(home.says(r#"href="/webex/oauth""#), "links use the path that the browser sees: {}", home.body);
    let begun = visitor.get(stripped(&daemon.redirect_uri())).await;
    let webex = begun.header("location").unwrap();
    let back = visitor.get(Url::parse(&format!("{webex}&decision=accept&person=1")).unwrap()).await;
    let back = Url::parse(back.header("location").unwrap()).unwrap();
    page(&visitor.get(stripped(&back)).await, 200, GRANTED);
    daemon.wait_until_stored(&["grace"]).await;
    assert_eq!(counters(&sim).codes_exchanged, 1);
}
