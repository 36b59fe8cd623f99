//! The self-signed certificate of a daemon that runs for years, or started with a wrong clock.

use std::sync::Arc;
use std::time::Duration;

use log::Level;
use tokio::time::timeout;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::http::server::certificate::SelfSigned;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::http::server::tls::Renewer;
use webex_tokend::tasks::Tasks;

use super::harness::TestServer;
use super::harness::client_config;
use super::harness::connect_tls_to;
use super::harness::echo;
use super::harness::now;
use super::harness::send_request;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::eventually;
use crate::support::manual_clock::ManualClock;
use crate::support::time::DAY_SECONDS;
use crate::support::time::SHORT_LIMITS_TIMEOUT;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn made(at: i64) -> SelfSigned {
    SelfSigned::make(&["localhost".to_owned()], at).unwrap()
}

async fn served(made: SelfSigned) -> (TestServer, Renewer) {
    let pem = made.pem().to_owned();
    let (renewer, feed) = Renewer::open(made).unwrap();
    (TestServer::with_certificate_feed(Some(feed), pem, Limits::default(), echo).await, renewer)
}

/// Whether a client that checks dates, and trusts the key and the name of the first certificate, accepts the present
/// one.
async fn is_valid_now(server: &TestServer) -> bool {
    connect_tls_to(server.addr, "localhost", client_config(&server.pem, None)).await.is_ok()
}

#[test]
fn a_certificate_is_stale_in_its_last_month_and_outside_its_validity() {
    let made = made(now());
    for (days, stale) in [
        (-1_000, true),
        (-2, true),
        (0, false),
        (1, false),
        (366, false),
        (368, true),
        (397, true),
        (9_000, true),
    ] {
        assert_eq!(made.is_stale(now() + days * DAY_SECONDS), stale, "{days}");
    }
}

#[test]
fn a_renewed_certificate_has_the_same_key_and_new_dates() {
    let first = made(now());
    let again = first.renew(now() + 370 * DAY_SECONDS).unwrap();
    assert_eq!(first.pair().fingerprint(), again.pair().fingerprint());
    assert_ne!(first.pem(), again.pem());
    assert!(!again.is_stale(now() + 370 * DAY_SECONDS));
    assert!(first.renew(i64::MAX).unwrap_err().to_string().contains("a clock at"));
}

#[tokio::test]
async fn an_expired_certificate_is_replaced_in_a_running_server() {
    for wrong_by in [-500 * DAY_SECONDS, 500 * DAY_SECONDS] {
        let (server, mut renewer) = served(made(now() + wrong_by)).await;
        assert!(!is_valid_now(&server).await, "{wrong_by}");
        assert!(renewer.renew_if_stale(now()).unwrap());
        assert!(is_valid_now(&server).await, "{wrong_by}");
        assert!(!renewer.renew_if_stale(now()).unwrap());
    }
}

/// Number of lines of this level since the last call.
fn told(level: Level) -> usize {
    captured_logs().iter().filter(|(other, _)| *other == level).count()
}

#[tokio::test(start_paused = true)]
async fn a_renewal_failure_is_logged_once_and_again_after_it_recurs() {
    const EVERY: Duration = Duration::from_secs(5);
    let (clock, tasks) = (Arc::new(ManualClock::new(UnixTime::from_seconds(now()))), Tasks::new());
    let (renewer, _feed) = Renewer::open(made(now())).unwrap();
    capture_thread_logs();
    tasks.spawn("certificate", renewer.watch(clock.clone(), tasks.clone(), EVERY));
    for _ in 0..2 {
        clock.set(UnixTime::from_seconds(i64::MAX / 1000));
        tokio::time::sleep(EVERY * 3).await;
        assert_eq!(told(Level::Error), 1);
        clock.set(UnixTime::from_seconds(now()));
        tokio::time::sleep(EVERY * 2).await;
        assert_eq!(told(Level::Error), 0);
    }
}

#[tokio::test]
async fn renewal_follows_the_clock_and_open_connections_continue() {
    capture_thread_logs();
    let clock = Arc::new(ManualClock::new(UnixTime::from_seconds(now())));
    let (server, renewer) = served(made(now())).await;
    let tasks = server.tasks.clone();
    tasks.spawn("certificate", renewer.watch(clock.clone(), tasks.clone(), Duration::from_millis(10)));
    let mut open = server.connect_tls(None).await;
    send_request(&mut open, REQUEST).await;

    clock.set(UnixTime::from_seconds(now() + 400 * DAY_SECONDS));
    let renewed = async { while is_valid_now(&server).await {} };
    timeout(SHORT_LIMITS_TIMEOUT, renewed).await.expect("the certificate is not renewed for the next year");

    // A clock for which no certificate can be made changes nothing.
    clock.set(UnixTime::from_seconds(i64::MAX / 1000));
    eventually("the renewal fails", || told(Level::Error) == 1).await;
    clock.set(UnixTime::from_seconds(now()));
    let renewed = async { while !is_valid_now(&server).await {} };
    timeout(SHORT_LIMITS_TIMEOUT, renewed)
        .await
        .expect("the certificate is not renewed when the clock is corrected");
    send_request(&mut open, REQUEST).await;
    server.shut_down().await;
}
