//! Dates of the outbox and the history that a fast clock wrote.

use std::sync::Arc;

use webex_tokend::domain::history::day_of;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::digest::HOLD;
use webex_tokend::domain::person::Person;
use webex_tokend::store::history::HistoryPage;
use webex_tokend::store::outbox::DELIVERY_LEASE;
use webex_tokend::store::outbox::DeliveryClaimRequest;
use webex_tokend::store::outbox::DeliveryOutcome;
use webex_tokend::store::outbox::OutboxRules;

use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::lease;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::store::outbox::FullStore;
use crate::store::outbox::claims;
use crate::store::outbox::listed;
use crate::store::outbox::release_all;
use crate::store::outbox::settle;

/// Ten years too far ahead, in seconds.
const AHEAD: i64 = 315_360_000;

fn of_person(name: &str) -> OutboxEntries {
    let person = Person::known_by(person(name));
    OutboxEntries::of(Notice::new(NoticeType::TokenAtRisk, Some(&person), "1", at(AHEAD)))
}

fn test(version: &str) -> OutboxEntries {
    OutboxEntries::of(Notice::new(NoticeType::Test, None, version, at(AHEAD)))
}

async fn claim_with_sender_lease(store: &dyn FullStore, seconds: i64) -> usize {
    let (sink, now) = ("webhook".to_owned(), at(seconds));
    let ask = DeliveryClaimRequest { sink, now, due_by: now, queues: 100, lease_end: now + DELIVERY_LEASE };
    store.claim_deliveries(ask).await.unwrap().len()
}

both_stores!(what_a_fast_clock_wrote_to_the_outbox_is_told_soon_and_once, async |store: Arc<
    dyn FullStore,
>| {
    let sinks = vec!["webhook".to_owned()];
    store.use_outbox(OutboxRules { sinks, now: Arc::new(|| at(AHEAD)) });
    store.add(of_person("sent")).await.unwrap();
    release_all(&*store, at(AHEAD) + HOLD).await;
    let sent = claims(&*store, "webhook", at(AHEAD) + HOLD).await;
    settle(&*store, "webhook", &sent[0], DeliveryOutcome::Sent, at(AHEAD + 31)).await;
    store.add(test("to be tried again")).await.unwrap();
    let failed = claims(&*store, "webhook", at(AHEAD + 32)).await;
    let again = DeliveryOutcome::Again { at: at(AHEAD + 9000), tries: 3, why: "503".to_owned() };
    settle(&*store, "webhook", &failed[0], again, at(AHEAD + 32)).await;
    store.add(of_person("held")).await.unwrap();
    store.clamp_times(at(0), at(180)).await.unwrap();

    assert_eq!(store.next_delivery("webhook".to_owned()).await, Ok(Some(at(0))));
    let due = claims(&*store, "webhook", at(0)).await;
    assert_eq!(
        due.iter().map(|claim| (claim.notice.kind, claim.tries)).collect::<Vec<_>>(),
        [(NoticeType::Test, 3)]
    );
    settle(&*store, "webhook", &due[0], DeliveryOutcome::Sent, at(1)).await;
    assert_eq!(store.last_sent("webhook".to_owned(), person("sent")).await, Ok(Some(at(0))));
    release_all(&*store, at(0) + HOLD).await;
    assert_eq!(claim_with_sender_lease(&*store, 30).await, 1, "what was held");
    assert_eq!(claim_with_sender_lease(&*store, 929).await, 0);
    assert_eq!(claim_with_sender_lease(&*store, 930).await, 1, "its lease has ended");
    for record in listed(&*store).await {
        assert!(record.notice.at <= at(0), "{record:?}");
    }
});

both_stores!(the_lease_of_a_delivery_ends_soon_although_the_clock_was_set_back, async |store: Arc<
    dyn FullStore,
>| {
    let sinks = vec!["webhook".to_owned()];
    store.use_outbox(OutboxRules { sinks, now: Arc::new(|| at(AHEAD)) });
    store.add(test("in work")).await.unwrap();
    assert_eq!(claim_with_sender_lease(&*store, AHEAD).await, 1);
    store.clamp_times(at(0), at(180)).await.unwrap();
    assert_eq!(claim_with_sender_lease(&*store, 899).await, 0, "it may still be sent");
    assert_eq!(claim_with_sender_lease(&*store, 900).await, 1);
});

both_stores!(history_that_a_fast_clock_wrote_is_dated_now, async |store: Arc<dyn FullStore>| {
    let now = Arc::new(std::sync::Mutex::new(at(0)));
    let of_rules = now.clone();
    store.use_outbox(OutboxRules { sinks: Vec::new(), now: Arc::new(move || *of_rules.lock().unwrap()) });
    for seconds in [0, AHEAD, AHEAD + 2 * 86_400] {
        *now.lock().unwrap() = at(seconds);
        store.save_consent(grant("ada")).await.unwrap();
        let claim = store.claim_one(person("ada"), lease(seconds)).await.unwrap().unwrap();
        let mut after = renewed(&claim.grant, seconds);
        after.outbox_entries =
            OutboxEntries { outcome: Some(after.last.outcome.as_str()), ..OutboxEntries::default() };
        store.commit(claim.fence, after).await.unwrap();
    }
    store.add(test("1")).await.unwrap();
    store.clamp_times(at(0), at(180)).await.unwrap();
    let page = HistoryPage { person: None, before: None, limit: 100 };
    let history = store.history(page).await.unwrap();
    assert!(history.iter().any(|(_, entry)| entry.what == "test"), "{history:?}");
    assert!(history.iter().all(|(_, entry)| entry.at <= at(0)), "{history:?}");
    let counts = store.daily_counts(400).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|count| (count.day, count.refreshes)).collect();
    assert_eq!(counts, [(day_of(at(0)), 3)]);
});
