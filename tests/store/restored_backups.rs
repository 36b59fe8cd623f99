//! A store that is older than the last one seen here, and a schema version that another program changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use log::Level;
use webex_tokend::domain::api_key::ApiKeyRecord;
use webex_tokend::domain::api_key::Rights;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::KeyStore;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreFuture;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::person;
use crate::support::capture_thread_logs;
use crate::support::captured_logs;

fn key(name: &str, number: u8) -> ApiKeyRecord {
    ApiKeyRecord::make(
        &[number; 38],
        name.to_owned(),
        Rights { read: true, ..Rights::default() },
        None,
        at(0),
    )
    .1
}

/// What a start reports about the age of the store.
fn told_at_start(store_dir: &StoreDir) -> Vec<String> {
    capture_thread_logs();
    drop(store_dir.open());
    let warned = captured_logs().into_iter().filter(|(level, _)| *level <= Level::Warn);
    warned
        .map(|(_, text)| text)
        .filter(|text| text.contains("older than the one that was here last"))
        .collect()
}

fn backup(store_dir: &StoreDir) -> Vec<u8> {
    assert!(!store_dir.log().exists(), "the store is closed");
    fs::read(store_dir.db()).unwrap()
}

/// A copy of an open store.
fn hot_backup(store_dir: &StoreDir) -> Vec<u8> {
    let copy = store_dir.db().with_extension("copy");
    store_dir.other_connection().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let bytes = fs::read(&copy).unwrap();
    fs::remove_file(copy).unwrap();
    bytes
}

#[tokio::test]
async fn a_restored_backup_is_reported_once_at_start() {
    type Change = fn(&SqliteStore) -> StoreFuture<'_, bool>;
    let changes: [(&str, Option<Change>); 4] = [
        ("a revoked key", Some(|store| store.revoke_key("ci".to_owned()))),
        ("a new key", Some(|store| store.add_key(key("cd", 2)))),
        ("a forgotten person", Some(|store| store.forget(person("ada")))),
        ("a start", None),
    ];
    for (lost, change) in changes {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        store_dir.open().add_key(key("ci", 1)).await.unwrap();
        // While the store is open, each start increases the generation.
        let store = store_dir.open();
        let copy = hot_backup(&store_dir);
        if let Some(change) = change {
            assert_eq!(change(&store).await, Ok(true));
        }
        drop(store);
        if change.is_none() {
            assert_eq!(told_at_start(&store_dir), [""; 0], "{lost}: nothing was restored");
        }
        fs::write(store_dir.db(), copy).unwrap();
        let told = told_at_start(&store_dir);
        assert!(
            told.len() == 1 && told[0].contains("API keys revoked since then are valid again"),
            "{lost}: {told:?}"
        );
        assert!(told[0].contains("`webex-tokend key list`"), "{told:?}");
        assert_eq!(store_dir.open().keys().await, Ok(vec![key("ci", 1)]), "{lost}");
        assert_eq!(told_at_start(&store_dir), [""; 0], "{lost}: reported already");
    }
}

#[tokio::test]
async fn a_key_revocation_advances_the_generation_before_it_is_answered() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    store.add_key(key("ci", 1)).await.unwrap();
    let noted = || fs::read_to_string(&store_dir.last_seen()[0]).unwrap();
    let before = noted();
    assert_eq!(store.revoke_key("another".to_owned()).await, Ok(false));
    assert_eq!(noted(), before, "nothing was revoked");
    assert_eq!(store.revoke_key("ci".to_owned()).await, Ok(true));
    assert_ne!(noted(), before);
}

#[tokio::test]
async fn a_start_interrupted_before_the_generation_file_is_written_is_no_alarm() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let note = store_dir.last_seen().remove(0);
    let older = fs::read(&note).unwrap();
    drop(store_dir.open());
    assert_ne!(fs::read(&note).unwrap(), older);
    fs::write(&note, older).unwrap();
    assert_eq!(told_at_start(&store_dir), [""; 0]);
}

#[tokio::test]
async fn a_missing_or_unusable_generation_file_neither_stops_a_start_nor_alarms() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let note = store_dir.last_seen().remove(0);
    fs::remove_file(&note).unwrap();
    assert_eq!(told_at_start(&store_dir), [""; 0], "missing");
    assert_eq!(store_dir.last_seen().first(), Some(&note));
    fs::write(&note, "forty-two").unwrap();
    assert_eq!(told_at_start(&store_dir), [""; 0], "not a number");
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    assert_eq!(told_at_start(&store_dir), [""; 0], "the file cannot be written");
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn the_generation_file_is_beside_the_key() {
    let (store_dir, elsewhere) = (StoreDir::new(), StoreDir::new());
    let open = || SqliteStore::open(&store_dir.db(), &elsewhere.key(), INTEGRATION, at(0)).unwrap().0;
    drop(open());
    assert_eq!((store_dir.last_seen().len(), elsewhere.last_seen().len()), (0, 1));
    let mode = fs::metadata(&elsewhere.last_seen()[0]).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // A second store with the same key has its own generation file.
    let second = StoreDir::new();
    for _ in 0..3 {
        drop(SqliteStore::open(&second.db(), &elsewhere.key(), INTEGRATION, at(0)).unwrap());
    }
    assert_eq!(elsewhere.last_seen().len(), 2);
    capture_thread_logs();
    drop(open());
    assert!(captured_logs().iter().all(|(level, _)| *level > Level::Warn));
}

#[tokio::test]
async fn rows_without_a_mac_are_trusted_only_at_the_upgrade() {
    let store_dir = StoreDir::with_grants(&["ada", "eve"]).await;
    store_dir.open().add_key(key("ci", 1)).await.unwrap();
    let before = "ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 6";
    store_dir.downgrade(before);
    let store = store_dir.open();
    assert_eq!(found(&store, "ada").await, grant("ada"));
    assert_eq!(store.keys().await, Ok(vec![key("ci", 1)]));
    drop(store);
    store_dir
        .other_connection()
        .execute_batch("UPDATE grants SET person_mac = NULL; UPDATE keys SET mac = NULL")
        .unwrap();
    let store = store_dir.open();
    assert_eq!(store.find(person("ada")).await, Err(StoreError::Unreadable(person("ada"))));
    assert_eq!(store.keys().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_copy_of_an_earlier_version_is_refused_until_the_operator_trusts_it() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    store_dir.downgrade("ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 6");
    let copy = backup(&store_dir);
    assert_eq!(told_at_start(&store_dir), [""; 0], "the first start of this version");
    fs::write(store_dir.db(), copy).unwrap();
    let why = store_dir.open_error().to_string();
    assert!(why.contains("a copy from before its records were authenticated"), "{why}");
    let notes = store_dir.last_seen();
    let note = notes.iter().find(|note| why.contains(note.to_str().unwrap())).unwrap();
    fs::remove_file(note).unwrap();
    drop(store_dir.open());
}

#[tokio::test]
async fn a_schema_version_lowered_by_another_program_gives_its_rows_no_macs() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let connection = store_dir.other_connection();
    connection
        .execute_batch("ALTER TABLE keys DROP COLUMN mac; ALTER TABLE grants DROP COLUMN person_mac")
        .unwrap();
    connection
        .execute_batch("INSERT INTO keys VALUES ('AAAAAAAA', 'planted', x'00', NULL, 'admin', 0, NULL, NULL)")
        .unwrap();
    connection.execute_batch("PRAGMA user_version = 6").unwrap();
    drop(connection);
    let why = store_dir.open_error();
    assert!(matches!(&why, StoreError::Corrupt(text) if text.contains("set its version to 6")), "{why}");
}
