//! How the sender of a sink judges failures, and what it does with outcomes and when it stops, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::notice::delivery::DeliveryState;
use webex_tokend::notices::NoticePage;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::store::memory::MemoryStore;

use crate::notices::blocking_outbox::BlockingOutbox;
use crate::notices::world::NoticeHarness;
use crate::notices::world::TestSink;
use crate::store::fixtures::StoreDir;
use crate::support::time::DAY;
use crate::support::virtual_time::START;
use crate::support::virtual_time::WallClock;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

async fn tell_about(harness: &NoticeHarness, persons: std::ops::Range<u64>) {
    for n in persons {
        harness.add(&format!("p{n}"), n).await;
    }
}

fn delay(sink: &Arc<TestSink>, delay: Duration) {
    *sink.delay.lock().unwrap() = delay;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_fail_together_are_one_failure() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    sink.is_down();
    delay(&sink, SECOND);
    tell_about(&harness, 0..8).await;
    // Held for 30 s, then sent together, which takes a second.
    sleep(32 * SECOND).await;
    assert_eq!(sink.tries(), 4, "all deliveries that may run at a time");
    sink.answers(DeliveryResult::Taken);
    sleep(15 * SECOND).await;
    assert_eq!(sink.taken().len(), 8, "the first wait is five seconds");
}

#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_a_429_does_not_end_its_wait() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    delay(&sink, 20 * SECOND);
    harness.add("slow", 1).await;
    sleep(32 * SECOND).await;
    assert_eq!(sink.tries(), 1);
    delay(&sink, Duration::ZERO);
    let retry_after = Some(10 * MINUTE);
    sink.answers(DeliveryResult::Failed { why: "HTTP 429".to_owned(), retry_after, sink_failed: true });
    harness.add_unheld(2).await;
    sleep(SECOND).await;
    assert_eq!(sink.tries(), 2);
    sink.answers(DeliveryResult::Taken);
    sleep(9 * MINUTE).await;
    assert_eq!((sink.versions("slow"), sink.tries()), (vec![1], 2));
    sleep(2 * MINUTE).await;
    assert_eq!(sink.taken().len(), 2);
}

/// The outage is shorter than the lease of the delivery.
#[tokio::test(start_paused = true)]
async fn an_outcome_that_the_store_refuses_for_two_minutes_is_stored_and_the_event_is_not_sent_again() {
    let (dir, sink, clock) = (StoreDir::new(), TestSink::new("webhook"), Arc::new(WallClock::new(START)));
    let store = Arc::new(BlockingOutbox(dir.open_now(START)));
    let harness = NoticeHarness::with_outbox(store, Arc::new(MemoryStore::new()), clock, &[&sink]);
    let refuse =
        "CREATE TRIGGER refuse BEFORE UPDATE OF state ON deliveries BEGIN SELECT RAISE(ABORT, 'no'); END";
    dir.other_connection().execute_batch(refuse).unwrap();
    harness.add_unheld(1).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(sink.words(), ["key.created"]);
    assert_eq!(states(&harness).await, [DeliveryState::Waiting]);
    dir.other_connection().execute_batch("DROP TRIGGER refuse").unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(states(&harness).await, [DeliveryState::Sent]);
    sleep(DAY).await;
    assert_eq!(sink.tries(), 1);
}

async fn states(harness: &NoticeHarness) -> Vec<DeliveryState> {
    let page = NoticePage { before: None, limit: 10, failed_only: false };
    let listed = harness.store.notices(page).await.unwrap();
    listed.iter().flat_map(|record| record.deliveries.iter().map(|delivery| delivery.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_sends_only_the_notice_in_hand_and_the_rest_after_its_start() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    delay(&sink, 10 * SECOND);
    for n in 0..10 {
        harness.add("ada", n).await;
    }
    sleep(35 * SECOND).await;
    assert_eq!(sink.tries(), 1);
    let harness = harness.restart().await;
    assert_eq!((sink.tries(), sink.versions("ada")), (1, vec![0]));
    sleep(2 * MINUTE).await;
    assert_eq!(sink.versions("ada"), (0..10).collect::<Vec<_>>());
    drop(harness);
}
