//! Senders and failing sinks, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio::time::sleep;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::delivery::DeliveryState;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonId;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::store::outbox::NoticePage;

use crate::notices::world::NoticeHarness;
use crate::notices::world::TestSink;
use crate::support::time::DAY_MS;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_down_for_seventy_hours_gets_everything_in_order_for_each_person() {
    let (down, well) = (TestSink::new("webhook"), TestSink::new("command"));
    let harness = NoticeHarness::to(&[&down, &well]);
    down.is_down();
    let persons = ["ada", "eve", "joe"];
    for n in 0..70 {
        for person in persons {
            harness.add(person, n).await;
        }
        sleep(HOUR).await;
    }
    assert_eq!(well.taken().len(), 210, "a sink that fails delays no other");
    assert!(down.taken().is_empty());
    down.answers(DeliveryResult::Taken);
    sleep(HOUR).await;
    let all: Vec<u64> = (0..70).collect();
    for person in persons {
        assert_eq!(down.versions(person), all, "{person}");
    }
    let ids: BTreeSet<String> = down.taken().iter().map(|notice| notice.id.clone()).collect();
    assert_eq!(ids.len(), 210, "none twice");
    assert!(down.tries() < 210 + 1000, "{} tries", down.tries());
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_answers_for_an_hour_within_three_days_gets_everything() {
    for from in [1_u32, 9, 30, 60] {
        let sink = TestSink::new("webhook");
        let harness = NoticeHarness::to(&[&sink]);
        sink.is_down();
        for n in 0..5 {
            harness.add(&format!("p{n}"), n).await;
        }
        sleep(HOUR * from).await;
        sink.answers(DeliveryResult::Taken);
        sleep(HOUR).await;
        sink.is_down();
        assert_eq!(sink.taken().len(), 5, "after {from} hours");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_three_days_is_given_up_and_blocks_nothing() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    sink.answers(DeliveryResult::Failed {
        why: "HTTP 400".to_owned(),
        retry_after: None,
        sink_failed: false,
    });
    harness.add("ada", 1).await;
    sleep(10 * MINUTE).await;
    sink.answers(DeliveryResult::Taken);
    harness.add("eve", 2).await;
    sleep(MINUTE).await;
    assert_eq!(sink.versions("eve"), [2], "the notice about ada waits for its next try");
    sink.answers(DeliveryResult::Failed {
        why: "HTTP 400".to_owned(),
        retry_after: None,
        sink_failed: false,
    });
    harness.add("joe", 3).await;
    sleep(85 * HOUR).await;
    let page = NoticePage { before: None, limit: 10, failed_only: true };
    let given_up = harness.notices.list(page).await.unwrap();
    assert!(given_up.iter().all(|record| record.deliveries[0].state == DeliveryState::GivenUp));
    assert!(given_up[0].deliveries[0].why.as_ref().unwrap().contains("HTTP 400"));
    let id = given_up[0].notice.id.clone();
    sink.answers(DeliveryResult::Taken);
    assert_eq!(harness.notices.resend(&id).await, Ok(Some(1)));
    sleep(MINUTE).await;
    assert_eq!(sink.versions("joe"), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_says_gone_is_turned_off_until_a_test_succeeds() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    sink.answers(DeliveryResult::TurnedOff { why: "HTTP 410".to_owned() });
    harness.add("ada", 1).await;
    sleep(MINUTE).await;
    sink.answers(DeliveryResult::Taken);
    harness.add("ada", 2).await;
    sleep(MINUTE).await;
    let harness = harness.restart().await;
    harness.add("ada", 3).await;
    sleep(MINUTE).await;
    assert_eq!((sink.tries(), sink.taken().len()), (1, 0), "a restart turns nothing on");
    assert!(harness.notices.sinks().await.unwrap()[0].is_off);
    let tests = harness.notices.test(Some("webhook")).await;
    assert_eq!(tests[0].why, None);
    harness.add("ada", 4).await;
    sleep(MINUTE).await;
    assert_eq!(sink.words(), ["test", "token.at_risk"], "without a restart");
    let harness = harness.restart().await;
    harness.add("ada", 5).await;
    sleep(MINUTE).await;
    assert_eq!(sink.words(), ["test", "token.at_risk", "token.at_risk"]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    let retry_after = Some(10 * MINUTE);
    sink.answers(DeliveryResult::Failed { why: "HTTP 429".to_owned(), retry_after, sink_failed: true });
    harness.add("ada", 1).await;
    sleep(10 * MINUTE).await;
    assert_eq!(sink.tries(), 1);
    sink.answers(DeliveryResult::Taken);
    sleep(2 * MINUTE).await;
    assert_eq!(sink.taken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_broken_off_and_sent_again() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    *sink.delay.lock().unwrap() = HOUR;
    harness.add("ada", 1).await;
    sleep(2 * MINUTE).await;
    *sink.delay.lock().unwrap() = Duration::ZERO;
    sleep(10 * MINUTE).await;
    assert_eq!(sink.versions("ada"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_tells_nothing_twice_and_loses_nothing() {
    let sink = TestSink::new("webhook");
    let mut harness = NoticeHarness::to(&[&sink]);
    for n in 0..50 {
        harness.add(&format!("p{}", n % 7), n).await;
        sleep(Duration::from_secs(11)).await;
        if n % 5 == 0 {
            harness = harness.restart().await;
        }
    }
    sleep(10 * MINUTE).await;
    let ids: BTreeSet<String> = sink.taken().iter().map(|notice| notice.id.clone()).collect();
    assert_eq!((sink.taken().len(), ids.len()), (50, 50));
    for person in 0..7 {
        let versions = sink.versions(&format!("p{person}"));
        assert!(versions.is_sorted(), "{versions:?}");
    }
}

/// The event loop corrects stored dates. The sender must correct the dates that it has in memory.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_by_years_delays_no_notice_and_sends_none_twice() {
    for years in [0, 10] {
        let (down, well) = (TestSink::new("webhook"), TestSink::new("command"));
        let harness = NoticeHarness::to(&[&down, &well]);
        down.is_down();
        harness.clock.step(years * 365 * DAY_MS);
        for n in 0..3 {
            harness.add("ada", n).await;
        }
        sleep(2 * HOUR).await;
        assert!(down.tries() > 3 && well.taken().len() == 3);
        harness.add("eve", 9).await;
        harness.clock.step(-years * 365 * DAY_MS - 1);
        harness.correct_stored_dates().await;
        down.answers(DeliveryResult::Taken);
        sleep(HOUR).await;
        for sink in [&down, &well] {
            assert_eq!(sink.versions("ada"), [0, 1, 2], "{years} years");
            assert_eq!(sink.versions("eve"), [9], "{years} years");
            let ids: BTreeSet<String> = sink.taken().iter().map(|notice| notice.id.clone()).collect();
            assert_eq!(ids.len(), sink.taken().len(), "none twice");
        }
    }
}

/// A digest has the number of persons and no list of them, so it stays small.
#[tokio::test(start_paused = true)]
async fn ten_thousand_persons_who_lose_their_consents_in_a_minute_are_one_digest() {
    let sink = TestSink::new("webhook");
    let harness = NoticeHarness::to(&[&sink]);
    let begun = Instant::now();
    for n in 0..10_000 {
        let person = Person::known_by(PersonId::parse(&format!("p{n}")).unwrap());
        let at = webex_tokend::clock::Clock::now(&*harness.clock);
        let notice = Notice::new(NoticeType::ConsentNeeded, Some(&person), "1", at);
        harness.store.add(OutboxEntries::of(notice)).await.unwrap();
        if n % 100 == 0 {
            sleep(Duration::from_millis(600)).await;
        }
    }
    assert!(begun.elapsed() <= MINUTE + Duration::from_secs(1));
    sleep(12 * MINUTE).await;
    assert_eq!(sink.words(), ["digest"]);
    assert_eq!(sink.taken()[0].data["persons"], 10_000);
    assert_eq!(sink.taken()[0].data["url"], "https://tokens.example.com/dashboard");
}
