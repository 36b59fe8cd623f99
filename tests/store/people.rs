//! Contract: addresses, lists of persons, and forgetting a person.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::list::SortBy;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::MAX_SAME_ADDRESS;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::search::Search;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::Committed;
use webex_tokend::store::ImportedToken;
use webex_tokend::store::Removal;
use webex_tokend::store::Saved;
use webex_tokend::store::Store;

use crate::store::fixtures::at;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::lease;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;

fn page() -> ListRequest {
    ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 100, at(0))
}

async fn names(store: &dyn Store, page: ListRequest) -> Vec<String> {
    store.list(page).await.unwrap().into_iter().map(|(_, grant)| grant.person.id.to_string()).collect()
}

fn reached_at(name: &str, email: &str, obtained: i64) -> Grant {
    let mut grant = grant(name);
    grant.person.email = Some(Email::parse(email).unwrap());
    grant.obtained_at = at(obtained);
    grant
}

async fn namesakes(store: &dyn Store, email: &str) -> Vec<(String, bool)> {
    let found = store.resolve(Email::parse(email).unwrap()).await.unwrap();
    found.into_iter().map(|one| (one.id.to_string(), one.is_alive)).collect()
}

both_stores!(an_address_resolves_to_all_its_persons_living_grants_first, async |store: Arc<dyn Store>| {
    let shared = "Shared@Example.com";
    assert_eq!(namesakes(&*store, shared).await, []);
    let other = reached_at("eve", "eve@example.com", 9);
    let mut dead = reached_at("ada", "shared@example.com", 5);
    dead.status = GrantStatus::ConsentNeeded;
    let late = reached_at("kim", "shared@example.com", 3);
    keep(&*store, [dead, other, grant("joe"), late, reached_at("zoe", "SHARED@example.com", 2)]).await;
    let [ada, kim, zoe] =
        [("ada", false), ("kim", true), ("zoe", true)].map(|(id, lives)| (id.to_owned(), lives));
    assert_eq!(namesakes(&*store, shared).await, [kim.clone(), zoe.clone(), ada.clone()]);
    store.forget(person("kim")).await.unwrap();
    assert_eq!(namesakes(&*store, shared).await, [zoe, ada]);
    assert_eq!(namesakes(&*store, "%@example.com").await, []);
    let crowd = (0..20).map(|n| reached_at(&format!("p{n}"), "crowd@example.com", n));
    keep(&*store, crowd).await;
    let named = namesakes(&*store, "crowd@example.com").await;
    assert_eq!((named.len(), named[9].0.as_str()), (MAX_SAME_ADDRESS, "p9"));
});

both_stores!(only_ascii_letters_of_an_address_are_case_folded, async |store: Arc<dyn Store>| {
    keep(
        &*store,
        [reached_at("ada", "Kate@example.com", 1), reached_at("eve", "\u{212a}ate@example.com", 2)],
    )
    .await;
    assert_eq!(namesakes(&*store, "KATE@example.com").await, [("ada".to_owned(), true)]);
    assert_eq!(namesakes(&*store, "\u{212a}ATE@example.com").await, [("eve".to_owned(), true)]);
});

both_stores!(a_person_is_updated_unless_a_consent_came_in_between, async |store: Arc<dyn Store>| {
    let (before, planned) = (reached_at("ada", "old@example.com", 5), at(5000));
    keep(&*store, [before.clone()]).await;
    let claim = claim_one(&*store, 0).await;
    let told = |email: &str| {
        let (email, name) = (Email::parse(email).ok(), Some("Ada New".to_owned()));
        Person { email, display_name: name, ..before.person.clone() }
    };
    assert_eq!(store.update_person(told("new@example.com"), planned, at(9000)).await, Ok(true));
    assert_eq!(store.update_person(told("late@example.com"), planned, at(9500)).await, Ok(false));
    assert_eq!(namesakes(&*store, "new@example.com").await.len(), 1);
    assert_eq!(namesakes(&*store, "old@example.com").await, []);
    let found = |text: &str| {
        ListRequest::first_page(ListSelection::Matching(Search::parse(text).unwrap().unwrap()), 9, at(0))
    };
    assert_eq!(names(&*store, found("ada new")).await, ["ada"]);
    assert_eq!(names(&*store, found("old@")).await, [""; 0]);
    // The claim stays valid, and its commit does not bring the old person back.
    let outcome = renewed(&claim.grant, 1);
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
    let expected = Grant { person: told("new@example.com"), person_check_at: at(9000), ..outcome };
    assert_eq!(store.find(person("ada")).await, Ok(Some(expected)));
    assert_eq!(store.update_person(Person::known_by(person("eve")), planned, at(1)).await, Ok(false));
});

both_stores!(an_import_does_not_replace_a_live_grant_with_at_least_its_scopes, async |store: Arc<
    dyn Store,
>| {
    let scoped = |scope: Option<&str>| {
        let mut grant = grant("ada");
        grant.tokens.scope = scope.map(str::to_owned);
        grant
    };
    let imported = |scope| Grant { obtained_at: at(10), person_check_at: at(7), ..scoped(scope) };
    assert_eq!(store.save_import(scoped(Some("a b")), token(1)).await, Ok(Saved::New));
    for narrower in [Some("b"), Some("b  a"), Some(""), None] {
        assert_eq!(store.save_import(imported(narrower), token(1)).await, Ok(Saved::Kept), "{narrower:?}");
        assert_eq!(store.find(person("ada")).await, Ok(Some(scoped(Some("a b")))));
    }
    assert_eq!(store.save_import(imported(Some("a c")), token(1)).await, Ok(Saved::Replaced));
    let needy = Grant { status: GrantStatus::ConsentNeeded, ..scoped(Some("a b")) };
    let mut dead = scoped(Some("a b"));
    dead.tokens.expires_at = at(-1000);
    for useless in [needy, dead] {
        store.forget(person("ada")).await.unwrap();
        keep(&*store, [useless]).await;
        assert_eq!(store.save_import(imported(Some("b")), token(1)).await, Ok(Saved::Replaced));
    }
    assert_eq!(store.find(person("ada")).await, Ok(Some(imported(Some("b")))));
});

both_stores!(an_imported_token_is_known_until_another_grant_replaces_its_grant, async |store: Arc<
    dyn Store,
>| {
    let (first, second) = (token(1), token(2));
    for token in [first, second, first] {
        store.save_import(grant("ada"), token).await.unwrap();
    }
    let known = async |token: ImportedToken| store.find_import(token.sha256).await.unwrap();
    for token in [first, second] {
        assert_eq!(known(token).await, Some(person("ada")));
    }
    let claim = store.claim_one(person("ada"), lease(0)).await.unwrap().unwrap();
    store.commit(claim.fence, renewed(&claim.grant, 1)).await.unwrap();
    assert_eq!(known(first).await, Some(person("ada")), "a refresh changes nothing");
    let earlier = |grant: &mut Grant| {
        grant.obtained_at = at(-2000);
        true
    };
    store.update_batch(BatchPosition::default(), 9, Arc::new(earlier)).await.unwrap();
    assert_eq!(known(first).await, Some(person("ada")), "corrected dates change nothing");
    let consent = Grant { obtained_at: at(10), ..renewed(&grant("ada"), 10) };
    assert_eq!(store.save_consent(consent).await, Ok(Saved::Replaced));
    for token in [first, second] {
        assert_eq!(known(token).await, None);
    }
    store.save_import(grant("eve"), second).await.unwrap();
    store.forget(person("eve")).await.unwrap();
    assert_eq!(known(second).await, None);
});

both_stores!(a_consent_of_the_same_second_removes_the_import_mark, async |store: Arc<dyn Store>| {
    store.save_import(grant("ada"), token(1)).await.unwrap();
    assert_eq!(store.save_consent(grant("ada")).await, Ok(Saved::Replaced));
    assert_eq!(store.find_import([1; 32]).await, Ok(None));
});

fn token(number: u8) -> ImportedToken {
    ImportedToken { sha256: [number; 32], is_rotated: false, replaces_even_if_covered: false }
}

both_stores!(the_list_is_in_insertion_order_and_continues_at_its_cursor, async |store: Arc<dyn Store>| {
    let all = ["kim", "ada", "joe", "eve", "zoe"];
    keep(&*store, all.map(grant)).await;
    keep(&*store, [grant("kim")]).await;
    assert_eq!(names(&*store, page()).await, all);
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let part = store.list(ListRequest { after, limit: 2, ..page() }).await.unwrap();
        assert!(part.len() <= 2);
        let Some((last, _)) = part.last() else { break };
        after = Some(last.clone());
        listed.extend(part.into_iter().map(|(_, grant)| grant));
    }
    assert_eq!(listed, all.map(grant), "each once, whole");
});

both_stores!(the_list_is_filtered_by_state_and_by_person, async |store: Arc<dyn Store>| {
    let made = |name: &str, (due, failures, standing): (i64, u32, GrantStatus)| {
        let mut grant = grant(name);
        grant.next = Schedule::at(at(due));
        grant.failures = failures;
        grant.status = standing;
        grant
    };
    let standings = [GrantStatus::Active, GrantStatus::ConsentNeeded];
    let kinds = [-1, 0, 1].into_iter().flat_map(|due| [(due, 0), (due, 2)]);
    let kinds = kinds.flat_map(|(due, failures)| standings.map(|standing| (due, failures, standing)));
    let grants: Vec<Grant> = kinds.enumerate().map(|(n, kind)| made(&format!("p{n}"), kind)).collect();
    keep(&*store, grants.clone()).await;
    for state in [GrantState::Fresh, GrantState::Due, GrantState::Retrying, GrantState::ConsentNeeded] {
        let mut expected: Vec<&Grant> = grants.iter().filter(|grant| grant.state(at(0)) == state).collect();
        expected.sort_by_key(|grant| grant.next.due_at);
        let expected: Vec<String> = expected.iter().map(|grant| grant.person.id.to_string()).collect();
        assert!(!expected.is_empty());
        assert_eq!(
            names(&*store, ListRequest { selection: ListSelection::InState(state), ..page() }).await,
            expected,
            "{state:?}"
        );
        let first = ListRequest { selection: ListSelection::InState(state), limit: 1, ..page() };
        assert_eq!(names(&*store, first).await, expected[..1], "the limit counts matching persons");
    }
    let among = |ids: &[&str]| ListRequest {
        only_persons: Some(ids.iter().map(|id| person(id)).collect()),
        ..page()
    };
    assert_eq!(names(&*store, among(&["p7", "unknown", "p2", r#"\"]'"#])).await, ["p2", "p7"]);
    assert_eq!(names(&*store, among(&[])).await, [""; 0]);
    let both = ListRequest { selection: ListSelection::InState(GrantState::Fresh), ..among(&["p0", "p8"]) };
    assert_eq!(names(&*store, both).await, ["p8"]);
});

both_stores!(a_forgotten_person_is_deleted, async |store: Arc<dyn Store>| {
    keep(&*store, ["ada", "eve"].map(grant)).await;
    assert_eq!(store.forget(person("unknown")).await, Ok(false));
    assert_eq!(store.forget(person("ada")).await, Ok(true));
    assert_eq!(store.forget(person("ada")).await, Ok(false));
    assert_eq!(store.find(person("ada")).await, Ok(None));
    assert_eq!(names(&*store, page()).await, ["eve"]);
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 1, consent_needed: 0, other_apps: 0 }));
    assert_eq!(claim_one(&*store, 0).await.grant, grant("eve"));
    assert_eq!(store.save_consent(grant("ada")).await, Ok(Saved::New));
});

both_stores!(many_persons_are_removed_only_while_they_are_in_the_expected_state, async |store: Arc<
    dyn Store,
>| {
    let mut refused = grant("eve");
    refused.status = GrantStatus::ConsentNeeded;
    keep(&*store, [grant("ada"), refused, grant("kim")]).await;
    let removal = |ids: &[&str], only_in| Removal {
        persons: ids.iter().map(|id| person(id)).collect(),
        only_in,
        now: grant("ada").obtained_at,
    };
    let needy = removal(&["ada", "eve", "unknown"], Some(GrantState::ConsentNeeded));
    assert_eq!(store.forget_all(needy.clone()).await, Ok(vec![person("eve")]));
    assert_eq!(names(&*store, page()).await, ["ada", "kim"]);
    assert_eq!(store.save_consent(grant("eve")).await, Ok(Saved::New));
    assert_eq!(store.forget_all(needy).await, Ok(vec![]), "a new consent stays");
    let all = removal(&["kim", "unknown", "ada", "ada"], None);
    assert_eq!(store.forget_all(all).await, Ok(vec![person("kim"), person("ada")]));
    assert_eq!(names(&*store, page()).await, ["eve"]);
    assert_eq!(store.totals().await.unwrap().people, 1);
});

both_stores!(a_commit_after_a_removal_changes_nothing, async |store: Arc<dyn Store>| {
    keep(&*store, [grant("ada")]).await;
    let running = claim_one(&*store, 0).await;
    store.forget(person("ada")).await.unwrap();
    let outcome = renewed(&running.grant, 1);
    assert_eq!(store.commit(running.fence, outcome.clone()).await, Ok(Committed::Superseded));
    assert_eq!(store.find(person("ada")).await, Ok(None), "a late commit restores no person");

    keep(&*store, [grant("ada")]).await;
    let again = claim_one(&*store, 0).await;
    assert_eq!((again.fence.version, again.fence.attempt), (running.fence.version, running.fence.attempt));
    assert_eq!(
        store.commit(running.fence, outcome).await,
        Ok(Committed::Superseded),
        "not even under another number"
    );
    assert_eq!(store.commit(again.fence, renewed(&again.grant, 2)).await, Ok(Committed::Kept));
});

both_stores!(a_serial_number_is_never_reused, async |store: Arc<dyn Store>| {
    let mut last = 0;
    for name in ["ada", "eve", "ada", "ada"] {
        keep(&*store, [grant(name)]).await;
        let serial = claim_one(&*store, 0).await.fence.serial;
        assert!(serial > last);
        last = serial;
        store.forget(person(name)).await.unwrap();
    }
});
