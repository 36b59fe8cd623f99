//! Which deliveries are claimed, made due, and ended.

use std::sync::Arc;
use std::time::Duration;

use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::delivery::DeliveryState;
use webex_tokend::domain::notice::digest::HOLD;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::outbox::DeliveryClaim;
use webex_tokend::store::outbox::DeliveryClaimRequest;
use webex_tokend::store::outbox::DeliveryOutcome;
use webex_tokend::store::outbox::PEOPLE_SINK;

use crate::store::fixtures::at;
use crate::store::fixtures::person;
use crate::store::outbox::FullStore;
use crate::store::outbox::claims;
use crate::store::outbox::claims_by;
use crate::store::outbox::listed;
use crate::store::outbox::notice_of;
use crate::store::outbox::release_all;
use crate::store::outbox::settle;
use crate::store::outbox::use_sinks;
use crate::store::outbox::words;

/// Maximum number of deliveries that one step changes.
const STEP: usize = 500;

/// A notice that is not held.
fn at_once(kind: NoticeType, version: usize, seconds: i64) -> OutboxEntries {
    OutboxEntries::of(Notice::new(kind, None, &version.to_string(), at(seconds)))
}

async fn claims_of_queues(store: &dyn FullStore, queues: usize, due_by: UnixTime) -> Vec<DeliveryClaim> {
    let lease_end = at(1000) + Duration::from_secs(60);
    let ask = DeliveryClaimRequest { sink: "webhook".to_owned(), now: at(1000), due_by, queues, lease_end };
    store.claim_deliveries(ask).await.unwrap()
}

fn queues(claims: &[DeliveryClaim]) -> Vec<String> {
    let mut queues: Vec<String> = claims.iter().map(|claim| claim.notice.queue()).collect();
    queues.dedup();
    queues
}

fn again(seconds: i64) -> DeliveryOutcome {
    DeliveryOutcome::Again { at: at(seconds), tries: 1, why: "HTTP 503".to_owned() }
}

async fn waiting_at(store: &dyn FullStore, sink: &str) -> usize {
    let count = store.outbox_counts().await.unwrap().into_iter().find(|count| count.sink == sink);
    count.map_or(0, |count| usize::try_from(count.waiting).unwrap())
}

both_stores!(one_long_chain_delays_no_other_chain, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    for n in 0..100 {
        let kind = if n % 2 == 0 { NoticeType::KeyCreated } else { NoticeType::KeyRevoked };
        store.add(at_once(kind, n, 0)).await.unwrap();
    }
    store.add(at_once(NoticeType::Test, 0, 1)).await.unwrap();
    store.add(at_once(NoticeType::StoreFailing, 0, 2)).await.unwrap();
    let first = claims_of_queues(&*store, 2, at(1000)).await;
    assert_eq!(queues(&first), ["-key", "-test"]);
    assert_eq!(first.len(), 21, "at most twenty of one chain");
    let second = claims_of_queues(&*store, 2, at(1000)).await;
    assert_eq!(queues(&second), ["-store"], "the rest of the claimed chain takes no place");
});

both_stores!(a_probe_finds_a_free_chain_behind_a_long_one_that_is_claimed, async |store: Arc<
    dyn FullStore,
>| {
    use_sinks(&*store, &["webhook"]);
    for n in 0..100 {
        store.add(at_once(NoticeType::KeyCreated, n, 0)).await.unwrap();
    }
    assert_eq!(claims_of_queues(&*store, 1, at(1000)).await.len(), 20);
    store.add(at_once(NoticeType::Test, 0, 1)).await.unwrap();
    let probe = claims_of_queues(&*store, 1, UnixTime::NEVER).await;
    assert_eq!(queues(&probe), ["-test"]);
});

both_stores!(a_try_that_was_made_due_early_does_not_count, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    store.add(at_once(NoticeType::Test, 0, 0)).await.unwrap();
    let first = claims(&*store, "webhook", at(0)).await;
    assert!(first[0].in_turn);
    settle(&*store, "webhook", &first[0], again(9000), at(1)).await;
    assert_eq!(store.make_all_due("webhook".to_owned(), at(100)).await, Ok(false));
    let pulled = claims(&*store, "webhook", at(100)).await;
    assert_eq!((pulled.len(), pulled[0].in_turn), (1, false));
    settle(&*store, "webhook", &pulled[0], again(9000), at(101)).await;
    assert!(claims(&*store, "webhook", at(9000)).await[0].in_turn);
});

both_stores!(a_postponed_delivery_is_neither_made_due_early_nor_a_probe, async |store: Arc<
    dyn FullStore,
>| {
    use_sinks(&*store, &["webhook"]);
    store.add(at_once(NoticeType::Test, 0, 0)).await.unwrap();
    let first = claims(&*store, "webhook", at(0)).await;
    let why = "this person got a message less than a day ago".to_owned();
    let postponed = DeliveryOutcome::Postponed { until: at(9000), why };
    settle(&*store, "webhook", &first[0], postponed, at(1)).await;
    assert_eq!(store.make_all_due("webhook".to_owned(), at(100)).await, Ok(false));
    assert_eq!(claims_by(&*store, "webhook", UnixTime::NEVER, at(100)).await, []);
    let due = claims(&*store, "webhook", at(9000)).await;
    assert_eq!((due.len(), due[0].tries, due[0].in_turn), (1, 0, true));
});

both_stores!(deliveries_are_made_due_in_steps, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    for n in 0..2 * STEP + 1 {
        store.add(at_once(NoticeType::Test, n, 9000)).await.unwrap();
    }
    for more in [true, true, false] {
        assert_eq!(store.make_all_due("webhook".to_owned(), at(100)).await, Ok(more));
    }
    let due = listed(&*store).await.iter().filter(|one| one.deliveries[0].next_at == Some(at(100))).count();
    assert_eq!(due, 2 * STEP + 1);
});

both_stores!(deliveries_to_a_sink_that_is_no_longer_set_end, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", "command"]);
    for n in 0..2 * STEP + 1 {
        store.add(at_once(NoticeType::Test, n, 0)).await.unwrap();
    }
    use_sinks(&*store, &["webhook"]);
    let mut left = 2 * STEP + 1;
    loop {
        let more = store.prune_outbox(at(10)).await.unwrap();
        let waiting = waiting_at(&*store, "command").await;
        assert!(left - waiting <= STEP, "one step ended {} deliveries", left - waiting);
        left = waiting;
        if !more {
            break;
        }
    }
    assert_eq!(waiting_at(&*store, "command").await, 0);
    assert_eq!(waiting_at(&*store, "webhook").await, 2 * STEP + 1);
    let ended = &listed(&*store).await[0].deliveries[0];
    assert_eq!((ended.sink.as_str(), ended.state), ("command", DeliveryState::Outdated));
    assert_eq!(ended.why.as_deref(), Some("this sink is no longer set"));
});

both_stores!(a_notice_is_sent_again_only_to_sinks_that_are_set, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", "command", "mail"]);
    store.add(at_once(NoticeType::Test, 0, 0)).await.unwrap();
    for sink in ["webhook", "command"] {
        let claim = claims(&*store, sink, at(0)).await;
        settle(&*store, sink, &claim[0], again(9000), at(0)).await;
    }
    let mail = claims(&*store, "mail", at(0)).await;
    settle(&*store, "mail", &mail[0], DeliveryOutcome::GivenUp { why: "550".to_owned() }, at(0)).await;
    use_sinks(&*store, &["webhook"]);
    let before = listed(&*store).await.remove(0);
    assert_eq!(store.resend(before.notice.id.clone(), at(500)).await, Ok(Some(1)));
    let after = listed(&*store).await.remove(0);
    assert_eq!(after.deliveries[..2], before.deliveries[..2], "the command and the mail");
    assert_eq!(after.deliveries[2].next_at, Some(at(500)));
});

both_stores!(a_digest_counts_each_person_once, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    // The notices of one person join in different steps.
    for version in 1..4 {
        for n in 0..250 {
            store.add(OutboxEntries::of(notice_of(&format!("p{n}"), version, 0))).await.unwrap();
        }
    }
    release_all(&*store, at(0) + HOLD).await;
    store.add(OutboxEntries::of(notice_of("p7", 9, 31))).await.unwrap();
    store.add(OutboxEntries::of(notice_of("late", 1, 31))).await.unwrap();
    release_all(&*store, at(31) + HOLD).await;
    release_all(&*store, at(100) + HOLD).await;
    let told = claims(&*store, "webhook", at(200)).await;
    assert_eq!(words(&told), ["digest"]);
    assert_eq!(told[0].notice.data["persons"], 251);
});

both_stores!(the_same_notices_told_again_become_another_digest, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    let mut ids = Vec::new();
    for round in [0, 1000] {
        for n in 0..30 {
            let mut notice = notice_of(&format!("p{n}"), 1, 0);
            notice.at = at(round);
            store.add(OutboxEntries::of(notice)).await.unwrap();
        }
        release_all(&*store, at(round) + HOLD).await;
        release_all(&*store, at(round) + 2 * HOLD).await;
        let told = claims(&*store, "webhook", at(round + 100)).await;
        assert_eq!(words(&told), ["digest"], "round {round}");
        assert_eq!(told[0].notice.data["persons"], 30);
        settle(&*store, "webhook", &told[0], DeliveryOutcome::Sent, at(round + 100)).await;
        ids.push(told[0].notice.id.clone());
    }
    assert_ne!(ids[0], ids[1], "a receiver that drops duplicates gets both");
    assert_eq!(claims_by(&*store, "webhook", UnixTime::NEVER, at(9000)).await, []);
});

both_stores!(
    the_last_message_to_a_person_is_known_for_a_day_however_old_its_notice_is,
    async |store: Arc<dyn FullStore>| {
        use_sinks(&*store, &[PEOPLE_SINK]);
        let notice = Notice { kind: NoticeType::ConsentNeeded, ..notice_of("ada", 1, 0) };
        store.add(OutboxEntries::of(notice)).await.unwrap();
        let day = 86_400;
        release_all(&*store, at(40 * day)).await;
        let claim = claims(&*store, PEOPLE_SINK, at(40 * day)).await;
        settle(&*store, PEOPLE_SINK, &claim[0], DeliveryOutcome::Sent, at(40 * day)).await;
        while store.prune_outbox(at(41 * day - 1)).await.unwrap() {}
        let last = async || store.last_sent(PEOPLE_SINK.to_owned(), person("ada")).await.unwrap();
        assert_eq!(last().await, Some(at(40 * day)));
        while store.prune_outbox(at(41 * day)).await.unwrap() {}
        assert_eq!((last().await, listed(&*store).await.len()), (None, 0));
    }
);
