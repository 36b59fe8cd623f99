//! Pages besides consents.

use reqwest::Method;

use super::guarded;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::start_sim;

#[tokio::test]
async fn the_home_page_lists_the_scopes_and_links_to_the_start() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let home = visitor.get(daemon.url("/")).await;
    page(&home, 200, "This service asks for access to your Webex account");
    assert!(
        home.says(r#"id="unnamed""#),
        "the page does not say that the operator is unknown: {}",
        home.body
    );
    for scope in ["spark:all", "spark:kms"] {
        assert!(home.says(&format!("<code>{scope}</code>")), "{}", home.body);
    }
    assert!(home.says(r#"id="start" href="/oauth""#), "{}", home.body);
    assert!(visitor.cookie_names().is_empty(), "opening the home page starts no consent");

    let style = home.body.split_once(r#"stylesheet" href=""#).unwrap().1.split('"').next().unwrap();
    let style = visitor.get(daemon.url(style)).await;
    guarded(&style, "style sheet");
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    daemon.wait_for_line(&format!("open https://localhost:{}/ to consent", daemon.port())).await;
}

#[tokio::test]
async fn health_and_readiness_are_plain_text() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for (path, text) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let answered = visitor.get(daemon.url(path)).await;
        guarded(&answered, path);
        assert_eq!((answered.status, answered.body.as_str()), (200, text));
        assert_eq!(answered.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answered.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn a_daemon_whose_store_cannot_be_read_is_healthy_and_not_ready() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    // Longer than the store was, so that every page of it is overwritten.
    for file in ["tokend.db", "tokend.db-wal"] {
        std::fs::write(daemon.state_dir().join(file), [0x5a; 256 * 1024]).unwrap();
    }
    let ready = visitor.get(daemon.url("/readyz")).await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready: the store cannot be read\n"));
    daemon.wait_for_line("not ready: ").await;
    assert_eq!(visitor.get(daemon.url("/healthz")).await.status, 200);
}

#[tokio::test]
async fn an_unknown_page_has_a_friendly_error_page() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let mut url = daemon.url("/");
    for path in ["/nothing", "/oauth/", "/OAUTH", "//oauth", "/oauth%2f", "/assets/style.css", "/favicon.ico"]
    {
        url.set_path(path);
        page(&visitor.get(url.clone()).await, 404, "Page not found");
    }
}

#[tokio::test]
async fn pages_allow_get_and_head_only() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        for path in ["/", "/oauth", "/oauth?code=a&state=b", "/healthz"] {
            let answered = visitor.ask(method.clone(), daemon.url(path)).await;
            guarded(&answered, path);
            assert_eq!(
                (answered.status, answered.header("allow")),
                (405, Some("GET, HEAD, OPTIONS")),
                "{method} {path}"
            );
        }
    }
}

/// Load balancers check health this way.
#[tokio::test]
async fn options_lists_the_allowed_methods() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for path in ["/", "/oauth?code=a&state=b", "/healthz"] {
        let answered = visitor.ask(Method::OPTIONS, daemon.url(path)).await;
        guarded(&answered, path);
        assert_eq!((answered.status, answered.header("allow")), (204, Some("GET, HEAD, OPTIONS")), "{path}");
    }
}

#[tokio::test]
async fn the_configured_operator_and_purpose_are_shown_escaped() {
    let sim = start_sim().await;
    let settings = [
        ("TOKEND_OPERATOR", "Example <b>Ltd</b> & \"Co\""),
        ("TOKEND_CONTACT", "help@example.com"),
        ("TOKEND_PURPOSE", "Weekly <script>alert(1)</script> report"),
    ];
    let (daemon, visitor) = (Daemon::start(&sim, &settings).await, BrowserClient::new());
    let home = visitor.get(daemon.url("/")).await;
    let granted = visitor.consent(&daemon, 0).await;
    let stale = visitor.get(daemon.url("/oauth?code=a&state=b")).await;
    assert_eq!((home.status, granted.status, stale.status), (200, 200, 400));
    for answered in [&home, &granted, &stale] {
        guarded(answered, "page");
        assert!(!answered.says("<b>") && !answered.says("<script"), "{}", answered.body);
        assert!(answered.says("<bdi>Example &#60;b&#62;Ltd"), "{}", answered.body);
        assert!(answered.says(r#"href="mailto:help@example.com""#), "{}", answered.body);
    }
    for answered in [&home, &granted] {
        assert!(answered.says("Weekly &#60;script&#62;"), "{}", answered.body);
    }
    assert!(!home.says(r#"id="unnamed""#), "{}", home.body);
}

#[tokio::test]
async fn an_unknown_scope_is_shown_with_an_explanation() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[("MY_APP_SCOPES", "spark:rooms_read analytics:read_all")]).await;
    let home = BrowserClient::new().get(daemon.url("/")).await;
    assert!(home.says("<span>See your spaces</span> <code>spark:rooms_read</code>"), "{}", home.body);
    assert!(home.says("<span>Permission</span> <code>analytics:read_all</code>"), "{}", home.body);
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for path in ["/", "/healthz", "/readyz", "/nothing", "/oauth?code=a&state=b"] {
        let (get, head) =
            (visitor.get(daemon.url(path)).await, visitor.ask(Method::HEAD, daemon.url(path)).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        guarded(&head, path);
        let length = get.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}
