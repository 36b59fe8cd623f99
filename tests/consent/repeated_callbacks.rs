//! A callback that comes more than once, or is prefetched.

use std::time::Duration;

use reqwest::Method;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::CLIENT_REFUSED;
use super::GRANTED;
use super::STALE;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim;

#[tokio::test]
async fn a_reloaded_callback_shows_the_first_result() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    for _ in 0..3 {
        let answered = visitor.get(back.clone()).await;
        page(&answered, 200, GRANTED);
        assert!(answered.says("Ada Lovelace"), "{}", answered.body);
    }
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Client401);
    let back = visitor.come_back(&daemon, 0).await;
    for _ in 0..3 {
        page(&visitor.get(back.clone()).await, 502, CLIENT_REFUSED);
    }
    assert_eq!(counters(&sim).calls.access_token, 2);
    assert_eq!(daemon.stored_grants().len(), 1);
}

#[tokio::test]
async fn two_concurrent_callbacks_are_one_consent_even_if_the_first_disconnects() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(1)));
    let back = visitor.come_back(&daemon, 0).await;
    let (one, two) = tokio::join!(visitor.get(back.clone()), visitor.get(back));
    page(&one, 200, GRANTED);
    page(&two, 200, GRANTED);

    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(1)));
    let back = visitor.come_back(&daemon, 1).await;
    tokio::select! {
        _ = visitor.get(back.clone()) => panic!("Webex answered too fast for this test"),
        () = eventually("Webex is asked", || counters(&sim).calls.access_token == 2) => {}
    }
    page(&visitor.get(back).await, 200, GRANTED);
    assert_eq!((counters(&sim).calls.access_token, daemon.stored_grants().len()), (2, 2));
}

#[tokio::test]
async fn a_prefetch_or_head_request_exchanges_no_code() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    for (name, value) in [
        ("Sec-Purpose", "prefetch"),
        ("Sec-Purpose", "prefetch;prerender"),
        ("sec-purpose", "Prefetch; anonymous-client-ip"),
        ("Purpose", "prefetch"),
        ("X-Moz", "prefetch"),
        ("X-Purpose", "preview"),
    ] {
        let answered = visitor.get_with_header(back.clone(), name, value).await;
        assert_eq!(answered.status, 503, "{name}: {value}");
        assert_eq!(answered.header("cache-control"), Some("no-store"));
        page(&BrowserClient::new().get_with_header(back.clone(), name, value).await, 400, STALE);
    }
    assert_eq!(visitor.ask(Method::HEAD, back.clone()).await.status, 503);
    assert_eq!(counters(&sim).calls.access_token, 0, "Webex was asked");
    page(&visitor.get(back).await, 200, GRANTED);
}

/// A person goes back to Webex's page and chooses another account: a different code, and a different consent.
#[tokio::test]
async fn a_second_code_for_the_same_ticket_does_not_return_the_first_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let begun = visitor.begin(&daemon).await;
    let (ada, grace) = (visitor.accept(&begun, 0).await, visitor.accept(&begun, 1).await);
    page(&visitor.get(ada).await, 200, GRANTED);
    page(&visitor.get(grace).await, 400, STALE);
    assert_eq!((counters(&sim).calls.access_token, daemon.stored_grants().len()), (1, 1));
}

/// Other programs on the host set cookies as well.
#[tokio::test]
async fn cookies_of_other_programs_do_not_disturb_a_consent() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    visitor.plant("city", "Z\u{fc}rich");
    page(&visitor.consent(&daemon, 0).await, 200, GRANTED);
}

#[tokio::test]
async fn with_many_tabs_the_newest_tickets_work() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let mut tabs = Vec::new();
    for _ in 0..12 {
        tabs.push(visitor.begin(&daemon).await);
    }
    for begun in tabs.iter().skip(4) {
        let back = visitor.accept(begun, 0).await;
        page(&visitor.get(back).await, 200, GRANTED);
    }
    let oldest = visitor.accept(&tabs[0], 0).await;
    page(&visitor.get(oldest).await, 400, STALE);
}
