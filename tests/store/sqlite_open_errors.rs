//! Stores that are refused: the error says what to do, nothing is changed, and the store opens once that is done.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rusqlite::Connection;
use webex_tokend::store::StoreError;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::child_process::assert_child_succeeds;
use crate::store::child_process::child;
use crate::store::child_process::child_in_namespace;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;

/// The text of the error. Asserts that nothing was changed.
fn refused(store_dir: &StoreDir, expected: impl Fn(&StoreError) -> bool) -> String {
    let before = store_dir.contents();
    let refusal = store_dir.open_error();
    assert!(expected(&refusal), "{refusal:?}");
    assert_eq!(store_dir.open_error(), refusal, "and a second time");
    assert!(store_dir.contents() == before, "something was changed");
    refusal.to_string()
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn a_store_without_its_key_is_refused_until_the_key_is_back() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let elsewhere = store_dir.path().join("elsewhere");
    fs::rename(store_dir.key(), &elsewhere).unwrap();
    let text = refused(&store_dir, |e| matches!(e, StoreError::KeyMissing { .. }));
    says(&text, &["tokend.db", "/key", "restore the key", "backup", "consent again"]);
    assert!(!store_dir.key().exists(), "no new key is created for an old store");
    fs::rename(elsewhere, store_dir.key()).unwrap();
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_mistyped_key_path_leaves_no_trace() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let mistyped = store_dir.path().join("kye/key");
    let refusal = SqliteStore::open(&store_dir.db(), &mistyped, INTEGRATION, at(0)).unwrap_err();
    assert!(matches!(refusal, StoreError::KeyMissing { .. }));
    assert!(!mistyped.parent().unwrap().exists());
}

#[tokio::test]
async fn another_key_is_refused() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let key = fs::read(store_dir.key()).unwrap();
    store_dir.write_key(&[9; 32]);
    let text = refused(&store_dir, |e| matches!(e, StoreError::WrongKey { .. }));
    says(&text, &["tokend.db", "/key", "restore the key", "nothing was changed"]);
    store_dir.write_key(&key);
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_malformed_key_file_is_refused() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let key = fs::read(store_dir.key()).unwrap();
    let bad = |e: &StoreError| matches!(e, StoreError::BadKey { .. });
    for len in [0, 31, 33, 64] {
        store_dir.write_key(&vec![7; len]);
        says(&refused(&store_dir, bad), &["/key", &format!("{len} bytes"), "expected 32", "backup"]);
    }
    store_dir.write_key(&key);
    fs::set_permissions(store_dir.key(), fs::Permissions::from_mode(0o644)).unwrap();
    says(&refused(&store_dir, bad), &["/key", "0644", "chmod 600"]);
    fs::remove_file(store_dir.key()).unwrap();
    fs::create_dir(store_dir.key()).unwrap();
    let refusal = store_dir.open_error();
    assert!(bad(&refusal), "{refusal:?}");
    fs::remove_dir(store_dir.key()).unwrap();
    store_dir.write_key(&key);
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let known: i64 =
        store_dir.other_connection().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    store_dir.other_connection().pragma_update(None, "user_version", 4711).unwrap();
    let text = refused(&store_dir, |e| matches!(e, StoreError::Newer { found: 4711, .. }));
    says(&text, &["tokend.db", "version 4711", &format!("up to {known}"), "newer webex-tokend"]);
    store_dir.other_connection().pragma_update(None, "user_version", known).unwrap();
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[test]
fn a_database_of_another_program_is_refused() {
    let others = [
        "CREATE TABLE grants (mine TEXT); INSERT INTO grants VALUES ('precious');",
        "PRAGMA user_version = 1; CREATE TABLE meta (name, value);",
        "PRAGMA application_id = 4711; CREATE TABLE meta (name, value); DROP TABLE meta;",
        "PRAGMA journal_mode = WAL; CREATE TABLE t (x);",
    ];
    for sql in others {
        let store_dir = StoreDir::new();
        Connection::open(store_dir.db()).unwrap().execute_batch(sql).unwrap();
        let text = refused(&store_dir, |e| matches!(e, StoreError::Foreign(_)));
        says(&text, &["tokend.db", "another program", "TOKEND_STORE_URL"]);
        assert!(!store_dir.key().exists(), "and no key is created beside it");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let page = "a page of text\n".repeat(1000);
    for content in ["xy", "some notes, not a database at all", &page] {
        let store_dir = StoreDir::new();
        fs::write(store_dir.db(), content).unwrap();
        let text = refused(&store_dir, |e| matches!(e, StoreError::Corrupt(_)));
        says(&text, &["not a database", "keep a copy", "backup"]);
    }
    let store_dir = StoreDir::new();
    fs::create_dir(store_dir.db()).unwrap();
    let refusal = store_dir.open_error();
    assert!(matches!(refusal, StoreError::File { .. }), "{refusal:?}");
    says(&refusal.to_string(), &["tokend.db", "TOKEND_STORE_URL"]);
}

#[tokio::test]
async fn a_wal_without_its_database_is_refused() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let (store, database, log) = (store_dir.open(), fs::read(store_dir.db()).unwrap(), store_dir.log());
    crate::store::fixtures::keep(&store, [grant("eve")]).await;
    let kept = fs::read(&log).unwrap();
    drop(store);
    for content in [None, Some("")] {
        fs::remove_file(store_dir.db()).unwrap();
        content.into_iter().for_each(|content| fs::write(store_dir.db(), content).unwrap());
        fs::write(&log, &kept).unwrap();
        let text = refused(&store_dir, |e| matches!(e, StoreError::LogAlone { .. }));
        says(&text, &["tokend.db-wal", "tokend.db is missing or empty", "put that back", "move the log"]);
        fs::write(store_dir.db(), &database).unwrap();
        assert_eq!(found(&store_dir.open(), "eve").await, grant("eve"), "the WAL was still complete");
    }
}

#[tokio::test]
async fn a_second_owner_in_one_process_is_refused() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let owner = store_dir.open();
    let text = store_dir.open_error().to_string();
    says(&text, &["tokend.db", "in use by another webex-tokend", "TOKEND_STORE_URL"]);
    let alias = store_dir.path().join("alias");
    symlink(store_dir.db(), &alias).unwrap();
    let refusal = SqliteStore::open(&alias, &store_dir.key(), INTEGRATION, at(0)).unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "another name opens no second store: {refusal:?}");
    assert_eq!(found(&owner, "ada").await, grant("ada"));
    drop(owner);
    store_dir.open();
}

#[test]
fn a_second_owner_in_another_process_is_refused_until_that_ends() {
    let store_dir = StoreDir::new();
    let mut owner = child("owns", store_dir.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(
        said.any(|line| line.unwrap().contains("PART-PLAYED")),
        "the second process never owned the store"
    );
    assert!(matches!(store_dir.open_error(), StoreError::InUse(_)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    store_dir.open();
}

/// A store, and a directory beside it with the same key.
async fn with_dir_for_another_name() -> StoreDir {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let alone = store_dir.path().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::copy(store_dir.key(), alone.join("key")).unwrap();
    store_dir
}

#[tokio::test]
async fn a_second_owner_by_a_hard_link_is_refused() {
    let store_dir = with_dir_for_another_name().await;
    fs::hard_link(store_dir.db(), store_dir.path().join("alone/tokend.db")).unwrap();
    let owner = store_dir.open();
    assert_child_succeeds(child("may not own", store_dir.path()));
    assert_eq!(found(&owner, "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_second_owner_by_a_mount_of_the_file_alone_is_refused() {
    let setup = "touch $0/alone/tokend.db; mount --bind $0/tokend.db $0/alone/tokend.db";
    let store_dir = with_dir_for_another_name().await;
    let Some(second) = child_in_namespace("may not own", store_dir.path(), setup) else {
        eprintln!("SKIPPED: the system permits no mount namespace");
        return;
    };
    let owner = store_dir.open();
    assert_child_succeeds(second);
    assert_eq!(found(&owner, "ada").await, grant("ada"));
}
