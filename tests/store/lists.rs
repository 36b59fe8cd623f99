//! Contract: lists and totals. Both stores agree with the domain about each grant.

use std::sync::Arc;

use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::list::ListPosition;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::list::SortBy;
use webex_tokend::domain::overview::BoundedCount;
use webex_tokend::domain::overview::StateCounts;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::search::Search;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Store;

use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;
use crate::store::fixtures::unusual;
use crate::support::time::DAY_SECONDS;

const STATES: [GrantState; 4] =
    [GrantState::Fresh, GrantState::Due, GrantState::Retrying, GrantState::ConsentNeeded];
fn search(text: &str) -> ListSelection {
    ListSelection::Matching(Search::parse(text).unwrap().unwrap())
}

fn picks() -> Vec<ListSelection> {
    let orders = [SortBy::CreatedAt, SortBy::Email, SortBy::NextRefresh].map(ListSelection::All);
    let searches = ["a", "ada", "l", "love", "zoë", "%", "_"].map(search);
    let needs = [ListSelection::Working, ListSelection::ConsentNeeded, ListSelection::ConsentEnding];
    orders.into_iter().chain(STATES.map(ListSelection::InState)).chain(needs).chain(searches).collect()
}

/// Asserts every list and total of `store`, given all its rows in insertion order.
pub(super) async fn compare(store: &dyn Store, rows: &[(i64, &Grant)], now: UnixTime) {
    for pick in picks() {
        let mut expected: Vec<(ListPosition, Grant)> = rows
            .iter()
            .filter_map(|(serial, grant)| {
                Some((ListPosition { key: pick.key(grant, now)?, serial: *serial }, (*grant).clone()))
            })
            .collect();
        expected.sort_by(|(one, _), (other, _)| one.cmp(other));
        for backwards in [false, true] {
            let page = ListRequest { descending: backwards, ..ListRequest::first_page(pick.clone(), 2, now) };
            assert_eq!(all_parts(store, page).await, expected, "{pick:?}, backwards: {backwards}");
            expected.reverse();
        }
    }
    let of = |state| {
        BoundedCount::exact(rows.iter().filter(|(_, grant)| grant.state(now) == state).count() as u64)
    };
    let [fresh, due, retrying, consent_needed] = STATES.map(of);
    let people = rows.len() as u64;
    let ending = rows.iter().filter(|(_, grant)| grant.consent_ends_soon(now).is_some()).count() as u64;
    let consent_ending = BoundedCount::exact(ending);
    let counts = StateCounts { people, fresh, due, retrying, consent_needed, consent_ending };
    assert_eq!(store.counts(now).await, Ok(counts));
}

async fn all_parts(store: &dyn Store, mut page: ListRequest) -> Vec<(ListPosition, Grant)> {
    let mut all = Vec::new();
    loop {
        let part = store.list(page.clone()).await.unwrap();
        assert!(part.len() <= 2);
        let Some((last, _)) = part.last() else { return all };
        page.after = Some(last.clone());
        all.extend(part);
    }
}

fn called(id: &str, email: &str, name: &str) -> Grant {
    let mut grant = grant(id);
    grant.person.email = Email::parse(email).ok();
    grant.person.display_name = Some(name.to_owned()).filter(|name| !name.is_empty());
    grant
}

async fn found(store: &dyn Store, text: &str) -> Vec<String> {
    let part = store.list(ListRequest::first_page(search(text), 100, at(0))).await.unwrap();
    part.into_iter().map(|(_, grant)| grant.person.id.to_string()).collect()
}

both_stores!(every_list_and_count_agrees_with_the_domain, async |store: Arc<dyn Store>| {
    let mut grants = Vec::new();
    for due in [-200_000, -1, 0, 1, 1, 200_000] {
        for (failures, standing) in [
            (0, GrantStatus::Active),
            (2, GrantStatus::Active),
            (0, GrantStatus::ConsentNeeded),
            (2, GrantStatus::ConsentNeeded),
        ] {
            let name = format!("p{}", grants.len());
            let mut grant = called(&name, &format!("{}@example.com", grants.len() % 5), "Ada Lovelace");
            grant.next = Schedule::at(at(due));
            grant.tokens.expires_at = at(i64::from(failures) + due);
            grant.tokens.refresh_token_expires_at = (failures > 0).then_some(at(due));
            (grant.failures, grant.status) = (failures, standing);
            grants.push(grant);
        }
    }
    grants.extend(["a", "b", "c"].map(grant));
    let [full, edges, plain] = unusual("odd");
    for odd in [full, edges, plain] {
        let mut all = grants.clone();
        all.push(odd);
        keep(&*store, all.clone()).await;
        let rows: Vec<(i64, &Grant)> = (1..).zip(&all).collect();
        for now in [at(-300_000), at(-40 * DAY_SECONDS), at(0), at(1), at(300_000)] {
            compare(&*store, &rows, now).await;
        }
    }
});

both_stores!(a_search_finds_the_start_of_an_address_or_of_any_word_of_a_name, async |store: Arc<
    dyn Store,
>| {
    let people = [
        called("1", "lovelace@example.com", "Ada Lovelace"),
        called("2", "zoe@example.com", "Zoë LOVELACE-Smith"),
        called("3", "ada@example.com", ""),
        called("4", "", "100% Ada_x"),
    ];
    keep(&*store, people).await;
    assert_eq!(found(&*store, "LOVE").await, ["1", "2"], "each once");
    assert_eq!(found(&*store, "lovelace@").await, ["1"]);
    assert_eq!(found(&*store, "ZOË").await, ["2"]);
    assert_eq!(found(&*store, "smith").await, ["2"]);
    assert_eq!(found(&*store, "ada").await, ["1", "3", "4"]);
    assert_eq!(found(&*store, "100%").await, ["4"]);
    for nothing in ["%", "_", "da", "example", "love%", "lovelace@example.org", "' OR 1=1 --"] {
        assert_eq!(found(&*store, nothing).await, [""; 0], "{nothing}");
    }
});

both_stores!(a_search_follows_changes_of_a_person, async |store: Arc<dyn Store>| {
    keep(&*store, [called("1", "old@example.com", "Old Name")]).await;
    keep(&*store, [called("1", "new@example.com", "New Name")]).await;
    assert_eq!(found(&*store, "old").await, [""; 0]);
    assert_eq!(found(&*store, "new").await, ["1"]);
    store.forget(person("1")).await.unwrap();
    assert_eq!(found(&*store, "new").await, [""; 0]);
});

both_stores!(a_list_limited_to_some_persons_works_in_every_order, async |store: Arc<dyn Store>| {
    let grants = ["a", "b", "c", "d"].map(|id| called(id, &format!("{id}@example.com"), "Ada"));
    keep(&*store, grants).await;
    let among = Some(["c", "a", "unknown", "c"].map(person).to_vec());
    for pick in [
        ListSelection::All(SortBy::Email),
        ListSelection::InState(GrantState::Due),
        search("ada"),
        ListSelection::All(SortBy::NextRefresh),
    ] {
        let page =
            ListRequest { only_persons: among.clone(), ..ListRequest::first_page(pick.clone(), 2, at(0)) };
        let part = store.list(page.clone()).await.unwrap();
        let ids: Vec<String> = part.iter().map(|(_, grant)| grant.person.id.to_string()).collect();
        assert_eq!(ids, ["a", "c"], "{pick:?}");
        let rest = ListRequest { after: Some(part[0].0.clone()), ..page };
        assert_eq!(store.list(rest).await.unwrap(), part[1..]);
    }
});
