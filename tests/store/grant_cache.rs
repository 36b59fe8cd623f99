//! The cache that readers see before the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::person::PersonQuery;
use webex_tokend::domain::person::ResolvedPerson;
use webex_tokend::grant_cache::GrantCache;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;

use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::support::faulty_store::FaultyStore;
use crate::support::faulty_store::StoreFault;
use crate::support::intercept_store::StoreOp;

/// More entries than either generation of the cache holds.
const MANY: usize = 5000;

fn reached_at(name: &str, email: &str) -> Grant {
    let mut grant = grant(name);
    grant.person.email = Email::parse(email).ok();
    grant
}

async fn kept(store: &dyn Store, cache: &GrantCache, grant: Grant) {
    let id = grant.person.id.clone();
    keep(store, [grant]).await;
    cache.invalidate(&id);
}

#[tokio::test]
async fn a_cached_address_is_dropped_by_an_invalidation() {
    let store = Arc::new(MemoryStore::new());
    let cache = GrantCache::new(store.clone());
    let kate = PersonQuery::parse("kate@example.com").unwrap();
    let meant = async || cache.resolve(&kate).await.unwrap();
    let [ada, eve] = ["ada", "eve"].map(person);
    kept(&*store, &cache, reached_at("ada", "kate@example.com")).await;
    assert_eq!(meant().await, ResolvedPerson::One(ada.clone()));
    kept(&*store, &cache, reached_at("eve", "kate@example.com")).await;
    assert_eq!(
        meant().await,
        ResolvedPerson::Ambiguous(vec![ada.clone(), eve.clone()]),
        "another person has it as well"
    );
    store.forget(ada.clone()).await.unwrap();
    cache.invalidate(&ada);
    assert_eq!(meant().await, ResolvedPerson::One(eve.clone()));
    store.update_person(reached_at("eve", "eve@example.com").person, at(5000), at(6000)).await.unwrap();
    cache.invalidate(&eve);
    assert_eq!(meant().await, ResolvedPerson::Unknown);
}

#[tokio::test]
async fn a_grant_read_before_an_invalidation_is_never_shown_after_it() {
    let store = Arc::new(MemoryStore::new());
    let cache = GrantCache::new(store.clone());
    let shown = async |name: &str| cache.get(&person(name)).await.unwrap().unwrap();
    let others: Vec<String> = (0..MANY).map(|n| format!("p{n}")).collect();
    keep(&*store, [grant("ada")]).await;
    keep(&*store, others.iter().map(|name| grant(name))).await;
    // Ada's entry ages in the cache with each of these.
    for read_since in [0, MANY / 2, MANY] {
        let before = shown("ada").await;
        for name in others.iter().take(read_since) {
            shown(name).await;
        }
        let after = renewed(&before, i64::try_from(read_since).unwrap() + 1);
        kept(&*store, &cache, after.clone()).await;
        assert_eq!(*shown("ada").await, after, "{read_since} persons were read since");
    }
}

/// How a change invalidates the cache: one person's entry, or all.
const PUBLICATIONS: [fn(&GrantCache); 2] =
    [|cache| cache.invalidate(&person("ada")), |cache: &GrantCache| cache.invalidate_all()];

#[tokio::test]
async fn cached_grants_are_dropped_by_both_kinds_of_invalidation() {
    for publish in PUBLICATIONS {
        let store = Arc::new(MemoryStore::new());
        let cache = GrantCache::new(store.clone());
        let before = reached_at("ada", "kate@example.com");
        keep(&*store, [before.clone()]).await;
        assert_shows(&cache, &before).await;
        let after = renewed(&reached_at("ada", "ada@example.com"), 1);
        keep(&*store, [after.clone()]).await;
        publish(&cache);
        assert_shows(&cache, &after).await;
        let kate = PersonQuery::parse("kate@example.com").unwrap();
        assert_eq!(cache.resolve(&kate).await, Ok(ResolvedPerson::Unknown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_read_in_flight_at_an_invalidation_is_not_cached() {
    for publish in PUBLICATIONS {
        let store = FaultyStore::new();
        let cache = GrantCache::new(store.clone());
        let (ada, kate) = (person("ada"), PersonQuery::parse("kate@example.com").unwrap());
        keep(&*store, [reached_at("ada", "kate@example.com")]).await;
        store.script(|op, _| match op {
            StoreOp::Find | StoreOp::Resolve => StoreFault::DelayReply(Duration::from_secs(2)),
            _ => StoreFault::None,
        });
        let after = renewed(&reached_at("ada", "ada@example.com"), 1);
        let change = async {
            sleep(Duration::from_secs(1)).await;
            keep(&*store, [after.clone()]).await;
            publish(&cache);
        };
        let (found, meant, ()) = tokio::join!(cache.get(&ada), cache.resolve(&kate), change);
        assert_ne!(*found.unwrap().unwrap(), after, "it was read before the change");
        assert_eq!(meant, Ok(ResolvedPerson::One(ada)), "it was read before the change");
        store.recover();
        assert_shows(&cache, &after).await;
        assert_eq!(cache.resolve(&kate).await, Ok(ResolvedPerson::Unknown));
    }
}

/// Asserts that this grant is shown, by the person's id and by the address.
async fn assert_shows(cache: &GrantCache, grant: &Grant) {
    let Person { id, email, .. } = &grant.person;
    assert_eq!(cache.get(id).await.unwrap().as_deref(), Some(grant));
    let email = PersonQuery::Email(email.clone().unwrap());
    assert_eq!(cache.resolve(&email).await, Ok(ResolvedPerson::One(id.clone())));
}
