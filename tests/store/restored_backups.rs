//! A store that is older than the one that was here last, and one whose version another program has changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use log::Level;
use webex_tokend::domain::key::KeyRecord;
use webex_tokend::domain::key::Rights;
use webex_tokend::store::Answer;
use webex_tokend::store::KeyStore;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::fixtures::Home;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::at;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::person;
use crate::support::heard_here;
use crate::support::listen_here;

fn key(name: &str, number: u8) -> KeyRecord {
    KeyRecord::make(&[number; 38], name.to_owned(), Rights { read: true, ..Rights::default() }, None, at(0)).1
}

/// What a start has to say about the age of the store.
fn told_at_start(home: &Home) -> Vec<String> {
    listen_here();
    drop(home.open());
    let warned = heard_here().into_iter().filter(|(level, _)| *level <= Level::Warn);
    warned
        .map(|(_, text)| text)
        .filter(|text| text.contains("older than the one that was here last"))
        .collect()
}

fn backup(home: &Home) -> Vec<u8> {
    assert!(!home.log().exists(), "it is closed");
    fs::read(home.db()).unwrap()
}

/// A copy of a store that is open.
fn hot_backup(home: &Home) -> Vec<u8> {
    let copy = home.db().with_extension("copy");
    home.shell().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let bytes = fs::read(&copy).unwrap();
    fs::remove_file(copy).unwrap();
    bytes
}

#[tokio::test]
async fn a_restored_backup_is_told_once_at_the_start_whatever_was_lost() {
    type Change = fn(&SqliteStore) -> Answer<'_, bool>;
    let changes: [(&str, Option<Change>); 4] = [
        ("a revoked key", Some(|store| store.revoke_key("ci".to_owned()))),
        ("a new key", Some(|store| store.add_key(key("cd", 2)))),
        ("a forgotten person", Some(|store| store.forget(person("ada")))),
        ("a start", None),
    ];
    for (lost, change) in changes {
        let home = Home::keeping(&["ada"]).await;
        home.open().add_key(key("ci", 1)).await.unwrap();
        // While the store is open: each start counts by itself.
        let store = home.open();
        let copy = hot_backup(&home);
        if let Some(change) = change {
            assert_eq!(change(&store).await, Ok(true));
        }
        drop(store);
        if change.is_none() {
            assert_eq!(told_at_start(&home), [""; 0], "{lost}: nothing was restored");
        }
        fs::write(home.db(), copy).unwrap();
        let told = told_at_start(&home);
        assert!(
            told.len() == 1 && told[0].contains("API keys revoked since then are valid again"),
            "{lost}: {told:?}"
        );
        assert!(told[0].contains("`webex-tokend key list`"), "{told:?}");
        assert_eq!(home.open().keys().await, Ok(vec![key("ci", 1)]), "{lost}");
        assert_eq!(told_at_start(&home), [""; 0], "{lost}: it was told");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_while_the_store_is_open_is_noted_before_the_answer() {
    let home = Home::new();
    let store = home.open();
    store.add_key(key("ci", 1)).await.unwrap();
    let noted = || fs::read_to_string(&home.last_seen()[0]).unwrap();
    let before = noted();
    assert_eq!(store.revoke_key("another".to_owned()).await, Ok(false));
    assert_eq!(noted(), before, "nothing was revoked");
    assert_eq!(store.revoke_key("ci".to_owned()).await, Ok(true));
    assert_ne!(noted(), before);
}

#[tokio::test]
async fn a_start_that_was_cut_short_between_the_store_and_its_note_is_no_alarm() {
    let home = Home::keeping(&["ada"]).await;
    let note = home.last_seen().remove(0);
    let older = fs::read(&note).unwrap();
    drop(home.open());
    assert_ne!(fs::read(&note).unwrap(), older);
    fs::write(&note, older).unwrap();
    assert_eq!(told_at_start(&home), [""; 0]);
}

#[tokio::test]
async fn a_note_that_is_missing_unreadable_or_cannot_be_written_stops_no_start_and_is_no_alarm() {
    let home = Home::keeping(&["ada"]).await;
    let note = home.last_seen().remove(0);
    fs::remove_file(&note).unwrap();
    assert_eq!(told_at_start(&home), [""; 0], "missing");
    assert_eq!(home.last_seen().first(), Some(&note));
    fs::write(&note, "forty-two").unwrap();
    assert_eq!(told_at_start(&home), [""; 0], "no number");
    fs::remove_file(&note).unwrap();
    fs::create_dir(&note).unwrap();
    assert_eq!(told_at_start(&home), [""; 0], "it cannot be written");
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn the_note_lies_beside_the_key_wherever_that_is() {
    let (home, elsewhere) = (Home::new(), Home::new());
    let open = || SqliteStore::open(&home.db(), &elsewhere.key(), INTEGRATION, at(0)).unwrap().0;
    drop(open());
    assert_eq!((home.last_seen().len(), elsewhere.last_seen().len()), (0, 1));
    let mode = fs::metadata(&elsewhere.last_seen()[0]).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    // A second store with the same key has a note of its own.
    let second = Home::new();
    for _ in 0..3 {
        drop(SqliteStore::open(&second.db(), &elsewhere.key(), INTEGRATION, at(0)).unwrap());
    }
    assert_eq!(elsewhere.last_seen().len(), 2);
    listen_here();
    drop(open());
    assert!(heard_here().iter().all(|(level, _)| *level > Level::Warn));
}

#[tokio::test]
async fn rows_of_an_earlier_version_are_trusted_once_and_a_row_without_a_mac_never_again() {
    let home = Home::keeping(&["ada", "eve"]).await;
    home.open().add_key(key("ci", 1)).await.unwrap();
    let before = "ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 6";
    home.set_back(before);
    let store = home.open();
    assert_eq!(found(&store, "ada").await, grant("ada"));
    assert_eq!(store.keys().await, Ok(vec![key("ci", 1)]));
    drop(store);
    home.shell().execute_batch("UPDATE grants SET person_mac = NULL; UPDATE keys SET mac = NULL").unwrap();
    let store = home.open();
    assert_eq!(store.find(person("ada")).await, Err(StoreError::Unreadable(person("ada"))));
    assert_eq!(store.keys().await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_copy_of_an_earlier_version_is_refused_until_the_operator_says_that_it_is_trusted() {
    let home = Home::keeping(&["ada"]).await;
    home.set_back("ALTER TABLE keys DROP COLUMN mac; PRAGMA user_version = 6");
    let copy = backup(&home);
    assert_eq!(told_at_start(&home), [""; 0], "the first start of this version");
    fs::write(home.db(), copy).unwrap();
    let why = home.refusal().to_string();
    assert!(why.contains("a copy from before its records were authenticated"), "{why}");
    let notes = home.last_seen();
    let note = notes.iter().find(|note| why.contains(note.to_str().unwrap())).unwrap();
    fs::remove_file(note).unwrap();
    drop(home.open());
}

#[tokio::test]
async fn a_version_that_another_program_set_back_gives_its_rows_no_macs() {
    let home = Home::keeping(&["ada"]).await;
    let shell = home.shell();
    shell
        .execute_batch("ALTER TABLE keys DROP COLUMN mac; ALTER TABLE grants DROP COLUMN person_mac")
        .unwrap();
    shell
        .execute_batch("INSERT INTO keys VALUES ('AAAAAAAA', 'planted', x'00', NULL, 'admin', 0, NULL, NULL)")
        .unwrap();
    shell.execute_batch("PRAGMA user_version = 6").unwrap();
    drop(shell);
    let why = home.refusal();
    assert!(matches!(&why, StoreError::Corrupt(text) if text.contains("set its version to 6")), "{why}");
}
