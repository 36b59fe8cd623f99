//! What is promised of addresses, of the list of persons, and of forgetting one.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Standing;
use webex_tokend::domain::grant::State;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::schedule::Next;
use webex_tokend::store::Census;
use webex_tokend::store::Committed;
use webex_tokend::store::Order;
use webex_tokend::store::Page;
use webex_tokend::store::Pick;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;

use crate::store::house::at;
use crate::store::house::claim_one;
use crate::store::house::grant;
use crate::store::house::keep;
use crate::store::house::person;
use crate::store::house::renewed;

fn page() -> Page {
    Page::first(Pick::All(Order::Arrival), 100, at(0))
}

async fn names(store: &dyn Store, page: Page) -> Vec<String> {
    store.list(page).await.unwrap().into_iter().map(|(_, grant)| grant.person.id.to_string()).collect()
}

fn reached_at(name: &str, email: &str, obtained: i64) -> Grant {
    let mut grant = grant(name);
    grant.person.email = Some(Email::parse(email).unwrap());
    grant.obtained_at = at(obtained);
    grant
}

pub(super) async fn an_address_leads_to_who_consented_last(store: Arc<dyn Store>) {
    let shared = Email::parse("Shared@Example.com").unwrap();
    assert_eq!(store.resolve(shared.clone()).await, Ok(None));
    let early = reached_at("ada", "shared@example.com", 5);
    let other = reached_at("eve", "eve@example.com", 9);
    keep(&*store, [early, other, grant("joe"), reached_at("kim", "shared@example.com", 3)]).await;
    assert_eq!(store.resolve(shared.clone()).await, Ok(Some(person("ada"))));
    keep(&*store, [reached_at("kim", "shared@example.com", 6)]).await;
    assert_eq!(store.resolve(shared.clone()).await, Ok(Some(person("kim"))));
    store.forget(person("kim")).await.unwrap();
    assert_eq!(store.resolve(shared).await, Ok(Some(person("ada"))));
    assert_eq!(store.resolve(Email::parse("%@example.com").unwrap()).await, Ok(None));
}

pub(super) async fn the_list_is_in_order_of_arrival_and_goes_on_at_its_cursor(store: Arc<dyn Store>) {
    let all = ["kim", "ada", "joe", "eve", "zoe"];
    keep(&*store, all.map(grant)).await;
    keep(&*store, [grant("kim")]).await;
    assert_eq!(names(&*store, page()).await, all);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let part = store.list(Page { after, limit: 2, ..page() }).await.unwrap();
        assert!(part.len() <= 2);
        let Some((last, _)) = part.last() else { break };
        after = Some(last.clone());
        listed.extend(part.into_iter().map(|(_, grant)| grant));
    }
    assert_eq!(listed, all.map(grant), "each once, whole");
}

pub(super) async fn the_list_is_narrowed_by_state_and_by_person(store: Arc<dyn Store>) {
    let made = |name: &str, (due, failures, standing): (i64, u32, Standing)| {
        let mut grant = grant(name);
        grant.next = Next::at(at(due));
        grant.failures = failures;
        grant.standing = standing;
        grant
    };
    let standings = [Standing::Alive, Standing::ConsentNeeded];
    let kinds = [-1, 0, 1].into_iter().flat_map(|due| [(due, 0), (due, 2)]);
    let kinds = kinds.flat_map(|(due, failures)| standings.map(|standing| (due, failures, standing)));
    let grants: Vec<Grant> = kinds.enumerate().map(|(n, kind)| made(&format!("p{n}"), kind)).collect();
    keep(&*store, grants.clone()).await;
    for state in [State::Fresh, State::Due, State::Retrying, State::ConsentNeeded] {
        let mut expected: Vec<&Grant> = grants.iter().filter(|grant| grant.state(at(0)) == state).collect();
        expected.sort_by_key(|grant| grant.next.due_at);
        let expected: Vec<String> = expected.iter().map(|grant| grant.person.id.to_string()).collect();
        assert!(!expected.is_empty());
        assert_eq!(names(&*store, Page { pick: Pick::In(state), ..page() }).await, expected, "{state:?}");
        let first = Page { pick: Pick::In(state), limit: 1, ..page() };
        assert_eq!(names(&*store, first).await, expected[..1], "the limit counts those who fit");
    }
    let among = |ids: &[&str]| Page { among: Some(ids.iter().map(|id| person(id)).collect()), ..page() };
    assert_eq!(names(&*store, among(&["p7", "nobody", "p2", r#"\"]'"#])).await, ["p2", "p7"]);
    assert_eq!(names(&*store, among(&[])).await, [""; 0]);
    let both = Page { pick: Pick::In(State::Fresh), ..among(&["p0", "p8"]) };
    assert_eq!(names(&*store, both).await, ["p8"]);
}

pub(super) async fn whom_the_store_forgets_is_gone(store: Arc<dyn Store>) {
    keep(&*store, ["ada", "eve"].map(grant)).await;
    assert_eq!(store.forget(person("nobody")).await, Ok(false));
    assert_eq!(store.forget(person("ada")).await, Ok(true));
    assert_eq!(store.forget(person("ada")).await, Ok(false));
    assert_eq!(store.find(person("ada")).await, Ok(None));
    assert_eq!(names(&*store, page()).await, ["eve"]);
    assert_eq!(store.census().await, Ok(Census { people: 1, consent_needed: 0, elsewhere: 0 }));
    assert_eq!(claim_one(&*store, 0).await.grant, grant("eve"));
    assert_eq!(store.save_consent(grant("ada")).await, Ok(Saved::New));
}

pub(super) async fn a_commit_after_a_removal_changes_nothing(store: Arc<dyn Store>) {
    keep(&*store, [grant("ada")]).await;
    let running = claim_one(&*store, 0).await;
    store.forget(person("ada")).await.unwrap();
    let outcome = renewed(&running.grant, 1);
    assert_eq!(store.commit(running.fence, outcome.clone()).await, Ok(Committed::Superseded));
    assert_eq!(store.find(person("ada")).await, Ok(None), "nobody comes back by a late answer");

    keep(&*store, [grant("ada")]).await;
    let again = claim_one(&*store, 0).await;
    assert_eq!((again.fence.version, again.fence.attempt), (running.fence.version, running.fence.attempt));
    assert_eq!(store.commit(running.fence, outcome).await, Ok(Committed::Superseded), "not even as another");
    assert_eq!(store.commit(again.fence, renewed(&again.grant, 2)).await, Ok(Committed::Kept));
}

pub(super) async fn a_number_is_never_given_twice(store: Arc<dyn Store>) {
    let mut last = 0;
    for name in ["ada", "eve", "ada", "ada"] {
        keep(&*store, [grant(name)]).await;
        let serial = claim_one(&*store, 0).await.fence.serial;
        assert!(serial > last);
        last = serial;
        store.forget(person(name)).await.unwrap();
    }
}
