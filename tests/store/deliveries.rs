//! Which deliveries are claimed, made due, and ended.

use std::sync::Arc;
use std::time::Duration;

use webex_tokend::domain::notice::News;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::outbox::DeliveryAsk;
use webex_tokend::store::outbox::DeliveryClaim;

use crate::store::fixtures::at;
use crate::store::outbox::Whole;
use crate::store::outbox::told_to;

/// A notice that is not held.
fn at_once(kind: NoticeType, version: usize, seconds: i64) -> News {
    News::of(Notice::new(kind, None, &version.to_string(), at(seconds)))
}

async fn claims_of_chains(store: &dyn Whole, chains: usize, due_by: UnixTime) -> Vec<DeliveryClaim> {
    let lease_end = at(1000) + Duration::from_secs(60);
    let ask = DeliveryAsk { sink: "webhook".to_owned(), now: at(1000), due_by, chains, lease_end };
    store.claim_deliveries(ask).await.unwrap()
}

fn chains(claims: &[DeliveryClaim]) -> Vec<String> {
    let mut chains: Vec<String> = claims.iter().map(|claim| claim.notice.chain()).collect();
    chains.dedup();
    chains
}

both_stores!(one_long_chain_delays_no_other_chain, async |store: Arc<dyn Whole>| {
    told_to(&*store, &["webhook"]);
    for n in 0..100 {
        let kind = if n % 2 == 0 { NoticeType::KeyCreated } else { NoticeType::KeyRevoked };
        store.tell(at_once(kind, n, 0)).await.unwrap();
    }
    store.tell(at_once(NoticeType::Test, 0, 1)).await.unwrap();
    store.tell(at_once(NoticeType::StoreFailing, 0, 2)).await.unwrap();
    let first = claims_of_chains(&*store, 2, at(1000)).await;
    assert_eq!(chains(&first), ["-key", "-test"]);
    assert_eq!(first.len(), 21, "at most twenty of one chain");
    let second = claims_of_chains(&*store, 2, at(1000)).await;
    assert_eq!(chains(&second), ["-store"], "the rest of the claimed chain takes no place");
});

both_stores!(a_probe_finds_a_free_chain_behind_a_long_one_that_is_claimed, async |store: Arc<dyn Whole>| {
    told_to(&*store, &["webhook"]);
    for n in 0..100 {
        store.tell(at_once(NoticeType::KeyCreated, n, 0)).await.unwrap();
    }
    assert_eq!(claims_of_chains(&*store, 1, at(1000)).await.len(), 20);
    store.tell(at_once(NoticeType::Test, 0, 1)).await.unwrap();
    let probe = claims_of_chains(&*store, 1, UnixTime::NEVER).await;
    assert_eq!(chains(&probe), ["-test"]);
});
