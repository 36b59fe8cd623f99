//! Contract: how many grants wait for a refresh, and how many of them go before one.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::store::BacklogCounts;
use webex_tokend::store::BacklogRequest;
use webex_tokend::store::Store;

use crate::store::fixtures::ask;
use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;

/// A grant that is due at one second and whose access token expires at another.
fn due_and_expiring(name: &str, due: i64, expires: i64) -> Grant {
    let mut grant = grant(name);
    grant.next = Schedule::at(at(due));
    grant.tokens.expires_at = at(expires);
    grant
}

fn grants() -> Vec<Grant> {
    let mut retrying = due_and_expiring("retrying", 40, 60);
    retrying.failures = 2;
    let mut ended = due_and_expiring("ended", 0, 10);
    ended.status = GrantStatus::ConsentNeeded;
    vec![
        due_and_expiring("long-dead", 0, 20),
        due_and_expiring("dead", 0, 100),
        due_and_expiring("dying", 50, 200),
        due_and_expiring("alive", 50, 900),
        due_and_expiring("fresh", 500, 990),
        retrying,
        ended,
    ]
}

both_stores!(due_and_expired_grants_are_counted_without_those_that_ended, async |store: Arc<dyn Store>| {
    keep(&*store, grants()).await;
    let count = async |limit: u64| {
        store.backlog(BacklogRequest { now: at(100), limit, ahead_of: None }).await.unwrap()
    };
    let all = BacklogCounts { due: 5, or_more: false, expired: 3, ahead: 0 };
    assert_eq!(count(5).await, all);
    assert_eq!(count(u64::MAX).await, all);
    let some = count(2).await;
    assert_eq!((some.due, some.or_more), (2, true));
    store.claim_due(ask(100)).await.unwrap();
    assert_eq!(count(100).await.due, 0, "claimed grants do not wait");
});

both_stores!(living_tokens_go_before_dead_ones, async |store: Arc<dyn Store>| {
    keep(&*store, grants()).await;
    for (expires, ahead) in [(200, 0), (900, 1), (20, 2), (60, 3), (100, 4)] {
        let ask = BacklogRequest { now: at(100), limit: 100, ahead_of: Some(at(expires)) };
        assert_eq!(store.backlog(ask).await.unwrap().ahead, ahead, "expires at second {expires}");
    }
});
