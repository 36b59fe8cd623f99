//! Contract: queries and updates over all grants.

use std::sync::Arc;
use std::sync::Mutex;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantUpdate;
use webex_tokend::store::Store;

use crate::store::fixtures::BEGINNING;
use crate::store::fixtures::LEASE;
use crate::store::fixtures::ask;
use crate::store::fixtures::at;
use crate::store::fixtures::claim;
use crate::store::fixtures::claim_names;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::store::fixtures::save_many;
use crate::store::fixtures::unusual;

both_stores!(the_next_wake_is_the_earliest_of_all, async |store: Arc<dyn Store>| {
    assert_eq!(store.next_wake(BEGINNING).await, Ok(None));
    let waking = |name: &str, due: i64, wake: i64| {
        let mut grant = grant(name);
        grant.next = Schedule { due_at: at(due), wake_at: at(wake) };
        grant
    };
    let mut never = grant("eve");
    never.next = Schedule::NEVER;
    keep(&*store, [never.clone()]).await;
    assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(Schedule::NEVER.wake_at)));
    keep(&*store, [waking("ada", 0, 500), waking("joe", 400, 450)]).await;
    assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(450))), "due_at causes no wake");
    assert_eq!(store.next_wake(at(449)).await, Ok(Some(at(450))));
    assert_eq!(store.next_wake(at(450)).await, Ok(Some(at(500))), "only times after the given one count");
    assert_eq!(store.next_wake(Schedule::NEVER.wake_at).await, Ok(None));

    let claim = claim_one(&*store, 300).await;
    assert_eq!(
        store.next_wake(BEGINNING).await,
        Ok(Some(at(300 + LEASE))),
        "the end of a lease is worth waking for"
    );
    store.commit(claim.fence, waking("ada", 600, 700)).await.unwrap();
    assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(450))));
    never.person.id = person("joe");
    keep(&*store, [never]).await;
    assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(700))));
});

/// Returns the persons that were shown, batch by batch.
async fn update_all(
    store: &dyn Store,
    step: u32,
    change: impl Fn(&mut Grant) -> bool + Send + Sync + 'static,
) -> Vec<Vec<String>> {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = shown.clone();
    let revision: GrantUpdate = Arc::new(move |grant| {
        seen.lock().unwrap().push(grant.person.id.to_string());
        change(grant)
    });
    let (mut steps, mut cursor) = (Vec::new(), BatchPosition::default());
    while let Some(after) = store.update_batch(cursor, step, revision.clone()).await.unwrap() {
        assert!(after.0 > cursor.0, "every batch continues after the one before");
        cursor = after;
        steps.push(std::mem::take(&mut *shown.lock().unwrap()));
    }
    assert!(shown.lock().unwrap().is_empty(), "no grant is shown at the end");
    steps
}

both_stores!(a_long_list_is_updated_in_batches, async |store: Arc<dyn Store>| {
    const PERSONS: usize = 1203;
    save_many(&store, PERSONS).await;

    let steps = update_all(&*store, 500, |grant| {
        grant.next = Schedule::at(at(77));
        true
    })
    .await;
    assert_eq!(steps.iter().map(Vec::len).collect::<Vec<_>>(), [500, 500, 203]);
    let mut names = steps.concat();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), PERSONS, "each is shown once");
    assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(77))), "every change is stored");
});

both_stores!(a_batch_update_stores_only_grants_it_reports_as_changed, async |store: Arc<dyn Store>| {
    keep(&*store, ["ada", "eve", "joe"].map(grant)).await;
    let steps = update_all(&*store, 2, |grant| {
        grant.failures = 9;
        grant.next = Schedule::at(at(77));
        grant.person.id.as_str() == "eve"
    })
    .await;
    assert_eq!(steps, [vec!["ada", "eve"], vec!["joe"]]);
    assert_eq!(found(&*store, "ada").await, grant("ada"));
    assert_eq!(found(&*store, "eve").await.failures, 9);
    assert_eq!(found(&*store, "joe").await, grant("joe"));
    assert_eq!(claim_names(&*store, ask(0)).await, ["ada", "joe"]);
});

both_stores!(a_batch_update_stores_every_field_except_the_person, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    for mut wanted in unusual("ada") {
        let revised = wanted.clone();
        update_all(&*store, 10, move |grant| {
            *grant = revised.clone();
            true
        })
        .await;
        wanted.person = grant("ada").person;
        assert_eq!(found(&*store, "ada").await, wanted);
    }
});

both_stores!(a_batch_update_keeps_the_claim_of_a_claimed_grant, async |store: Arc<dyn Store>| {
    let mut later = grant("eve");
    later.next = Schedule::at(at(5));
    keep(&*store, [grant("ada"), later]).await;
    let running = claim_one(&*store, 0).await;
    let lease = found(&*store, "ada").await.next;
    let change = |grant: &mut Grant| {
        grant.renewed_at = at(-7);
        grant.next = Schedule::at(at(1));
        true
    };
    assert_eq!(update_all(&*store, 10, change).await, [vec!["ada", "eve"]]);
    let revised = found(&*store, "ada").await;
    assert_eq!(
        (revised.renewed_at, revised.next),
        (at(-7), lease),
        "no other claim is possible before its lease ends"
    );
    assert_eq!(claim_names(&*store, ask(4)).await, ["eve"]);

    let outcome = renewed(&running.grant, 1);
    assert_eq!(store.commit(running.fence, outcome.clone()).await, Ok(Committed::Kept));
    assert_eq!(found(&*store, "ada").await, outcome, "the commit replaces the batch update");
});

both_stores!(a_batch_update_of_an_empty_store_ends_at_once, async |store: Arc<dyn Store>| {
    assert_eq!(store.update_batch(BatchPosition::default(), 10, Arc::new(|_| true)).await, Ok(None));
    keep(&*store, [grant("ada")]).await;
    assert_eq!(store.update_batch(BatchPosition::default(), 0, Arc::new(|_| true)).await, Ok(None));
    assert_eq!(store.update_batch(BatchPosition(i64::MAX), 10, Arc::new(|_| true)).await, Ok(None));
    assert_eq!(found(&*store, "ada").await, grant("ada"));
});

both_stores!(claims_are_made_between_the_batches_of_an_update, async |store: Arc<dyn Store>| {
    keep(&*store, ["ada", "eve", "joe"].map(grant)).await;
    let revision: GrantUpdate = Arc::new(|grant| {
        grant.failures += 1;
        true
    });
    let after = store.update_batch(BatchPosition::default(), 1, revision.clone()).await.unwrap().unwrap();
    let claims = claim(&*store, ask(0)).await;
    assert_eq!(claims.iter().map(|claim| claim.grant.failures).collect::<Vec<_>>(), [1, 0, 0]);
    let end = store.update_batch(after, 5, revision.clone()).await.unwrap();
    for claim in claims {
        let outcome = renewed(&claim.grant, 1);
        assert_eq!(store.commit(claim.fence, outcome).await, Ok(Committed::Kept));
    }
    assert_eq!(store.update_batch(end.unwrap(), 5, revision).await, Ok(None));
    assert_eq!(found(&*store, "eve").await.failures, 0);
});
