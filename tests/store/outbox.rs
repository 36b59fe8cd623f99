//! What is promised of the outbox and the history.

use std::sync::Arc;
use std::time::Duration;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::history::MAX_ENTRIES_PER_PERSON;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::domain::notice::delivery::DeliveryState;
use webex_tokend::domain::notice::digest::HOLD;
use webex_tokend::domain::notice::digest::MAX_HOLD_TIME;
use webex_tokend::domain::notice::facts::after_refresh;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::refresh_token_end::RefreshTokenEnd;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Claim;
use webex_tokend::store::Committed;
use webex_tokend::store::KeyStore;
use webex_tokend::store::MetaKey;
use webex_tokend::store::Store;
use webex_tokend::store::history::HistoryPage;
use webex_tokend::store::history::HistoryStore;
use webex_tokend::store::outbox::DeliveryClaim;
use webex_tokend::store::outbox::DeliveryClaimRequest;
use webex_tokend::store::outbox::DeliveryOutcome;
use webex_tokend::store::outbox::NoticePage;
use webex_tokend::store::outbox::NoticeRecord;
use webex_tokend::store::outbox::OutboxRules;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::store::outbox::PEOPLE_SINK;
use webex_tokend::store::outbox::SettledDelivery;

use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::lease;
use crate::store::fixtures::person;

pub(super) trait FullStore: Store + KeyStore + OutboxStore + HistoryStore {}
impl<S: Store + KeyStore + OutboxStore + HistoryStore> FullStore for S {}

pub(super) fn use_sinks(store: &dyn FullStore, sinks: &[&str]) {
    let sinks = sinks.iter().map(|sink| (*sink).to_owned()).collect();
    store.use_outbox(OutboxRules { sinks, now: Arc::new(|| at(0)) });
}

/// What `grant` becomes when Webex refuses it for good at `seconds`.
fn refused(grant: &Grant, seconds: i64) -> Grant {
    let mut dead = grant.clone();
    dead.status = GrantStatus::ConsentNeeded;
    dead.last.at = at(seconds);
    dead.refused_since = Some(at(seconds));
    after_refresh(grant, dead)
}

async fn claimed(store: &dyn FullStore, name: &str, seconds: i64) -> Claim {
    store.claim_one(person(name), lease(seconds)).await.unwrap().unwrap()
}

async fn lose(store: &dyn FullStore, name: &str, seconds: i64) {
    store.save_consent(grant(name)).await.unwrap();
    let claim = claimed(store, name, seconds).await;
    let dead = refused(&claim.grant, seconds);
    assert_eq!(store.commit(claim.fence, dead).await, Ok(Committed::Kept));
}

pub(super) fn notice_of(name: &str, version: u32, seconds: i64) -> Notice {
    let person = Person::known_by(person(name));
    Notice::new(NoticeType::TokenAtRisk, Some(&person), &version.to_string(), at(seconds))
}

pub(super) async fn release_all(store: &dyn FullStore, now: UnixTime) {
    while store.release_held(now).await.unwrap() {}
}

pub(super) async fn claims_by(
    store: &dyn FullStore,
    sink: &str,
    due_by: UnixTime,
    now: UnixTime,
) -> Vec<DeliveryClaim> {
    let lease_end = now + Duration::from_secs(60);
    let ask = DeliveryClaimRequest { sink: sink.to_owned(), now, due_by, queues: 100, lease_end };
    store.claim_deliveries(ask).await.unwrap()
}

pub(super) async fn claims(store: &dyn FullStore, sink: &str, now: UnixTime) -> Vec<DeliveryClaim> {
    claims_by(store, sink, now, now).await
}

pub(super) async fn settle(
    store: &dyn FullStore,
    sink: &str,
    claim: &DeliveryClaim,
    outcome: DeliveryOutcome,
    now: UnixTime,
) {
    let settled = SettledDelivery { number: claim.number, attempt: claim.attempt, outcome };
    store.settle_deliveries(sink.to_owned(), now, vec![settled]).await.unwrap();
}

pub(super) fn words(claims: &[DeliveryClaim]) -> Vec<&'static str> {
    claims.iter().map(|claim| claim.notice.kind.as_str()).collect()
}

pub(super) async fn listed(store: &dyn FullStore) -> Vec<NoticeRecord> {
    store.notices(NoticePage { before: None, limit: 100_000, failed_only: false }).await.unwrap()
}

async fn history_of(store: &dyn FullStore, name: Option<&str>) -> Vec<String> {
    let page = HistoryPage { person: name.map(person), before: None, limit: 10_000 };
    store.history(page).await.unwrap().into_iter().map(|(_, entry)| entry.what).collect()
}

both_stores!(a_grant_that_ends_is_told_to_each_sink_once, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", "command"]);
    lose(&*store, "ada", 100).await;
    assert!(claims(&*store, "webhook", at(101)).await.is_empty(), "it waits for others of its type");
    assert_eq!(store.next_delivery("webhook".to_owned()).await, Ok(Some(at(-1000) + HOLD)));
    release_all(&*store, at(200)).await;
    for sink in ["webhook", "command"] {
        let taken = claims(&*store, sink, at(200)).await;
        assert_eq!(words(&taken), ["consent.granted", "consent.needed"]);
        assert!(claims(&*store, sink, at(201)).await.is_empty(), "claimed");
        for claim in &taken {
            settle(&*store, sink, claim, DeliveryOutcome::Sent, at(202)).await;
        }
        assert!(claims(&*store, sink, at(9000)).await.is_empty());
        assert_eq!(store.next_delivery(sink.to_owned()).await, Ok(None));
    }
    assert_eq!(store.last_sent("webhook".to_owned(), person("ada")).await, Ok(Some(at(202))));
    assert_eq!(history_of(&*store, Some("ada")).await.first().map(String::as_str), Some("consent.needed"));
});

both_stores!(without_rules_nothing_is_told_and_history_is_kept, async |store: Arc<dyn FullStore>| {
    lose(&*store, "ada", 100).await;
    assert!(listed(&*store).await.is_empty());
    assert!(history_of(&*store, Some("ada")).await.contains(&"consent.needed".to_owned()));
});

both_stores!(what_came_too_late_tells_nothing, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    store.save_consent(grant("ada")).await.unwrap();
    let claim = claimed(&*store, "ada", 0).await;
    store.save_consent(grant("ada")).await.unwrap();
    let dead = refused(&claim.grant, 100);
    assert_eq!(store.commit(claim.fence, dead).await, Ok(Committed::Superseded));
    assert!(listed(&*store).await.iter().all(|record| record.notice.kind == NoticeType::ConsentGranted));
    assert_eq!(listed(&*store).await.len(), 1, "the same consent is the same fact");
});

both_stores!(the_same_fact_is_told_once, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    let outbox_entries = || OutboxEntries::of(notice_of("ada", 1, 0));
    assert_eq!(store.add(outbox_entries()).await, Ok(1));
    assert_eq!(store.add(outbox_entries()).await, Ok(0));
    assert_eq!(
        store.add_once("t".to_owned(), "one".to_owned(), OutboxEntries::of(notice_of("ada", 2, 0))).await,
        Ok(true)
    );
    assert_eq!(
        store.add_once("t".to_owned(), "one".to_owned(), OutboxEntries::of(notice_of("ada", 3, 0))).await,
        Ok(false)
    );
    assert_eq!(store.topic("t".to_owned()).await, Ok(Some("one".to_owned())));
    assert_eq!(listed(&*store).await.len(), 2);
});

both_stores!(more_than_twenty_persons_become_one_digest, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", PEOPLE_SINK]);
    for n in 0..1203 {
        let person = Person::known_by(person(&format!("p{n}")));
        let notice = Notice::new(NoticeType::ConsentNeeded, Some(&person), "1", at(n % 20));
        store.add(OutboxEntries::of(notice)).await.unwrap();
    }
    let mut now = at(0) + HOLD;
    release_all(&*store, now).await;
    assert!(claims(&*store, "webhook", now).await.is_empty(), "others may join it");
    assert_eq!(claims(&*store, PEOPLE_SINK, now).await.len(), 100, "each person is told");
    let late = Notice::new(NoticeType::ConsentNeeded, Some(&Person::known_by(person("late"))), "1", now);
    store.add(OutboxEntries::of(late)).await.unwrap();
    now = now + MAX_HOLD_TIME;
    release_all(&*store, now).await;
    now = now + HOLD;
    release_all(&*store, now).await;
    let told = claims(&*store, "webhook", now).await;
    assert_eq!(words(&told), ["digest"]);
    assert_eq!(told[0].notice.data["persons"], 1204);
    assert_eq!(told[0].notice.data["type"], "consent.needed");
});

both_stores!(twenty_persons_are_told_one_by_one, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    for n in 0..20 {
        store.add(OutboxEntries::of(notice_of(&format!("p{n}"), 1, 0))).await.unwrap();
        store.add(OutboxEntries::of(notice_of(&format!("p{n}"), 2, 0))).await.unwrap();
    }
    release_all(&*store, at(0) + HOLD).await;
    assert_eq!(claims(&*store, "webhook", at(0) + HOLD).await.len(), 40);
    assert_eq!(listed(&*store).await.len(), 40);
});

both_stores!(one_persons_notices_are_claimed_together_and_in_order, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    for (name, version) in [("ada", 1), ("eve", 1), ("ada", 2), ("ada", 3)] {
        store.add(OutboxEntries::of(notice_of(name, version, 0))).await.unwrap();
    }
    let now = at(0) + HOLD;
    release_all(&*store, now).await;
    let first = claims(&*store, "webhook", now).await;
    let ada: Vec<i64> = first.iter().filter(|c| c.notice.queue() == "ada").map(|c| c.number).collect();
    assert_eq!(ada, [1, 3, 4]);
    let again = |seconds, tries| DeliveryOutcome::Again { at: at(seconds), tries, why: "503".to_owned() };
    // The oldest has failed often and waits longest: when a later one is due, it comes first all the same.
    for (claim, wait) in first.iter().zip([9000, 50, 500, 800]) {
        settle(&*store, "webhook", claim, again(wait, 4), now).await;
    }
    let second: Vec<(i64, bool)> =
        claims(&*store, "webhook", at(600)).await.iter().map(|c| (c.number, c.in_turn)).collect();
    assert!(second.contains(&(1, false)), "{second:?}");
    let third = claims(&*store, "webhook", at(610)).await;
    assert!(third.is_empty(), "ada's are in work: {third:?}");
});

both_stores!(a_claim_whose_lease_has_ended_is_void_once_another_has_it, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    store.add(OutboxEntries::of(Notice::new(NoticeType::Test, None, "1", at(0)))).await.unwrap();
    let first = claims(&*store, "webhook", at(0)).await;
    let second = claims(&*store, "webhook", at(61)).await;
    assert_eq!((first.len(), second.len()), (1, 1));
    settle(&*store, "webhook", &first[0], DeliveryOutcome::GivenUp { why: "late".to_owned() }, at(62)).await;
    assert_eq!(listed(&*store).await[0].deliveries[0].state, DeliveryState::Waiting);
    settle(&*store, "webhook", &second[0], DeliveryOutcome::Sent, at(63)).await;
    assert_eq!(listed(&*store).await[0].deliveries[0].state, DeliveryState::Sent);
});

both_stores!(a_sink_that_answers_again_gets_what_waits_at_once, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", "command"]);
    for n in 0..3 {
        store.add(OutboxEntries::of(notice_of(&format!("p{n}"), 1, 0))).await.unwrap();
    }
    let now = at(0) + HOLD;
    release_all(&*store, now).await;
    for claim in claims(&*store, "webhook", now).await {
        let again = DeliveryOutcome::Again { at: at(90_000), tries: 1, why: "no answer".to_owned() };
        settle(&*store, "webhook", &claim, again, now).await;
    }
    assert!(claims(&*store, "webhook", at(1000)).await.is_empty());
    let probe = claims_by(&*store, "webhook", UnixTime::NEVER, at(1000)).await;
    assert_eq!((probe.len(), probe[0].in_turn, probe[0].tries), (3, false, 1));
    for claim in &probe {
        let again = DeliveryOutcome::Again { at: at(90_000), tries: 1, why: "no answer".to_owned() };
        settle(&*store, "webhook", claim, again, at(1000)).await;
    }
    assert_eq!(store.make_all_due("webhook".to_owned(), at(1001)).await, Ok(false));
    assert_eq!(claims(&*store, "webhook", at(1001)).await.len(), 3);
    assert_eq!(
        store.next_delivery("command".to_owned()).await,
        Ok(Some(now)),
        "another sink's are as they were"
    );
});

both_stores!(what_was_given_up_is_listed_counted_and_sent_again, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook", "command"]);
    store.add(OutboxEntries::of(notice_of("ada", 1, 0))).await.unwrap();
    store.add(OutboxEntries::of(Notice::new(NoticeType::Test, None, "1", at(0)))).await.unwrap();
    let now = at(0) + HOLD;
    release_all(&*store, now).await;
    for claim in claims(&*store, "webhook", now).await {
        settle(&*store, "webhook", &claim, DeliveryOutcome::GivenUp { why: "410".to_owned() }, now).await;
    }
    let failed = store.notices(NoticePage { before: None, limit: 10, failed_only: true }).await.unwrap();
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[1].deliveries[1].why.as_deref(), Some("410"));
    let counts = store.outbox_counts().await.unwrap();
    let counts: Vec<_> = counts.iter().map(|c| (c.sink.as_str(), c.waiting, c.given_up)).collect();
    assert_eq!(counts, [("command", 2, 0), ("webhook", 0, 2)]);
    assert!(history_of(&*store, Some("ada")).await.contains(&"notice.given_up".to_owned()));
    let id = failed[1].notice.id.clone();
    assert_eq!(store.resend(id, at(500)).await, Ok(Some(2)), "the command still waits");
    assert_eq!(claims(&*store, "webhook", at(500)).await.len(), 1);
    assert_eq!(store.resend("evt_none".to_owned(), at(500)).await, Ok(None));
});

both_stores!(removals_keys_and_the_breaker_are_told, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    store.save_consent(grant("ada")).await.unwrap();
    assert_eq!(store.forget(person("ada")).await, Ok(true));
    assert_eq!(store.forget(person("ada")).await, Ok(false));
    let open = format!("open busy {0} {0} {0} 3", at(0).0);
    for text in [open.as_str(), open.as_str(), "closed", "closed"] {
        store.set_meta(MetaKey::Breaker, text.to_owned()).await.unwrap();
    }
    let told: Vec<&str> =
        listed(&*store).await.iter().rev().map(|record| record.notice.kind.as_str()).collect();
    assert_eq!(told, ["consent.granted", "person.forgotten", "app.paused", "app.resumed"]);
    assert_eq!(history_of(&*store, Some("ada")).await, ["person.forgotten", "consent.granted"]);
});

both_stores!(the_end_of_a_consent_is_told_once_for_each_step, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    let day = 86_400;
    let mut ending = grant("ada");
    ending.tokens.refresh_token_expires_at = Some(at(10 * day));
    ending.notice_state.refresh_token_end = RefreshTokenEnd::Stays;
    ending.answered_at = at(0);
    let mut moving = ending.clone();
    moving.person = Person::known_by(person("eve"));
    moving.notice_state.refresh_token_end = RefreshTokenEnd::Moves;
    store.save_consent(ending).await.unwrap();
    store.save_consent(moving).await.unwrap();
    assert_eq!(store.expiring_candidates(at(0), 10).await, Ok(vec![person("ada")]));
    assert_eq!(store.add_expiring_notice(person("ada"), at(0)).await, Ok(true));
    assert_eq!(store.add_expiring_notice(person("ada"), at(0)).await, Ok(false));
    assert_eq!(store.expiring_candidates(at(0), 10).await, Ok(vec![]));
    let claim = claimed(&*store, "ada", 3 * day).await;
    assert_eq!(claim.grant.notice_state.last_expiring_step, Some(14));
    assert_eq!(
        store.add_expiring_notice(person("ada"), at(4 * day)).await,
        Ok(false),
        "claimed: its commit would undo it"
    );
    assert_eq!(store.commit(claim.fence, claim.grant).await, Ok(Committed::Kept));
    assert_eq!(store.add_expiring_notice(person("ada"), at(4 * day)).await, Ok(true));
    let days: Vec<_> =
        listed(&*store).await.iter().filter_map(|r| r.notice.data.get("days")?.as_u64()).collect();
    assert_eq!(days, [7, 14]);
});

both_stores!(tokens_at_risk_without_a_refresh_are_told_once, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    // (lifetime, life left, at risk), in seconds: a tenth of the lifetime, at least 5 minutes, at most a day, and never more
    // than half of the lifetime.
    let cases = [
        ("a", 36_000, 3_600, true),
        ("b", 36_000, 3_601, false),
        ("c", 1_200, 300, true),
        ("d", 1_200, 301, false),
        ("e", 400, 200, true),
        ("f", 400, 201, false),
        ("g", 1_209_600, 86_400, true),
        ("h", 1_209_600, 86_401, false),
        ("i", 36_000, -5, true),
    ];
    for (name, lifetime, left, _) in cases {
        let mut short = grant(name);
        short.tokens.expires_at = at(1000 + left);
        short.renewed_at = at(1000 + left - lifetime);
        store.save_consent(short).await.unwrap();
    }
    let mut expected: Vec<_> = cases.iter().filter(|case| case.3).map(|(name, ..)| person(name)).collect();
    let candidates = async || {
        let mut persons = store.at_risk_candidates(at(1000), 100).await.unwrap();
        persons.sort();
        persons
    };
    assert_eq!(candidates().await, expected);
    let all: Vec<_> = cases.iter().map(|(name, ..)| person(name)).collect();
    let claim = claimed(&*store, "a", 1000).await;
    expected.remove(0);
    assert_eq!(candidates().await, expected, "one that is claimed waits for the refresh");
    let tell = async || store.add_at_risk_notices(all.clone(), "refreshes pause".to_owned(), at(1000)).await;
    assert_eq!(tell().await, Ok(4));
    assert_eq!(tell().await, Ok(0));
    assert_eq!(candidates().await, []);
    let told = listed(&*store).await;
    let told = told.iter().filter(|record| record.notice.kind == NoticeType::TokenAtRisk);
    assert_eq!(told.count(), 4);
    let release = store.release(person("a"), claim.fence, claim.grant.next).await;
    assert_eq!(release, Ok(Committed::Kept));
    assert_eq!(tell().await, Ok(1));
});

both_stores!(history_is_bounded_for_each_person, async |store: Arc<dyn FullStore>| {
    for n in 0..u32::try_from(MAX_ENTRIES_PER_PERSON).unwrap() + 20 {
        store.add(OutboxEntries::of(notice_of("ada", n, 0))).await.unwrap();
    }
    store.add(OutboxEntries::of(notice_of("eve", 1, 0))).await.unwrap();
    assert_eq!(history_of(&*store, Some("ada")).await.len(), MAX_ENTRIES_PER_PERSON);
    assert_eq!(history_of(&*store, None).await.len(), MAX_ENTRIES_PER_PERSON + 1);
    let far = at(500 * 86_400);
    while store.prune_history(far).await.unwrap() {}
    assert!(history_of(&*store, None).await.is_empty());
});

both_stores!(what_is_done_is_removed_in_time_and_what_waits_is_not, async |store: Arc<dyn FullStore>| {
    use_sinks(&*store, &["webhook"]);
    for version in ["1", "2"] {
        store.add(OutboxEntries::of(Notice::new(NoticeType::Test, None, version, at(0)))).await.unwrap();
    }
    let claimed = claims(&*store, "webhook", at(0)).await;
    settle(&*store, "webhook", &claimed[0], DeliveryOutcome::Sent, at(0)).await;
    while store.prune_outbox(at(20 * 86_400)).await.unwrap() {}
    assert_eq!(listed(&*store).await.len(), 2);
    while store.prune_outbox(at(31 * 86_400)).await.unwrap() {}
    assert_eq!(listed(&*store).await.len(), 1);
});
