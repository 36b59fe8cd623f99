//! The cost of each statement must not depend on the number of stored grants. Every operation runs on the current schema, and
//! SQLite counts the steps of every statement, including triggers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::StatementStatus;
use rusqlite::trace::TraceEvent;
use rusqlite::trace::TraceEventCodes;

use crate::domain::api_key::ApiKeyRecord;
use crate::domain::api_key::Rights;
use crate::domain::grant::Grant;
use crate::domain::grant::GrantState;
use crate::domain::grant::Tokens;
use crate::domain::list::ListRequest;
use crate::domain::list::ListSelection;
use crate::domain::list::SortBy;
use crate::domain::notice::Notice;
use crate::domain::notice::NoticeType;
use crate::domain::notice::OutboxEntries;
use crate::domain::person::Email;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::schedule::Schedule;
use crate::domain::search::Search;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::store::BacklogRequest;
use crate::store::BatchPosition;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::GrantUpdate;
use crate::store::Lease;
use crate::store::MetaKey;
use crate::store::outbox::DeliveryClaimRequest;
use crate::store::outbox::Now;
use crate::store::outbox::OutboxContext;
use crate::store::outbox::OutboxRules;
use crate::store::sqlite::api_keys;
use crate::store::sqlite::backlog;
use crate::store::sqlite::claims;
use crate::store::sqlite::context::QueryContext;
use crate::store::sqlite::list;
use crate::store::sqlite::meta;
use crate::store::sqlite::open;
use crate::store::sqlite::outbox::deliveries;
use crate::store::sqlite::outbox::record::record;
use crate::store::sqlite::overview;
use crate::store::sqlite::persons;
use crate::store::sqlite::queries;

const NOW: UnixTime = UnixTime(1_795_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy = Policy { sleep: DAY, max_age: DAY, noop_window: DAY, floor: DAY };

/// Stored grants. A statement that reads each of them takes at least as many steps.
const STORED: u32 = 2000;

/// Due grants among them.
const DUE: u32 = 10;

/// Limit of steps for one statement. Reading all columns of a few rows takes some hundred steps.
const STEPS: i32 = 1500;

type StatementCost = Arc<Mutex<BTreeMap<String, i32>>>;

fn id(number: u32) -> PersonId {
    PersonId::parse(&format!("p{number}")).unwrap()
}

fn numbered(number: u32) -> Grant {
    let secret = || Secret::new("secret".to_owned());
    let tokens = Tokens {
        access_token: secret(),
        refresh_token: secret(),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_at: NOW + DAY,
        refresh_token_expires_at: Some(NOW + 90 * DAY),
    };
    let mut person = Person::known_by(id(number));
    person.email = Some(Email::parse(&format!("p{number}@example.com")).unwrap());
    let grant = Grant::consented(person, tokens, NOW, &POLICY, NOW);
    let due_at = if number < DUE { NOW } else { NOW + DAY };
    Grant { next: Schedule::at(due_at), ..grant }
}

/// The writer of an open store with all grants in it, and the steps that its statements take from now on.
fn stored(dir: &std::path::Path) -> (Connection, QueryContext, StatementCost) {
    let opened = open::open(&dir.join("db"), &dir.join("key"), NOW).unwrap();
    let (claim_queues, unreadable) = Default::default();
    let sealer = opened.sealer.clone();
    let context = QueryContext {
        integration: "id".to_owned(),
        sealer,
        claim_queues,
        unreadable,
        outbox: OutboxContext::default(),
    };
    let mut db = opened.writer;
    db.execute_batch("BEGIN").unwrap();
    for number in 0..STORED {
        queries::save_consent(&db, &context, &numbered(number)).unwrap();
    }
    db.execute_batch("COMMIT").unwrap();
    db.flush_prepared_statement_cache();
    let steps = StatementCost::default();
    let counted = steps.clone();
    db.trace_v2(
        TraceEventCodes::SQLITE_TRACE_PROFILE,
        Some(move |event: TraceEvent<'_>| {
            if let TraceEvent::Profile(statement, _) = event {
                let steps = statement.get_status(StatementStatus::VmStep);
                counted.lock().insert(statement.sql().into_owned(), steps);
            }
        }),
    )
    .unwrap();
    (db, context, steps)
}

fn lease() -> Lease {
    Lease { now: NOW, owner: "this process".to_owned(), end: NOW + DAY }
}

fn ask(order: ClaimOrder) -> ClaimRequest {
    ClaimRequest { lease: lease(), due_by: NOW, limit: 2, except: Vec::new(), order }
}

/// Runs every operation once.
fn work(db: &Connection, context: &QueryContext) {
    let orders =
        [ClaimOrder::LeastLife, ClaimOrder::NoFailures, ClaimOrder::LongestFailing, ClaimOrder::Healthiest];
    for order in orders {
        let claims = claims::claim_due(db, context, &ask(order)).unwrap().claims;
        assert_eq!(claims.len(), 2);
        queries::commit(db, context, claims[0].fence, &claims[0].grant).unwrap();
        let back = Schedule::at(NOW + DAY);
        queries::release(db, context, &claims[1].grant.person.id, claims[1].fence, back).unwrap();
    }
    assert!(claims::claim_one(db, context, &id(1500), &lease()).unwrap().is_some());
    assert!(queries::find(db, context, &id(1000)).unwrap().is_some());
    let email = numbered(1000).person.email.unwrap();
    let namesakes = persons::resolve(db, context, &email).unwrap();
    assert_eq!(namesakes.iter().map(|one| &one.id).collect::<Vec<_>>(), [&id(1000)]);
    queries::save_consent(db, context, &numbered(1000)).unwrap();
    queries::save_consent(db, context, &numbered(STORED)).unwrap();
    assert!(persons::forget(db, context, &id(1001)).unwrap());
    assert!(queries::next_wake(db, context, NOW).unwrap().is_some());
    queries::due_summary(db, context, NOW).unwrap();
    let revision: GrantUpdate = Arc::new(|grant| {
        grant.failures += 1;
        true
    });
    queries::update_batch(db, context, BatchPosition(1200), 3, &revision).unwrap();
    queries::clamp_times(db, context, NOW, NOW).unwrap();
    read_parts(db, context);
    meta::last_write_at(db, context).unwrap();
    meta::set_meta(db, context, MetaKey::Policy, "text").unwrap();
    meta::get_meta(db, context, MetaKey::Policy).unwrap();
    meta::check_writable(db).unwrap();
    meta::check_readable(db).unwrap();
    meta::begin_generation(db, 0).unwrap();
    let (_, key) = ApiKeyRecord::make(&[1; 38], "ci".to_owned(), Rights::default(), None, NOW);
    assert!(api_keys::add(db, &context.sealer, &key).unwrap());
    assert_eq!(api_keys::all(db, &context.sealer).unwrap().len(), 1);
    api_keys::touch(db, &key.id, NOW).unwrap();
    assert!(api_keys::revoke(db, "ci").unwrap());
}

/// Reads lists in both directions, their second pages, and counts.
fn read_parts(db: &Connection, context: &QueryContext) {
    let orders = [SortBy::CreatedAt, SortBy::Email, SortBy::NextRefresh].map(ListSelection::All);
    let states = [GrantState::Fresh, GrantState::Due, GrantState::Retrying, GrantState::ConsentNeeded]
        .map(ListSelection::InState);
    let found = ListSelection::Matching(Search::parse("p1").unwrap().unwrap());
    let others = [ListSelection::Working, ListSelection::ConsentNeeded, ListSelection::ConsentEnding, found];
    for pick in orders.into_iter().chain(states).chain(others) {
        for backwards in [false, true] {
            let page = ListRequest { descending: backwards, ..ListRequest::first_page(pick.clone(), 3, NOW) };
            let part = list::list(db, context, &page).unwrap();
            let after = part.last().map(|(bookmark, _)| bookmark.clone());
            list::list(db, context, &ListRequest { after, ..page }).unwrap();
        }
    }
    let among = ListRequest {
        only_persons: Some(vec![id(3), id(4)]),
        ..ListRequest::first_page(ListSelection::All(SortBy::Email), 3, NOW)
    };
    assert_eq!(list::list(db, context, &among).unwrap().len(), 2);
    overview::totals(db, context).unwrap();
    overview::counts(db, context, NOW).unwrap();
    for ahead_of in [None, Some(NOW), Some(NOW + DAY)] {
        backlog::counts(db, context, &BacklogRequest { now: NOW, limit: 100, ahead_of }).unwrap();
    }
}

#[test]
fn no_statement_costs_more_when_more_grants_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (db, context, steps) = stored(dir.path());
    work(&db, &context);
    let mut scan = db.prepare("SELECT count(*) FROM grants WHERE failures = 77").unwrap();
    let _: i64 = scan.query_row([], |row| row.get(0)).unwrap();
    drop(scan);
    let mut dear = steps.lock().clone();
    assert!(dear.len() > 50, "{} statements were counted", dear.len());
    dear.retain(|_, steps| *steps > STEPS);
    assert_eq!(dear.len(), 1, "only the scan above: {dear:#?}");
    assert!(dear.keys().all(|sql| sql.contains("failures = 77")));
}

#[test]
fn opening_a_store_costs_what_was_left_claimed_and_not_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (db, _, _) = stored(dir.path());
    let mut freed = db.prepare(open::END_OPEN_CLAIMS).unwrap();
    freed.execute([NOW.0]).unwrap();
    let steps = freed.get_status(StatementStatus::VmStep);
    assert!(steps < STEPS, "{steps}");
}

/// Waiting deliveries to one sink: one long chain before many short ones.
fn with_deliveries(db: &Connection, context: &QueryContext) {
    let now: Now = Arc::new(|| NOW);
    context.outbox.set_rules(OutboxRules { sinks: vec!["webhook".to_owned()], now });
    db.execute_batch("BEGIN").unwrap();
    let long = (0..100).map(|number| Notice::new(NoticeType::KeyCreated, None, &number.to_string(), NOW));
    for notice in long {
        record(db, context, &OutboxEntries::of(notice)).unwrap();
    }
    for number in 0..STORED {
        let notice = Notice::new(NoticeType::TokenAtRisk, Some(&Person::known_by(id(number))), "1", NOW);
        record(db, context, &OutboxEntries::of(notice)).unwrap();
    }
    db.execute("UPDATE deliveries SET next_at = ?1", [NOW.0]).unwrap();
    db.execute_batch("UPDATE notices SET held_until = NULL; COMMIT").unwrap();
}

#[test]
fn claiming_deliveries_costs_what_is_claimed_and_not_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (db, context, steps) = stored(dir.path());
    with_deliveries(&db, &context);
    db.flush_prepared_statement_cache();
    steps.lock().clear();
    let lease_end = NOW + DAY;
    let ask =
        DeliveryClaimRequest { sink: "webhook".to_owned(), now: NOW, due_by: NOW, queues: 3, lease_end };
    assert_eq!(deliveries::claim(&db, &ask).unwrap().len(), 22, "twenty of the long chain and two others");
    let mut dear = steps.lock().clone();
    dear.retain(|_, steps| *steps > STEPS);
    assert!(dear.is_empty(), "{dear:#?}");
}
