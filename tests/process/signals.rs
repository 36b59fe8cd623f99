//! Signals: which of them end the daemon, what it still does then, and which have no effect.

use std::time::Duration;

use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::store_faults::control;
use super::store_faults::token;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim;

#[tokio::test]
async fn other_signals_do_not_interrupt_a_consent() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let visitor = BrowserClient::new();
    let back = visitor.come_back(&daemon, 0).await;
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(2)));
    let page = async {
        let page = visitor.get(back).await;
        (page.status, page.body)
    };
    let signals = async {
        eventually("the code is at Webex", || counters(&sim).in_flight == 1).await;
        for name in ["HUP", "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "HUP"] {
            daemon.signal(name);
        }
    };
    let ((status, body), ()) = tokio::join!(page, signals);
    assert_eq!(status, 200, "{body}");
    assert_eq!(daemon.stored_grants().len(), 1);
    daemon.wait_for_line("SIGHUP: reading the certificate").await;
}

/// Ada's refresh is in flight when the signal comes.
async fn ends_well(signal: &str) {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    for person in [0, 1] {
        assert_eq!(BrowserClient::new().consent(&daemon, person).await.status, 200);
    }
    let client = control(&daemon);
    let refresh = |person: &str| {
        let url = format!("http://localhost/api/v1/people/{person}@example.com/refresh");
        client.post(url).header("content-type", "application/json").body("{\"force\":true}").send()
    };
    let before = counters(&sim).refreshes.attempts;
    inject_fault(&sim, Endpoint::AccessToken, 1, FaultKind::Slow(Duration::from_secs(2)));
    let checks = async {
        eventually("the refresh is at Webex", || counters(&sim).in_flight == 1).await;
        daemon.signal(signal);
        daemon.wait_for_line("and serving tokens until then").await;
        // New connections, over the socket and the port.
        let client = control(&daemon);
        assert!(token(&client, "ada").await.is_some() && token(&client, "grace").await.is_some());
        assert_eq!(BrowserClient::new().get(daemon.url("/healthz")).await.status, 200);
        let another = refresh("grace").await.unwrap().text().await.unwrap();
        let refused = "{\"outcome\":\"failed\",\"detail\":\"the daemon is stopping\"";
        assert!(another.starts_with(refused), "{another}");
        assert_eq!(counters(&sim).in_flight, 1, "the refresh is still in flight");
    };
    let (refreshed, ()) = tokio::join!(refresh("ada"), checks);
    let refreshed = refreshed.unwrap().text().await.unwrap();
    assert!(refreshed.starts_with("{\"outcome\":\"unchanged\""), "{refreshed}");
    eventually("the daemon ends by itself", || daemon.has_ended()).await;
    assert_eq!(counters(&sim).refreshes.attempts, before + 1);
    let log = daemon.final_log().await;
    assert!(log.iter().any(|line| line.ends_with("webex-tokend stopped")), "{log:?}");
}

#[tokio::test]
async fn during_shutdown_live_tokens_are_served_and_no_refresh_begins() {
    for signal in ["TERM", "INT", "QUIT", "XCPU"] {
        ends_well(signal).await;
    }
}
