//! A consent that ends with an error page writes one line to the log.

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::start_sim;

#[tokio::test]
async fn an_error_of_webex_is_logged_with_webexs_words() {
    let sim = start_sim().await;
    for (error, hint) in [
        ("invalid_scope", "; compare MY_APP_SCOPES with the integration at developer.webex.com/my-apps"),
        (
            "unauthorized_client",
            "; compare MY_APP_CLIENT_ID with the integration at developer.webex.com/my-apps",
        ),
        ("server_error", ""),
    ] {
        let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
        let state = visitor.begin(&daemon).await.query["state"].clone();
        let query =
            format!("error={error}&error_description=Scope+is+wrong%0aERROR+forged&trackingId=ROUTER_1");
        let url = daemon.url(&format!("/oauth?{query}&state={state}"));
        for _ in 0..50 {
            visitor.get(url.clone()).await;
        }
        let line = daemon.wait_for_line("Webex ended a consent").await;
        let said =
            format!("error {error:?}, description \"Scope is wrong ERROR forged\", tracking id ROUTER_1");
        assert!(line.contains(" WARN ") && line.ends_with(&format!("{said}{hint}")), "{line}");
        daemon.terminate().await;
        let log = daemon.final_log().await;
        assert_eq!(log.iter().filter(|line| line.contains("Webex ended a consent")).count(), 1);
        assert!(!log.iter().any(|line| line.contains(&state)), "the log contains a state");
    }
}

#[tokio::test]
async fn made_up_errors_do_not_suppress_log_lines_of_real_consents() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    for number in 0..20 {
        let word = "x".repeat(5_000);
        let url = format!("/oauth?error=made-up-{number}&error_description={word}&state=none");
        BrowserClient::new().get(daemon.url(&url)).await;
    }
    let line = daemon.wait_for_line("without a consent in progress").await;
    assert!(line.len() < 500 && line.contains("made-up-0"), "{line}");
    let begun = visitor.begin(&daemon).await;
    let back = visitor.decline(&begun).await;
    visitor.get(back).await;
    let line = daemon.wait_for_line("a person declined at Webex").await;
    assert!(line.contains(" INFO ") && line.contains("access_denied"), "{line}");
    let told = daemon.log().iter().filter(|line| line.contains("without a consent in progress")).count();
    assert_eq!(told, 1);
}
