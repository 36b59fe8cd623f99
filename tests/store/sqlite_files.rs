//! The store as files: what a restart finds, their permissions, and recovery of an interrupted start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::task::Context;
use std::task::Waker;

use rusqlite::Connection;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::list::ListRequest;
use webex_tokend::domain::list::ListSelection;
use webex_tokend::domain::overview::GrantTotals;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::search::Search;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::Claim;
use webex_tokend::store::Committed;
use webex_tokend::store::Fence;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::KeyStore;
use webex_tokend::store::MetaKey;
use webex_tokend::store::StoreMetadata;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::child_process::assert_child_succeeds;
use crate::store::child_process::child;
use crate::store::fixtures::BEGINNING;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::StoreDir;
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
use crate::store::fixtures::unusual;

#[tokio::test]
async fn every_field_is_there_after_a_restart() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let [full, edges, plain] = unusual("ada");
    let named = |grant: &Grant, name: &str| {
        let mut grant = grant.clone();
        grant.person.id = person(name);
        grant
    };
    let grants = [full, named(&edges, "eve"), named(&plain, "joe")];
    keep(&store, grants.clone()).await;
    store.set_meta(MetaKey::Policy, "a policy".to_owned()).await.unwrap();
    let latest = store.last_write_at().await;
    drop(store);

    let store = store_dir.open_at(1000);
    for grant in grants {
        assert_eq!(found(&store, grant.person.id.as_str()).await, grant);
    }
    assert_eq!(store.get_meta(MetaKey::Policy).await, Ok(Some("a policy".to_owned())));
    assert_eq!(store.last_write_at().await, latest);
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 3, consent_needed: 1, other_apps: 0 }));
}

#[tokio::test]
async fn a_claim_of_a_process_that_ended_is_due_at_the_next_start() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let mut healthy = grant("eve");
    healthy.next = Schedule::at(at(5000));
    keep(&store, [grant("ada"), healthy.clone()]).await;
    let before = claim_one(&store, 0).await;
    drop(store);

    let store = store_dir.open_at(7);
    assert_eq!(found(&store, "ada").await.next, Schedule::at(at(7)), "before its lease ends");
    assert_eq!(found(&store, "eve").await, healthy);
    let outcome = renewed(&before.grant, 8);
    assert_eq!(store.commit(before.fence, outcome.clone()).await, Ok(Committed::Superseded));
    let after = claim_one(&store, 7).await;
    assert_eq!(after.fence, Fence { attempt: 2, ..before.fence });
    assert_eq!(store.commit(before.fence, outcome).await, Ok(Committed::Superseded));
    assert_eq!(store.commit(after.fence, renewed(&after.grant, 9)).await, Ok(Committed::Kept));
}

#[tokio::test]
async fn acknowledged_writes_survive_a_process_crash() {
    let store_dir = StoreDir::new();
    assert_child_succeeds(child("dies", store_dir.path()));
    assert!(fs::metadata(store_dir.log()).unwrap().len() > 0, "the process did not clean up");
    let store = store_dir.open_at(7);
    assert_eq!(found(&store, "ada").await, renewed(&grant("ada"), 1));
    assert_eq!(found(&store, "eve").await.tokens, grant("eve").tokens);
    assert_eq!(claim_names(&store, ask(7)).await, ["eve"], "its claim is due");
}

#[tokio::test]
async fn integrations_in_one_file_are_isolated() {
    let store_dir = StoreDir::with_grants(&["ada", "eve"]).await;
    let store = store_dir.open_for("another", 0).unwrap();
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 0, consent_needed: 0, other_apps: 2 }));
    assert_eq!(store.find(person("ada")).await, Ok(None));
    assert_eq!(store.next_wake(BEGINNING).await, Ok(None));
    assert_eq!(claim_names(&store, ask(0)).await, [""; 0]);
    store.set_meta(MetaKey::Policy, "theirs".to_owned()).await.unwrap();
    let theirs = renewed(&grant("ada"), 9);
    keep(&store, [theirs.clone()]).await;
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 1, consent_needed: 0, other_apps: 2 }));
    drop(store);

    let store = store_dir.open();
    assert_eq!(store.totals().await, Ok(GrantTotals { people: 2, consent_needed: 0, other_apps: 1 }));
    assert_eq!(found(&store, "ada").await, grant("ada"));
    assert_eq!(store.get_meta(MetaKey::Policy).await, Ok(None));
    assert_eq!(claim_names(&store, ask(100_000)).await, ["ada", "eve"]);
    drop(store);
    assert_eq!(found(&store_dir.open_for("another", 0).unwrap(), "ada").await, theirs);
}

#[tokio::test]
async fn each_integration_has_its_own_latest_write_time() {
    let store_dir = StoreDir::new();
    let mut ahead = grant("ada");
    ahead.last.at = at(1_000_000);
    keep(&store_dir.open_for("another", 0).unwrap(), [ahead]).await;
    let ours = store_dir.open();
    keep(&ours, [grant("eve")]).await;
    let latest = ours.last_write_at().await.unwrap();
    assert!(latest.is_some_and(|latest| latest < at(1_000_000)), "{latest:?}");
    ours.clamp_times(at(0), at(60)).await.unwrap();
    drop(ours);
    assert_eq!(store_dir.open_for("another", 0).unwrap().last_write_at().await, Ok(Some(at(1_000_000))));
}

/// As stored by a version that did not record when Webex was asked about the person.
fn asked_about_soon(grant: Grant) -> Grant {
    Grant { person_check_at: UnixTime(0), ..grant }
}

#[tokio::test]
async fn a_store_of_version_5_folds_ascii_case_only() {
    let store_dir = StoreDir::new();
    let mut kelvin = grant("kelvin");
    kelvin.person.display_name = Some("\u{212a}ate".to_owned());
    keep(&store_dir.open(), [kelvin.clone()]).await;
    let fifth = "ALTER TABLE grants DROP COLUMN person_check_at; UPDATE texts SET text = 'kate'; \
         ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 5;";
    store_dir.downgrade(fifth);
    let store = store_dir.open();
    let found = async |text: &str| {
        let search = Search::parse(text).unwrap().unwrap();
        store.list(ListRequest::first_page(ListSelection::Matching(search), 9, at(0))).await.unwrap()
    };
    assert_eq!(found("kate").await, []);
    assert_eq!(found("\u{212a}ate").await[0].1, asked_about_soon(kelvin));
}

#[tokio::test]
async fn a_store_of_an_earlier_version_is_brought_up_to_date() {
    let store_dir = StoreDir::new();
    let [full, _, _] = unusual("zoe");
    let full = Grant { refused_since: None, ..full };
    keep(&store_dir.open(), [grant("ada"), full.clone()]).await;
    let first = "DROP TRIGGER grants_added; DROP TRIGGER grants_removed; DROP TRIGGER grants_kind_changed; \
         DROP TRIGGER grants_end_moved; DROP TABLE tallies; DROP TABLE history; DROP TABLE texts; \
         DROP INDEX grants_kind; DROP INDEX grants_expires; DROP INDEX grants_address; \
         ALTER TABLE grants DROP COLUMN kind; ALTER TABLE grants DROP COLUMN address; \
         ALTER TABLE grants DROP COLUMN ends_on; DROP TABLE keys; \
         ALTER TABLE grants DROP COLUMN refused_since; ALTER TABLE grants DROP COLUMN person_check_at; \
         PRAGMA user_version = 1;";
    store_dir.downgrade(first);
    let [ada, full] = [grant("ada"), full].map(asked_about_soon);
    for _ in 0..2 {
        let store = store_dir.open();
        assert_eq!(found(&store, "ada").await, ada);
        assert_eq!(store.keys().await, Ok(Vec::new()));
        crate::store::lists::compare(&store, &[(1, &ada), (2, &full)], at(0)).await;
    }
}

#[tokio::test]
async fn a_store_of_version_3_gets_new_triggers_and_keeps_counting() {
    let store_dir = StoreDir::new();
    let [full, _, _] = unusual("zoe");
    let full = Grant { refused_since: None, ..full };
    keep(&store_dir.open(), [grant("ada"), full.clone()]).await;
    let triggers = || -> Vec<String> {
        let connection = store_dir.other_connection();
        let mut query =
            connection.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let now = triggers();
    let third = include_str!("../../src/store/sqlite/migrations/0003_overview.sql");
    let (_, third) = third.split_once("CREATE TRIGGER").unwrap();
    let (third, _) = third.split_once("-- What refreshes").unwrap();
    let back = format!(
        "DROP TRIGGER grants_added; DROP TRIGGER grants_removed; DROP TRIGGER grants_kind_changed; \
         DROP TRIGGER grants_end_moved; CREATE TRIGGER{third} \
         ALTER TABLE grants DROP COLUMN refused_since; ALTER TABLE grants DROP COLUMN person_check_at; \
         ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 3;"
    );
    store_dir.downgrade(&back);
    let [ada, full] = [grant("ada"), full].map(asked_about_soon);
    assert_ne!(triggers(), now);
    let store = store_dir.open();
    assert_eq!(triggers(), now);
    keep(&store, [grant("eve")]).await;
    let all = [(1, &ada), (2, &full), (3, &grant("eve"))];
    crate::store::lists::compare(&store, &all, at(0)).await;
}

#[tokio::test]
async fn every_file_is_accessible_to_its_owner_only() {
    let store_dir = StoreDir::new();
    let state = store_dir.path().join("some/state");
    let store = crate::store::fixtures::open_in(&state, INTEGRATION, 0).unwrap();
    keep(&store, [grant("ada")]).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for dir in [store_dir.path().join("some"), state.clone()] {
        assert_eq!(mode(&dir), 0o700, "{}", dir.display());
    }
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    let noted = names.remove(1);
    assert!(noted.starts_with("key.last-seen-") && noted.len() == 30, "{noted}");
    assert_eq!(names, ["key", "tokend.db", "tokend.db-shm", "tokend.db-wal", "tokend.db.lock"]);
}

#[tokio::test]
async fn permissions_of_other_users_are_removed_from_files() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let open_to_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    // Like a copy of a running daemon's store: with its WAL.
    let store = store_dir.open();
    keep(&store, [grant("eve")]).await;
    let log = fs::read(store_dir.log()).unwrap();
    drop(store);
    fs::write(store_dir.log(), log).unwrap();
    [store_dir.db(), store_dir.log()].iter().for_each(|path| open_to_all(path));
    open_to_all(store_dir.path());
    fs::set_permissions(store_dir.path(), fs::Permissions::from_mode(0o755)).unwrap();

    let store = store_dir.open();
    keep(&store, [grant("ida")]).await;
    for entry in fs::read_dir(store_dir.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(store_dir.path()), 0o755, "a directory may be used by others");
    assert_eq!(store.totals().await.unwrap().people, 3);
}

#[tokio::test]
async fn the_mode_of_a_refused_file_is_left_unchanged() {
    let store_dir = StoreDir::new();
    Connection::open(store_dir.db()).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    fs::set_permissions(store_dir.db(), fs::Permissions::from_mode(0o644)).unwrap();
    store_dir.open_error();
    assert_eq!(fs::metadata(store_dir.db()).unwrap().permissions().mode() & 0o777, 0o644);
}

#[tokio::test]
async fn a_clean_stop_leaves_one_database_file() {
    for _ in 0..10 {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        let names: Vec<String> = store_dir.contents().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["key", "tokend.db"]);
    }
}

#[tokio::test]
async fn queued_work_is_done_before_the_store_closes() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    for n in 0..100 {
        let mut asked = store.save_consent(grant(&format!("p{n}")));
        // The caller drops its future as soon as the call is in the queue.
        let _ = pin!(asked.as_mut()).poll(&mut Context::from_waker(Waker::noop()));
    }
    drop(store);
    assert_eq!(store_dir.open().totals().await.unwrap().people, 100);
}

#[tokio::test]
async fn a_relative_path_stays_the_same_file_after_a_directory_change() {
    let store_dir = StoreDir::new();
    assert_child_succeeds(child("goes elsewhere", store_dir.path()));
    let (store, _) =
        SqliteStore::open(&store_dir.path().join(":memory:"), &store_dir.key(), INTEGRATION, at(0)).unwrap();
    assert_eq!(found(&store, "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_start_interrupted_before_the_tables_exist_is_completed_by_the_next() {
    type Leave = fn(&StoreDir);
    let stages: [(&str, Leave); 5] = [
        ("only the key", |store_dir| store_dir.write_key(&[7; 32])),
        ("a key that is not yet in place", |store_dir| {
            fs::write(store_dir.path().join("key.new"), [7; 9]).unwrap()
        }),
        ("an empty file", |store_dir| fs::write(store_dir.db(), "").unwrap()),
        ("a key and an empty file", |store_dir| {
            store_dir.write_key(&[7; 32]);
            fs::write(store_dir.db(), "").unwrap();
        }),
        ("a key and a file without tables", |store_dir| {
            store_dir.write_key(&[7; 32]);
            store_dir.other_connection().pragma_update(None, "journal_mode", "WAL").unwrap();
            assert!(fs::metadata(store_dir.db()).unwrap().len() > 0);
        }),
    ];
    for (stage, leave) in stages {
        let store_dir = StoreDir::new();
        leave(&store_dir);
        let key = fs::read(store_dir.key()).ok();
        let store = store_dir.open_for(INTEGRATION, 0).unwrap_or_else(|e| panic!("{stage}: {e}"));
        keep(&store, [grant("ada")]).await;
        drop(store);
        assert!(key.is_none_or(|key| key == fs::read(store_dir.key()).unwrap()), "{stage}: the key is kept");
        assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"), "{stage}");
        let mode = fs::metadata(store_dir.key()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{stage}");
    }
}

#[tokio::test]
async fn the_wal_shrinks_again_after_a_long_reader_has_left() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let reader = store_dir.other_connection();
    reader.execute_batch("BEGIN; SELECT count(*) FROM grants;").unwrap();
    let size = || fs::metadata(store_dir.log()).unwrap().len();
    let mut bulky = grant("ada");
    bulky.last.detail = "long ".repeat(8_000_000);
    keep(&store, [bulky]).await;
    assert!(size() > 40_000_000);
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..3 {
        keep(&store, [grant("ada")]).await;
    }
    assert!(size() <= 33 * 1024 * 1024, "{}", size());
    assert_eq!(claim(&store, ask(0)).await.len(), 1);
}

/// The rows of the search index.
fn texts(store_dir: &StoreDir) -> Vec<String> {
    let db = Connection::open(store_dir.db()).unwrap();
    let mut query = db.prepare("SELECT text FROM texts ORDER BY text").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn the_search_index_follows_consents_and_deletions() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let mut ada = grant("ada");
    ada.person.display_name = Some("Ada Byron".to_owned());
    keep(&store, [ada.clone()]).await;
    ada.person.display_name = Some("Ada Lovelace".to_owned());
    keep(&store, [ada]).await;
    let Claim { fence, mut grant } = claim_one(&store, 0).await;
    grant.person.display_name = Some("Ada of Webex".to_owned());
    assert_eq!(store.commit(fence, grant).await, Ok(Committed::Kept));
    drop(store);
    let kept = texts(&store_dir);
    assert!(kept.iter().any(|text| text.contains("lovelace")), "{kept:?}");
    assert!(!kept.iter().any(|text| text.contains("byron") || text.contains("webex")), "{kept:?}");
    let store = store_dir.open();
    assert_eq!(store.forget(person("ada")).await, Ok(true));
    drop(store);
    assert_eq!(texts(&store_dir), [""; 0], "the name of a forgotten person is still there");
}
