//! Contract: consents, look-ups, totals and meta values.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::store::Committed;
use webex_tokend::store::MetaKey;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;

use crate::store::fixtures::LEASE;
use crate::store::fixtures::ask;
use crate::store::fixtures::at;
use crate::store::fixtures::claim;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::lease;
use crate::store::fixtures::living;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::store::fixtures::unusual;

both_stores!(a_first_consent_is_new_and_the_next_replaces_it, async |store: Arc<dyn Store>| {
    assert_eq!(store.save_consent(grant("ada")).await, Ok(Saved::New));
    assert_eq!(store.save_consent(grant("eve")).await, Ok(Saved::New));
    let second = renewed(&grant("ada"), 5);
    assert_eq!(store.save_consent(second.clone()).await, Ok(Saved::Replaced));
    assert_eq!(found(&*store, "ada").await, second);
    assert_eq!(found(&*store, "eve").await, grant("eve"));
});

both_stores!(a_consent_stores_every_field, async |store: Arc<dyn Store>| {
    for (first, name) in ["ada", "eve", "joe"].into_iter().enumerate() {
        let mut grants = unusual(name);
        grants.rotate_left(first);
        for grant in grants {
            store.save_consent(grant.clone()).await.unwrap();
            assert_eq!(found(&*store, name).await, grant);
        }
    }
});

both_stores!(a_consent_voids_a_running_claim, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let running = claim_one(&*store, 0).await;
    let consent = living("ada", 5000);
    assert_eq!(store.save_consent(consent.clone()).await, Ok(Saved::Replaced));

    let outcome = renewed(&running.grant, 1);
    assert_eq!(store.commit(running.fence, outcome.clone()).await, Ok(Committed::Superseded));
    assert_eq!(found(&*store, "ada").await, consent, "the consent's tokens stay");

    let next = claim_one(&*store, 1).await;
    assert_eq!(next.grant, consent, "the void claim does not block a new one");
    assert_eq!(store.commit(running.fence, outcome).await, Ok(Committed::Superseded));
    assert_eq!(store.commit(next.fence, renewed(&next.grant, 2)).await, Ok(Committed::Kept));
});

both_stores!(a_consent_after_a_lease_has_ended_wins_too, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let older = claim_one(&*store, 0).await;
    let newer = claim_one(&*store, LEASE).await;
    let consent = living("ada", 5000);
    keep(&*store, [consent.clone()]).await;
    for claim in [older, newer] {
        let late = renewed(&claim.grant, LEASE + 1);
        assert_eq!(store.commit(claim.fence, late).await, Ok(Committed::Superseded));
    }
    assert_eq!(found(&*store, "ada").await, consent);
});

/// A consent obtained at `obtained` and stored at `now`; its access token says so.
fn consent(obtained: i64, now: i64) -> Grant {
    let mut grant = renewed(&grant("ada"), obtained);
    grant.obtained_at = at(obtained);
    grant.last.at = at(now);
    grant
}

both_stores!(of_two_consents_the_later_one_is_stored, async |store: Arc<dyn Store>| {
    keep(&*store, [consent(20, 21)]).await;
    let running = store.claim_one(person("ada"), lease(22)).await.unwrap().unwrap();
    assert_eq!(store.save_consent(consent(10, 30)).await, Ok(Saved::Older));
    let kept = renewed(&running.grant, 23);
    assert_eq!(store.commit(running.fence, kept.clone()).await, Ok(Committed::Kept), "it voids no claim");
    assert_eq!(store.save_consent(consent(10, 31)).await, Ok(Saved::Older), "a refresh makes it no older");
    assert_eq!(found(&*store, "ada").await, kept);
    assert_eq!(store.save_consent(consent(20, 32)).await, Ok(Saved::Replaced), "the same one again");
    assert_eq!(store.save_consent(consent(25, 33)).await, Ok(Saved::Replaced));
    assert_eq!(found(&*store, "ada").await, consent(25, 33));

    let clock_set_back = consent(-500, -499);
    assert_eq!(
        store.save_consent(clock_set_back.clone()).await,
        Ok(Saved::Replaced),
        "25 came from a wrong clock"
    );
    assert_eq!(found(&*store, "ada").await, clock_set_back);
});

both_stores!(an_unknown_person_is_not_found, async |store: Arc<dyn Store>| {
    assert_eq!(store.find(person("ada")).await, Ok(None));
    keep(&*store, [grant("ada")]).await;
    assert_eq!(store.find(person("Ada")).await, Ok(None), "ids are case-sensitive");
    assert_eq!(store.find(person("ad_")).await, Ok(None));
    assert_eq!(store.find(person("%")).await, Ok(None));
});

both_stores!(the_latest_write_time_only_grows, async |store: Arc<dyn Store>| {
    assert_eq!(store.last_write_at().await, Ok(None));
    keep(&*store, [renewed(&grant("ada"), -50)]).await;
    assert_eq!(store.last_write_at().await, Ok(Some(at(-50))));
    keep(&*store, [renewed(&grant("eve"), -70)]).await;
    assert_eq!(store.last_write_at().await, Ok(Some(at(-50))), "a clock set back does not hide it");

    assert!(claim(&*store, ask(10)).await.is_empty());
    assert_eq!(store.last_write_at().await, Ok(Some(at(-50))), "a claim without result writes nothing");
    keep(&*store, [grant("joe")]).await;
    let claim = claim_one(&*store, 20).await;
    assert_eq!(store.last_write_at().await, Ok(Some(at(20))));
    store.commit(claim.fence, renewed(&claim.grant, 30)).await.unwrap();
    assert_eq!(store.last_write_at().await, Ok(Some(at(30))));
    let superseded = store.commit(claim.fence, renewed(&claim.grant, 40)).await;
    assert_eq!(superseded, Ok(Committed::Superseded));
    assert_eq!(store.last_write_at().await, Ok(Some(at(30))), "no write at 40");
});

both_stores!(totals_count_persons_and_consents_needed, async |store: Arc<dyn Store>| {
    assert_eq!(store.totals().await, Ok(GrantTotals::default()));
    let mut needy = grant("eve");
    needy.status = GrantStatus::ConsentNeeded;
    keep(&*store, [grant("ada"), needy, grant("joe"), grant("joe")]).await;
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 3, consent_needed: 1, other_apps: 0 }));
    claim(&*store, ask(0)).await;
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 3, consent_needed: 1, other_apps: 0 }));
});

both_stores!(a_meta_value_is_stored_until_the_next, async |store: Arc<dyn Store>| {
    assert_eq!(store.get_meta(MetaKey::Policy).await, Ok(None));
    for text in ["one", "", "Zoë \u{1F511}\0"] {
        store.set_meta(MetaKey::Policy, text.to_owned()).await.unwrap();
        assert_eq!(store.get_meta(MetaKey::Policy).await, Ok(Some(text.to_owned())));
    }
    assert_eq!(store.last_write_at().await, Ok(None), "a meta value is no grant");
});

both_stores!(meta_values_of_different_names_are_separate, async |store: Arc<dyn Store>| {
    store.set_meta(MetaKey::Policy, "policy".to_owned()).await.unwrap();
    assert_eq!(store.get_meta(MetaKey::Breaker).await, Ok(None));
    store.set_meta(MetaKey::Breaker, "breaker".to_owned()).await.unwrap();
    assert_eq!(store.get_meta(MetaKey::Policy).await, Ok(Some("policy".to_owned())));
    assert_eq!(store.get_meta(MetaKey::Breaker).await, Ok(Some("breaker".to_owned())));
});

both_stores!(an_open_store_can_be_read, async |store: Arc<dyn Store>| {
    assert_eq!(store.check_readable().await, Ok(()));
    keep(&*store, [grant("ada")]).await;
    assert_eq!(store.check_readable().await, Ok(()));
});
