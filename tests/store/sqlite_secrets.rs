//! Secrets in the file, and records that were tampered with.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use log::Level;
use rusqlite::Connection;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantState;
use webex_tokend::domain::list::ListPosition;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::list::SortBy;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::overview::BoundedCount;
use webex_tokend::domain::person::AddressMatch;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::person::Person;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::search::Search;
use webex_tokend::store::BatchPosition;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::Saved;
use webex_tokend::store::StoreError;
use webex_tokend::store::history::HistoryPage;
use webex_tokend::store::history::HistoryStore as _;
use webex_tokend::store::outbox::NoticePage;
use webex_tokend::store::outbox::OutboxRules;
use webex_tokend::store::outbox::OutboxStore as _;
use webex_tokend::store::outbox::PEOPLE_SINK;

use crate::store::fixtures::BEGINNING;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::ask;
use crate::store::fixtures::at;
use crate::store::fixtures::claim_names;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::lease;
use crate::store::fixtures::person;
use crate::store::fixtures::secret;
use crate::support::process_logs;
use crate::support::time::DAY_SECONDS;

/// The forms in which a token could be written: plain, in hex, in base64 at each of its three alignments.
fn spellings(token: &str) -> Vec<Vec<u8>> {
    let bytes = token.as_bytes();
    let mut spellings = vec![bytes.to_vec()];
    spellings.push(bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect());
    spellings.push(bytes.iter().flat_map(|b| format!("{b:02X}").into_bytes()).collect());
    for skipped in 0..3 {
        let whole = &bytes[skipped..bytes.len() - (bytes.len() - skipped) % 3];
        spellings.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        spellings.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    spellings
}

fn holds(store_dir: &StoreDir, token: &str) -> Option<String> {
    let spellings = spellings(token);
    let found = |content: &[u8]| {
        spellings.iter().any(|spelling| content.windows(spelling.len()).any(|window| window == spelling))
    };
    store_dir.contents().into_iter().find(|(_, content)| found(content)).map(|(name, _)| name)
}

#[tokio::test]
async fn no_token_is_in_any_byte_of_any_file() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let mut tokens = Vec::new();
    let mut issue = |kind: &str| {
        tokens.push(format!("{kind}-s3cr3t/t0ken~{}?>", tokens.len()));
        secret(tokens.last().unwrap())
    };
    let mut consent = grant("ada");
    consent.person.display_name = Some("Ada, to be found".to_owned());
    for _ in 0..3 {
        consent.tokens.access_token = issue("access");
        consent.tokens.refresh_token = issue("refresh");
        keep(&store, [consent.clone()]).await;
        let claim = claim_one(&store, 0).await;
        let mut outcome = claim.grant.clone();
        outcome.tokens.access_token = issue("renewed");
        assert_eq!(store.commit(claim.fence, outcome).await, Ok(Committed::Kept));
        let revised = issue("revised");
        let revision = move |grant: &mut Grant| {
            grant.tokens.access_token = revised.clone();
            true
        };
        store.update_batch(BatchPosition::default(), 9, Arc::new(revision)).await.unwrap();
    }
    assert_eq!(holds(&store_dir, "Ada, to be found").as_deref(), Some("tokend.db-wal"), "the search works");
    for token in &tokens {
        assert_eq!(holds(&store_dir, token), None, "while the store is open");
        assert!(!format!("{store:?}").contains(token.as_str()));
    }
    drop(store);
    assert_eq!(holds(&store_dir, "Ada, to be found").as_deref(), Some("tokend.db"));
    for token in &tokens {
        assert_eq!(holds(&store_dir, token), None, "when the store is closed");
    }
}

/// Four persons; `tamper` changes eve's record, by SQL with her name as `?1`.
async fn tampered(tamper: &str) -> StoreDir {
    let store_dir = StoreDir::with_grants(&["ada", "eve", "joe", "kim"]).await;
    let connection = store_dir.other_connection();
    connection.pragma_update(None, "ignore_check_constraints", true).unwrap();
    assert_eq!(connection.execute(tamper, ["eve"]).unwrap(), 1, "{tamper}");
    store_dir
}

const TAMPERINGS: [&str; 15] = [
    "UPDATE grants SET access_token = (SELECT access_token FROM grants WHERE person_id = 'ada') WHERE person_id = ?1",
    "UPDATE grants SET refresh_token = (SELECT refresh_token FROM grants WHERE person_id = 'ada') WHERE person_id = ?1",
    "UPDATE grants SET access_token = refresh_token WHERE person_id = ?1",
    "UPDATE grants SET refresh_token = access_token WHERE person_id = ?1",
    "UPDATE grants SET access_token = refresh_token, refresh_token = access_token WHERE person_id = ?1",
    "UPDATE grants SET access_token = x'' WHERE person_id = ?1",
    "UPDATE grants SET access_token = substr(access_token, 1, 30) WHERE person_id = ?1",
    "UPDATE grants SET failures = -1 WHERE person_id = ?1",
    "UPDATE grants SET display_name = CAST(x'ff' AS TEXT) WHERE person_id = ?1",
    "UPDATE grants SET display_name = 'Ada' WHERE person_id = ?1",
    "UPDATE grants SET email = 'ada@example.com' WHERE person_id = ?1",
    "UPDATE grants SET email = NULL, person_mac = NULL WHERE person_id = ?1",
    "UPDATE grants SET org_id = 'another' WHERE person_id = ?1",
    "UPDATE grants SET org_id = display_name, display_name = 'x' WHERE person_id = ?1",
    "UPDATE grants SET person_mac = (SELECT person_mac FROM grants WHERE person_id = 'ada') WHERE person_id = ?1",
];

#[tokio::test]
async fn a_tampered_record_is_reported_and_affects_no_other() {
    for tampering in TAMPERINGS {
        let store_dir = tampered(tampering).await;
        let store = store_dir.open();
        let unreadable = StoreError::Unreadable(person("eve"));
        assert_eq!(store.find(person("eve")).await, Err(unreadable.clone()), "{tampering}");
        let text = unreadable.to_string();
        assert!(text.contains("eve") && text.contains("a new consent replaces it"), "{text}");

        let alone = store.claim_one(person("eve"), lease(0)).await;
        assert_eq!(alone.unwrap_err(), unreadable, "{tampering}");
        let page = ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 9, at(0));
        let shown = store.list(page).await.unwrap();
        let states: Vec<GrantState> = shown.iter().map(|(_, grant)| grant.state(at(0))).collect();
        assert_eq!(
            states,
            [GrantState::Due, GrantState::ConsentNeeded, GrantState::Due, GrantState::Due],
            "{tampering}"
        );
        assert_eq!(shown[1].1.person.id, person("eve"));
        assert!(shown[1].1.tokens.access_token.expose().is_empty());
        let among = ListRequest {
            only_persons: Some(vec![person("eve")]),
            ..ListRequest::first_page(ListSelection::All(SortBy::Email), 9, at(0))
        };
        assert_eq!(store.list(among).await.unwrap().len(), 1, "{tampering}");

        let claims = store.claim_due(ask(0)).await.unwrap();
        let names: Vec<_> = claims.claims.iter().map(|claim| claim.grant.person.id.as_str()).collect();
        assert_eq!(names, ["ada", "joe", "kim"], "{tampering}");
        assert_eq!(claims.unreadable, [person("eve")], "{tampering}");
        for claim in claims.claims {
            let mut outcome = claim.grant;
            outcome.next.due_at = at(10 * DAY_SECONDS);
            outcome.next.wake_at = at(10 * DAY_SECONDS);
            assert_eq!(store.commit(claim.fence, outcome).await, Ok(Committed::Kept));
        }
        assert_eq!(store.next_wake(BEGINNING).await, Ok(Some(at(DAY_SECONDS))), "postponed for a day");
        assert!(store.claim_due(ask(DAY_SECONDS - 1)).await.unwrap().unreadable.is_empty());
        assert_eq!(
            store.claim_due(ask(DAY_SECONDS)).await.unwrap().unreadable,
            [person("eve")],
            "and reported again"
        );

        store.update_batch(BatchPosition::default(), 10, Arc::new(|_| true)).await.unwrap();
        let census = store.totals().await.unwrap();
        assert_eq!((census.people, census.consent_needed), (4, 1), "no record is deleted");
        assert_eq!(store.counts(at(0)).await.unwrap().consent_needed, BoundedCount::exact(1));
        let needy = ListRequest::first_page(ListSelection::InState(GrantState::ConsentNeeded), 9, at(0));
        assert_eq!(store.list(needy).await.unwrap()[0].1.person.id, person("eve"), "{tampering}");
        assert_eq!(store.save_consent(grant("eve")).await, Ok(Saved::Replaced));
        assert_eq!(found(&store, "eve").await, grant("eve"), "a new consent replaces it");
        assert_eq!(claim_names(&store, ask(0)).await, ["eve"]);
    }
}

/// Only a new consent replaces such a record, so the person and the operators are told, once.
#[tokio::test]
async fn a_consent_is_needed_for_a_record_that_does_not_open_and_that_is_told_once() {
    for tampering in TAMPERINGS {
        let store_dir = tampered(tampering).await;
        let store = store_dir.open();
        let sinks = vec!["webhook".to_owned(), PEOPLE_SINK.to_owned()];
        store.use_outbox(OutboxRules { sinks, now: Arc::new(|| at(0)) });
        for day in 0..3 {
            assert_eq!(store.claim_due(ask(day * DAY_SECONDS)).await.unwrap().unreadable, [person("eve")]);
        }
        let page = NoticePage { before: None, limit: 100, failed_only: false };
        let told = store.notices(page).await.unwrap();
        let [record] = told.as_slice() else { panic!("{tampering}: {told:?}") };
        assert_eq!(record.notice.kind, NoticeType::ConsentNeeded);
        let told_of = record.notice.person.as_ref().unwrap();
        assert_eq!(told_of.id, person("eve"), "{tampering}");
        let forged = |text: &str| text.contains("Ada") || text.contains("ada@") || text == "x";
        assert!(!told_of.display_name.as_deref().is_some_and(forged), "{tampering}: {told_of:?}");
        assert!(!told_of.email.as_ref().is_some_and(|email| forged(email.as_str())), "{tampering}");
        assert_eq!(record.notice.data["access_token_expires_at"], at(0).to_string());
        assert_eq!(record.deliveries.len(), 2);
        let page = HistoryPage { person: Some(person("eve")), before: None, limit: 100 };
        let history = store.history(page).await.unwrap();
        let ends = history.iter().filter(|(_, entry)| entry.what == "consent.needed");
        assert_eq!(ends.count(), 1, "{tampering}: {history:?}");
    }
}

#[tokio::test]
async fn unreadable_records_do_not_shorten_a_page() {
    for tampering in TAMPERINGS {
        let store_dir = tampered(tampering).await;
        let store = store_dir.open();
        let part = async |after: Option<ListPosition>, limit: u32| {
            let page = ListRequest {
                after,
                ..ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), limit, at(0))
            };
            let part = store.list(page).await.unwrap();
            let names: Vec<String> = part.iter().map(|(_, grant)| grant.person.id.to_string()).collect();
            (names, part.last().map(|(mark, _)| mark.clone()))
        };
        let (names, last) = part(None, 2).await;
        assert_eq!(names, ["ada", "eve"], "{tampering}");
        assert_eq!(part(last, 2).await.0, ["joe", "kim"], "{tampering}");
        assert_eq!(part(None, 0).await.0, [""; 0]);
    }
}

#[tokio::test]
async fn a_record_moved_to_another_person_does_not_open() {
    let renamed = "UPDATE grants SET person_id = 'mallory' WHERE person_id = ?1";
    let moved = "UPDATE grants SET integration = 'another' WHERE person_id = ?1";
    let store = tampered(renamed).await;
    let store = store.open();
    assert_eq!(store.claim_due(ask(0)).await.unwrap().unreadable, [person("mallory")]);
    let store_dir = tampered(moved).await;
    let store = store_dir.open_for("another", 0).unwrap();
    assert_eq!(store.claim_due(ask(0)).await.unwrap().unreadable, [person("eve")]);
}

#[tokio::test]
async fn a_record_with_an_unreadable_id_is_reported_by_its_serial() {
    let store_dir = tampered("UPDATE grants SET person_id = 'two words' WHERE person_id = ?1").await;
    let store = store_dir.open();
    let claims = store.claim_due(ask(0)).await.unwrap();
    assert_eq!(claims.claims.len(), 3);
    assert_eq!(claims.unreadable, [person("row-2")]);
    assert_eq!(claim_names(&store, ask(0)).await, [""; 0]);
}

fn only(name: &str) -> AddressMatch {
    AddressMatch { id: person(name), is_alive: true }
}

fn addressed(name: &str) -> Grant {
    let mut grant = grant(name);
    grant.person.email = Some(Email::parse(&format!("{name}@example.com")).unwrap());
    grant
}

#[tokio::test]
async fn a_forged_address_resolves_to_no_person() {
    let store_dir = StoreDir::new();
    let email = |name: &str| addressed(name).person.email.unwrap();
    keep(&store_dir.open(), ["ada", "eve", "joe"].map(addressed)).await;
    let swap = "UPDATE grants SET email = CASE person_id WHEN 'ada' THEN 'eve@example.com' \
         ELSE 'ada@example.com' END WHERE person_id IN ('ada', 'eve')";
    assert_eq!(store_dir.other_connection().execute(swap, []).unwrap(), 2);
    let store = store_dir.open();
    assert_eq!(store.resolve(email("ada")).await, Err(StoreError::Unreadable(person("eve"))));
    assert_eq!(store.resolve(email("eve")).await, Err(StoreError::Unreadable(person("ada"))));
    assert_eq!(store.resolve(email("joe")).await, Ok(vec![only("joe")]));
    let found = |text| ListSelection::Matching(Search::parse(text).unwrap().unwrap());
    for (pick, expected) in [
        (ListSelection::All(SortBy::Email), vec![person("joe")]),
        (found("ada"), vec![]),
        (found("joe"), vec![person("joe")]),
    ] {
        let listed = store.list(ListRequest::first_page(pick, 9, at(0))).await.unwrap();
        let listed: Vec<_> = listed.into_iter().map(|(_, grant)| grant.person.id).collect();
        assert_eq!(listed, expected);
    }
    keep(&store, [addressed("ada")]).await;
    assert_eq!(store.resolve(email("ada")).await, Ok(vec![only("ada")]), "a new consent replaces it");
}

#[tokio::test]
async fn a_forged_owner_of_an_address_does_not_hide_the_real_one() {
    let store_dir = StoreDir::new();
    keep(&store_dir.open(), ["ada", "eve"].map(addressed)).await;
    let take =
        "UPDATE grants SET email = 'ada@example.com', obtained_at = obtained_at + 1 WHERE person_id = 'eve'";
    assert_eq!(store_dir.other_connection().execute(take, []).unwrap(), 1);
    let email = addressed("ada").person.email.unwrap();
    assert_eq!(
        store_dir.open().resolve(email).await,
        Ok(vec![only("ada")]),
        "and does not make it ambiguous"
    );
}

#[tokio::test]
async fn an_unreadable_record_is_logged_once_and_not_at_every_read() {
    process_logs();
    // A unique name, because other tests log at the same time.
    let (store_dir, name) = (StoreDir::with_grants(&["told-once"]).await, person("told-once"));
    let (store, connection) = (store_dir.open(), store_dir.other_connection());
    let unreadable = StoreError::Unreadable(name.clone());
    let inject_fault = || connection.execute("UPDATE grants SET display_name = 'Ada'", []).unwrap();
    let told = || process_logs().lines().filter(|line| **line == unreadable.to_string()).count();
    inject_fault();
    for _ in 0..3 {
        assert_eq!(store.find(name.clone()).await, Err(unreadable.clone()));
        let listed = store
            .list(ListRequest::first_page(ListSelection::All(SortBy::CreatedAt), 9, at(0)))
            .await
            .unwrap();
        let shown = listed.iter().map(|(_, grant)| (grant.state(at(0)), &grant.person)).collect::<Vec<_>>();
        assert_eq!(
            shown,
            [(GrantState::ConsentNeeded, &Person::known_by(name.clone()))],
            "without the forged address"
        );
    }
    assert_eq!(store.claim_due(ask(0)).await.unwrap().unreadable.first(), Some(&name));
    assert_eq!(told(), 1);
    assert_eq!(unreadable.log_level(), Level::Debug, "already logged");
    keep(&store, [grant("told-once")]).await;
    inject_fault();
    assert_eq!(store.find(name).await, Err(unreadable.clone()));
    assert_eq!(told(), 2, "this token had been replaced");
}

#[tokio::test]
async fn an_older_token_restored_to_its_own_row_still_opens() {
    // A known limit of the protection: the seal binds a token to its row, not to a moment.
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let read = |connection: &Connection| {
        connection.query_row("SELECT access_token FROM grants", [], |row| row.get::<_, Vec<u8>>(0)).unwrap()
    };
    let older = read(&store_dir.other_connection());
    keep(&store_dir.open(), [crate::store::fixtures::renewed(&grant("ada"), 1)]).await;
    assert_ne!(read(&store_dir.other_connection()), older);
    store_dir.other_connection().execute("UPDATE grants SET access_token = ?1", [older]).unwrap();
    assert_eq!(found(&store_dir.open(), "ada").await.tokens.access_token, grant("ada").tokens.access_token);
}

#[tokio::test]
async fn a_batch_update_that_only_reschedules_a_claimed_grant_writes_nothing() {
    let store_dir = StoreDir::with_grants(&["ada", "eve"]).await;
    let (store, connection) = (store_dir.open(), store_dir.other_connection());
    assert!(store.claim_one(person("ada"), lease(0)).await.unwrap().is_some());
    // A token that is sealed again looks different.
    let sealed = || {
        let mut query = connection.prepare("SELECT person_id, access_token FROM grants").unwrap();
        let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)));
        rows.unwrap().map(Result::unwrap).collect::<BTreeMap<_, _>>()
    };
    let before = sealed();
    let plan = |grant: &mut Grant| {
        grant.next = Schedule::at(at(77));
        true
    };
    assert!(store.update_batch(BatchPosition::default(), 10, Arc::new(plan)).await.unwrap().is_some());
    let after = sealed();
    assert_eq!(before["ada"], after["ada"]);
    assert_ne!(before["eve"], after["eve"]);
    assert_eq!(found(&store, "eve").await.next, Schedule::at(at(77)));
}
