//! The real daemon when it is stopped and continued, as by a debugger or with its virtual machine.

use std::time::Duration;

use webex_sim::RefreshToken;
use webex_sim::Settings;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim_with;

/// Longer than the timeout of a request to Webex.
const STOPPED: Duration = Duration::from_secs(45);

#[tokio::test]
async fn a_response_that_arrived_while_the_daemon_was_suspended_is_stored() {
    // Every refresh invalidates the refresh token that was sent, so that a discarded response would be a lost grant.
    let rotating = Settings {
        noop_window: Duration::ZERO,
        refresh_token: RefreshToken::Rotating,
        ..Settings::default()
    };
    let sim = start_sim_with(rotating).await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    daemon.terminate().await;

    sim.with(|webex| webex.settings_mut().latency = Duration::from_secs(2));
    daemon.restart(&REFRESH_EVERY_SECOND).await;
    eventually("a refresh is in flight", || counters(&sim).in_flight == 1).await;
    daemon.signal("STOP");
    eventually("Webex has answered", || counters(&sim).in_flight == 0).await;
    assert_eq!(counters(&sim).refreshes.renewed, 1);
    tokio::time::sleep(STOPPED).await;
    daemon.signal("CONT");
    daemon.wait_for_line("ada@example.com: access token renewed").await;
    assert!(!daemon.log().iter().any(|line| line.contains("no answer in time")), "{:?}", daemon.log());

    sim.with(|webex| webex.settings_mut().latency = Duration::ZERO);
    daemon.restart(&[]).await;
    eventually("the new refresh token is stored", || counters(&sim).refreshes.renewed > 2).await;
    assert_eq!(counters(&sim).refreshes.refused, 0);
}
