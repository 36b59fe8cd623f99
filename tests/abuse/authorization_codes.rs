//! Floods of codes that Webex never issued. Each may cause a call to Webex's token endpoint; honest consents must still
//! work.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::sleep;
use webex_sim::Sim;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::eventually;
use crate::support::start_sim;

/// How long a flood of made-up codes lasts.
const FLOOD: Duration = Duration::from_secs(5);

/// Webex calls that such a flood from one address may cause: a burst of ten, then three a second.
const MAX_CALLS: u64 = 10 + 3 * 6;

/// Begins consents and returns with codes that Webex never issued, over one connection, until the time is up.
async fn make_up_codes(daemon: &Daemon, until: Instant, sent: &AtomicUsize) {
    let visitor = BrowserClient::new();
    while Instant::now() < until {
        let begun = visitor.begin(daemon).await;
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let url = daemon.url(&format!("/oauth?code=made-up-{number}&state={}", begun.query["state"]));
        let answer = tokio::time::timeout_at(until, visitor.get(url)).await;
        if let Ok(answer) = answer {
            assert!(answer.status >= 400, "{}", answer.body);
        }
    }
}

/// Number and size in bytes of the warnings in these log lines.
fn told(log: &[String]) -> (usize, usize) {
    let is_told = |line: &&String| line.contains(" ERROR ") || line.contains(" WARN ");
    let told: Vec<_> = log.iter().filter(is_told).collect();
    (told.len(), told.iter().map(|line| line.len() + 1).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_codes_cause_few_webex_calls_a_second_and_one_log_line() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    let before = told(&daemon.log());
    let (until, sent) = (Instant::now() + FLOOD, AtomicUsize::new(0));
    tokio::join!(make_up_codes(&daemon, until, &sent), make_up_codes(&daemon, until, &sent));
    let (calls, sent) = (counters(&sim).calls.access_token, sent.into_inner());
    // A person behind the same address succeeds right afterwards.
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    daemon.terminate().await;
    let after = told(&daemon.final_log().await);
    let (lines, bytes) = (after.0 - before.0, after.1 - before.1);
    eprintln!(
        "{sent} codes over two connections in {FLOOD:?}: {calls} calls, {lines} lines of {bytes} bytes"
    );
    assert!(calls >= 10, "honest mistakes still reach Webex: {calls} calls");
    assert!(calls <= MAX_CALLS, "{calls} calls for {sent} codes");
    assert!(lines <= 1 && bytes < 1024, "{lines} lines of {bytes} bytes");
}

/// Eighty clients with made-up codes, each as fast as it is answered.
fn flood(daemon: &Arc<Daemon>, until: Instant) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..80 {
        let daemon = daemon.clone();
        all.spawn(async move { make_up_codes(&daemon, until, &AtomicUsize::new(0)).await });
    }
    all
}

fn slow_down(sim: &Sim, by: Duration) {
    let kind = FaultKind::Slow(by);
    sim.with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: None, kind }));
}

/// All clients have the same address, as behind a proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_codes_of_eighty_clients_at_a_slow_webex_block_no_honest_consent() {
    let sim = start_sim().await;
    let daemon = Arc::new(Daemon::start(&sim, &[]).await);
    slow_down(&sim, Duration::from_secs(4));
    let attackers = flood(&daemon, Instant::now() + Duration::from_secs(40));
    eventually("the flood has started", || counters(&sim).calls.access_token >= 60).await;
    sleep(Duration::from_millis(500)).await;
    let mut honest = JoinSet::new();
    for person in 0..6 {
        let daemon = daemon.clone();
        honest.spawn(async move {
            let begun = Instant::now();
            let answer = BrowserClient::new().consent(&daemon, person).await;
            assert_eq!(answer.status, 200, "person {person}: {}", answer.body);
            begun.elapsed()
        });
    }
    let slowest = honest.join_all().await.into_iter().max().unwrap();
    eprintln!("the slowest of six honest consents took {slowest:.1?}");
    drop(attackers);
    assert_eq!(daemon.stored_grants().len(), 6);
}

/// During a `Retry-After`, Webex gets no request, whatever clients send.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn during_a_retry_after_no_code_is_sent_and_the_page_shows_the_wait() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let kind = FaultKind::TooMany429 { retry_after: Some("3".to_owned()) };
    sim.with(|webex| webex.fault(Fault { on: Endpoint::AccessToken, person: None, times: Some(1), kind }));
    let honest = BrowserClient::new();
    let back = honest.come_back(&daemon, 0).await;
    let begun = Instant::now();
    let answer = honest.get(back.clone()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("3")), "{}", answer.body);
    let sent = AtomicUsize::new(0);
    make_up_codes(&daemon, begun + Duration::from_secs(2), &sent).await;
    assert!(sent.into_inner() > 10);
    let answer = honest.get(back.clone()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(counters(&sim).calls.access_token, 1, "Webex was asked again");
    tokio::time::sleep_until(begun + Duration::from_millis(3_100)).await;
    let answer = honest.get(back).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
