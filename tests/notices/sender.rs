//! How the sender of a sink judges failures, and what it does with outcomes and when it stops, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::notice::delivery::DeliveryState;
use webex_tokend::notices::NoticePage;
use webex_tokend::notices::sink::SinkAnswer;
use webex_tokend::store::memory::MemoryStore;

use crate::notices::blocking_outbox::BlockingOutbox;
use crate::notices::world::Telling;
use crate::notices::world::TestSink;
use crate::store::fixtures::StoreDir;
use crate::support::time::DAY;
use crate::support::virtual_time::START;
use crate::support::virtual_time::WallClock;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

async fn tell_about(telling: &Telling, persons: std::ops::Range<u64>) {
    for n in persons {
        telling.tell(&format!("p{n}"), n).await;
    }
}

fn delay(sink: &Arc<TestSink>, delay: Duration) {
    *sink.delay.lock().unwrap() = delay;
}

#[tokio::test(start_paused = true)]
async fn deliveries_that_fail_together_are_one_failure() {
    let sink = TestSink::new("webhook");
    let telling = Telling::to(&[&sink]);
    sink.is_down();
    delay(&sink, SECOND);
    tell_about(&telling, 0..8).await;
    // Held for 30 s, then sent together, which takes a second.
    sleep(32 * SECOND).await;
    assert_eq!(sink.tries(), 4, "all deliveries that may run at a time");
    sink.answers(SinkAnswer::Taken);
    sleep(15 * SECOND).await;
    assert_eq!(sink.taken().len(), 8, "the first wait is five seconds");
}

#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_a_429_does_not_end_its_wait() {
    let sink = TestSink::new("webhook");
    let telling = Telling::to(&[&sink]);
    delay(&sink, 20 * SECOND);
    telling.tell("slow", 1).await;
    sleep(32 * SECOND).await;
    assert_eq!(sink.tries(), 1);
    delay(&sink, Duration::ZERO);
    let retry_after = Some(10 * MINUTE);
    sink.answers(SinkAnswer::Failed { why: "HTTP 429".to_owned(), retry_after, is_sinks: true });
    telling.tell_at_once(2).await;
    sleep(SECOND).await;
    assert_eq!(sink.tries(), 2);
    sink.answers(SinkAnswer::Taken);
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
    let telling = Telling::with_outbox(store, Arc::new(MemoryStore::new()), clock, &[&sink]);
    let refuse =
        "CREATE TRIGGER refuse BEFORE UPDATE OF state ON deliveries BEGIN SELECT RAISE(ABORT, 'no'); END";
    dir.other_connection().execute_batch(refuse).unwrap();
    telling.tell_at_once(1).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(sink.words(), ["key.created"]);
    assert_eq!(states(&telling).await, [DeliveryState::Waiting]);
    dir.other_connection().execute_batch("DROP TRIGGER refuse").unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(states(&telling).await, [DeliveryState::Sent]);
    sleep(DAY).await;
    assert_eq!(sink.tries(), 1);
}

async fn states(telling: &Telling) -> Vec<DeliveryState> {
    let page = NoticePage { before: None, limit: 10, failed_only: false };
    let listed = telling.store.notices(page).await.unwrap();
    listed.iter().flat_map(|record| record.deliveries.iter().map(|delivery| delivery.state)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_sends_only_the_notice_in_hand_and_the_rest_after_its_start() {
    let sink = TestSink::new("webhook");
    let telling = Telling::to(&[&sink]);
    delay(&sink, 10 * SECOND);
    for n in 0..10 {
        telling.tell("ada", n).await;
    }
    sleep(35 * SECOND).await;
    assert_eq!(sink.tries(), 1);
    let telling = telling.restart().await;
    assert_eq!((sink.tries(), sink.versions("ada")), (1, vec![0]));
    sleep(2 * MINUTE).await;
    assert_eq!(sink.versions("ada"), (0..10).collect::<Vec<_>>());
    drop(telling);
}
