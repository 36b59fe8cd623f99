//! What readers see through the cache before the store.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Resolved;
use webex_tokend::domain::person::Who;
use webex_tokend::store::Store;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::tokens::LiveView;

use crate::store::house::at;
use crate::store::house::grant;
use crate::store::house::keep;
use crate::store::house::person;
use crate::store::house::renewed;

/// More than either generation of the cache holds.
const MANY: usize = 5000;

fn reached_at(name: &str, email: &str) -> Grant {
    let mut grant = grant(name);
    grant.person.email = Email::parse(email).ok();
    grant
}

async fn kept(store: &dyn Store, view: &LiveView, grant: Grant) {
    let id = grant.person.id.clone();
    keep(store, [grant]).await;
    view.publish(&id);
}

#[tokio::test]
async fn an_address_means_no_longer_what_it_meant_before_a_publication() {
    let store = Arc::new(MemoryStore::new());
    let view = LiveView::new(store.clone());
    let kate = Who::parse("kate@example.com").unwrap();
    let meant = async || view.resolve(&kate).await.unwrap();
    let [ada, eve] = ["ada", "eve"].map(person);
    kept(&*store, &view, reached_at("ada", "kate@example.com")).await;
    assert_eq!(meant().await, Resolved::One(ada.clone()));
    kept(&*store, &view, reached_at("eve", "kate@example.com")).await;
    assert_eq!(meant().await, Resolved::Ambiguous(vec![ada.clone(), eve.clone()]), "another has it, too");
    store.forget(ada.clone()).await.unwrap();
    view.publish(&ada);
    assert_eq!(meant().await, Resolved::One(eve.clone()));
    store.update_person(reached_at("eve", "eve@example.com").person, at(5000), at(6000)).await.unwrap();
    view.publish(&eve);
    assert_eq!(meant().await, Resolved::Unknown);
}

#[tokio::test]
async fn what_was_read_before_a_publication_is_shown_no_more_whatever_was_read_since() {
    let store = Arc::new(MemoryStore::new());
    let view = LiveView::new(store.clone());
    let shown = async |name: &str| view.look(&person(name)).await.unwrap().unwrap();
    let others: Vec<String> = (0..MANY).map(|n| format!("p{n}")).collect();
    keep(&*store, [grant("ada")]).await;
    keep(&*store, others.iter().map(|name| grant(name))).await;
    // Ada grows older in the cache with each of these.
    for read_since in [0, MANY / 2, MANY] {
        let before = shown("ada").await;
        for name in others.iter().take(read_since) {
            shown(name).await;
        }
        let after = renewed(&before, i64::try_from(read_since).unwrap() + 1);
        kept(&*store, &view, after.clone()).await;
        assert_eq!(*shown("ada").await, after, "{read_since} persons were read since");
    }
}
