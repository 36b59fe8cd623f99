//! Notices that do not come from a single refresh, in virtual time: the store cannot be written, or tokens come near their end
//! while all refreshes pause.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::facts::after_refresh;
use webex_tokend::domain::person::PersonId;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;
use webex_tokend::notices::HistoryPage;
use webex_tokend::notices::sink::DeliveryResult;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::Lease;
use webex_tokend::store::MetaKey;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreMetadata;
use webex_tokend::store::history::HistoryStore;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::outbox::OutboxStore;

use crate::notices::world::NoticeHarness;
use crate::notices::world::TestSink;
use crate::store::fixtures::grant;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::faulty_store::FaultyStore;
use crate::support::intercept_store::StoreOp;
use crate::support::time::HOUR;
use crate::support::time::MINUTE;

fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

fn lease_at(now: UnixTime) -> Lease {
    Lease { now, owner: "this process".to_owned(), end: now + MINUTE }
}

async fn history(store: &MemoryStore) -> Vec<String> {
    let page = HistoryPage { person: None, before: None, limit: 100 };
    store.history(page).await.unwrap().into_iter().rev().map(|(_, entry)| entry.what).collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_could_not_be_written_is_told_to_each_sink_once_and_kept_as_history() {
    let (well, down) = (TestSink::new("webhook"), TestSink::new("command"));
    let memory = Arc::new(MemoryStore::new());
    let grants = FaultyStore::with_store(memory.clone());
    let _harness = NoticeHarness::with_grants(grants.clone(), memory.clone(), &[&well, &down]);
    down.is_down();
    grants.fail(&[StoreOp::Prove], StoreError::Full);
    sleep(5 * MINUTE).await;
    assert_eq!(well.words(), ["store.failing"], "sent at once, from memory");
    grants.recover();
    sleep(5 * MINUTE).await;
    assert_eq!(well.words(), ["store.failing", "store.recovered"]);
    assert_eq!(history(&memory).await, ["store.failing", "store.recovered"]);
    down.answers(DeliveryResult::Taken);
    sleep(HOUR).await;
    assert_eq!(down.words(), ["store.failing", "store.recovered"]);
    let ids = |taken: &[Notice]| taken.iter().map(|notice| notice.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&well.taken()), ids(&down.taken()), "one fact has one id at every sink");
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_that_a_restart_interrupts_has_one_begin_and_one_end() {
    let sink = TestSink::new("webhook");
    let memory = Arc::new(MemoryStore::new());
    let grants = FaultyStore::with_store(memory.clone());
    let harness = NoticeHarness::with_grants(grants.clone(), memory.clone(), &[&sink]);
    grants.fail(&[StoreOp::Prove], StoreError::Full);
    sleep(5 * MINUTE).await;
    let harness = harness.restart_with_grants(grants.clone()).await;
    sleep(5 * MINUTE).await;
    assert_eq!(sink.words(), ["store.failing"], "the second process knows that the first has sent it");
    let harness = harness.restart().await;
    sleep(5 * MINUTE).await;
    assert_eq!(sink.words(), ["store.failing", "store.recovered"]);
    assert_eq!(history(&memory).await, ["store.failing", "store.recovered"]);
    let _harness = harness.restart().await;
    sleep(5 * MINUTE).await;
    assert_eq!(sink.words().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_an_outage_that_cannot_be_read_is_logged_and_cleared() {
    capture_thread_logs();
    let sink = TestSink::new("webhook");
    let memory = Arc::new(MemoryStore::new());
    memory.set_outage_note("{\"since\":".to_owned()).await.unwrap();
    let _harness = NoticeHarness::with_grants(memory.clone(), memory.clone(), &[&sink]);
    sleep(5 * MINUTE).await;
    let logs = captured_logs();
    let said = logs.iter().filter(|(_, line)| line.contains("is not reported as ended")).count();
    assert_eq!((said, sink.words().len()), (1, 0), "{logs:?}");
    assert_eq!(memory.outage_note().await, Ok(None));
}

/// Refreshes pause, so no refresh of this grant fails. The periodic check finds that its token has little life left.
#[tokio::test(start_paused = true)]
async fn tokens_at_risk_while_all_refreshes_pause_are_told_once_each() {
    let sink = TestSink::new("webhook");
    let memory = Arc::new(MemoryStore::new());
    let harness = NoticeHarness::with_grants(memory.clone(), memory.clone(), &[&sink]);
    let now = harness.clock.now();
    let keep = async |name: &str, life: Duration| {
        let mut grant = grant(name);
        (grant.obtained_at, grant.renewed_at, grant.answered_at, grant.last.at) = (now, now, now, now);
        grant.tokens.expires_at = now + life;
        memory.save_consent(grant).await.unwrap();
    };
    keep("ada", 10 * HOUR).await;
    keep("eve", 300 * HOUR).await;
    let risks = || {
        let taken = sink.taken();
        let of_risk = taken.iter().filter(|notice| notice.kind == NoticeType::TokenAtRisk);
        of_risk.map(|notice| (notice.queue(), notice.clone())).collect::<Vec<_>>()
    };
    sleep(9 * HOUR + 10 * MINUTE).await;
    assert_eq!(risks(), [], "refreshes are tried, so a failing one reports the risk");
    let open = format!("open many_failing {0} {0} {0} 3", now.0);
    memory.set_meta(MetaKey::Breaker, open).await.unwrap();
    sleep(5 * MINUTE).await;
    let told = risks();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "ada");
    let reason = told[0].1.data["reason"].as_str().unwrap();
    assert!(reason.starts_with("refreshes pause: "), "{reason}");
    sleep(9 * HOUR).await;
    assert_eq!(risks().len(), 1, "one notice, also after the token has expired");
    let claim = memory.claim_one(person("ada"), lease_at(harness.clock.now())).await.unwrap().unwrap();
    let mut renewed = claim.grant.clone();
    renewed.tokens.expires_at = harness.clock.now() + 10 * HOUR;
    (renewed.last.at, renewed.last.outcome) = (harness.clock.now(), Outcome::Renewed);
    memory.commit(claim.fence, after_refresh(&claim.grant, renewed)).await.unwrap();
    sleep(5 * MINUTE).await;
    let words = sink.words();
    assert_eq!(words.last(), Some(&"token.recovered"), "{words:?}");
}
