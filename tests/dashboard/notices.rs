//! The page of notices, the banner, and what happened to a person.

use std::time::Duration;

use crate::dashboard::harness::DashboardServer;
use crate::dashboard::harness::HTTPS_REDIRECT_URI;
use crate::dashboard::people::keep;
use crate::support::many_grants;
use crate::support::time::HANG_TIMEOUT;
use webex_tokend::clock::Clock;

#[tokio::test]
async fn notices_that_do_not_arrive_are_on_the_first_page_and_why_on_their_own() {
    let settings = [("TOKEND_STORE_URL", "memory:"), ("NOTIFY_COMMAND", "/no/such/<program>")];
    let server = DashboardServer::with_settings(HTTPS_REDIRECT_URI, &settings).await;
    server.services.notices.start(&server.services.tasks);
    let mut browser = server.sign_in_operator("op").await;
    let arrived = async {
        while !browser.get("/dashboard").await.text.contains("Notices do not arrive.") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG_TIMEOUT, arrived).await.expect("the first page does not tell it");
    assert!(
        browser.get("/dashboard").await.text.contains("id=\"notices\""),
        "the link to the page of notices"
    );
    let page = browser.get("/dashboard/notices").await;
    assert_eq!(page.status, 200);
    for part in
        ["API key &#34;op&#34; created", "command: waiting", "fails at present", "/no/such/&#60;program&#62;"]
    {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
}

#[tokio::test]
async fn without_sinks_there_is_no_link_and_the_page_says_so() {
    let server = DashboardServer::new_https().await;
    let mut browser = server.sign_in_operator("op").await;
    assert!(!browser.get("/dashboard").await.text.contains("id=\"notices\""));
    assert!(browser.get("/dashboard/notices").await.text.contains("no sink is set"));
}

#[tokio::test]
async fn the_page_of_a_person_shows_what_happened() {
    let server = DashboardServer::new_https().await;
    let ada = many_grants::nth_grant(0, server.clock.now());
    let id = ada.person.id.to_string();
    keep(&server, [ada]).await;
    let mut browser = server.sign_in_operator("op").await;
    let page = browser.get(&format!("/dashboard/person?id={id}")).await;
    assert!(page.text.contains("id=\"history\"") && page.text.contains("consent.granted"), "{}", page.text);
}
