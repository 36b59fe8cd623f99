//! What the store does not open: it says what to do, changes nothing, and opens once that is done.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use rusqlite::Connection;
use webex_tokend::store::StoreError;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::child_process::playing;
use crate::store::child_process::playing_in_a_namespace;
use crate::store::child_process::plays_well;
use crate::store::fixtures::Home;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::at;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;

/// The refusal's text, with nothing changed by it.
fn refused(home: &Home, expected: impl Fn(&StoreError) -> bool) -> String {
    let before = home.contents();
    let refusal = home.refusal();
    assert!(expected(&refusal), "{refusal:?}");
    assert_eq!(home.refusal(), refusal, "and again");
    assert!(home.contents() == before, "something was changed");
    refusal.to_string()
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[tokio::test]
async fn a_store_without_its_key_is_refused_until_the_key_is_back() {
    let home = Home::keeping(&["ada"]).await;
    let elsewhere = home.dir().join("elsewhere");
    fs::rename(home.key(), &elsewhere).unwrap();
    let text = refused(&home, |e| matches!(e, StoreError::KeyMissing { .. }));
    says(&text, &["tokend.db", "/key", "restore the key", "backup", "consent again"]);
    assert!(!home.key().exists(), "no new key for an old store");
    fs::rename(elsewhere, home.key()).unwrap();
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_mistyped_key_path_leaves_no_trace() {
    let home = Home::keeping(&["ada"]).await;
    let mistyped = home.dir().join("kye/key");
    let refusal = SqliteStore::open(&home.db(), &mistyped, INTEGRATION, at(0)).unwrap_err();
    assert!(matches!(refusal, StoreError::KeyMissing { .. }));
    assert!(!mistyped.parent().unwrap().exists());
}

#[tokio::test]
async fn another_key_is_refused() {
    let home = Home::keeping(&["ada"]).await;
    let key = fs::read(home.key()).unwrap();
    home.write_key(&[9; 32]);
    let text = refused(&home, |e| matches!(e, StoreError::WrongKey { .. }));
    says(&text, &["tokend.db", "/key", "restore the key", "nothing was changed"]);
    home.write_key(&key);
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let home = Home::keeping(&["ada"]).await;
    let key = fs::read(home.key()).unwrap();
    let bad = |e: &StoreError| matches!(e, StoreError::BadKey { .. });
    for len in [0, 31, 33, 64] {
        home.write_key(&vec![7; len]);
        says(&refused(&home, bad), &["/key", &format!("{len} bytes"), "expected 32", "backup"]);
    }
    home.write_key(&key);
    fs::set_permissions(home.key(), fs::Permissions::from_mode(0o644)).unwrap();
    says(&refused(&home, bad), &["/key", "0644", "chmod 600"]);
    fs::remove_file(home.key()).unwrap();
    fs::create_dir(home.key()).unwrap();
    let refusal = home.refusal();
    assert!(bad(&refusal), "{refusal:?}");
    fs::remove_dir(home.key()).unwrap();
    home.write_key(&key);
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused() {
    let home = Home::keeping(&["ada"]).await;
    let known: i64 = home.shell().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    home.shell().pragma_update(None, "user_version", 4711).unwrap();
    let text = refused(&home, |e| matches!(e, StoreError::Newer { found: 4711, .. }));
    says(&text, &["tokend.db", "version 4711", &format!("up to {known}"), "newer webex-tokend"]);
    home.shell().pragma_update(None, "user_version", known).unwrap();
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
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
        let home = Home::new();
        Connection::open(home.db()).unwrap().execute_batch(sql).unwrap();
        let text = refused(&home, |e| matches!(e, StoreError::Foreign(_)));
        says(&text, &["tokend.db", "another program", "TOKEND_STORE_URL"]);
        assert!(!home.key().exists(), "nor is a key made beside it");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let page = "a page of text\n".repeat(1000);
    for content in ["xy", "some notes, not a database at all", &page] {
        let home = Home::new();
        fs::write(home.db(), content).unwrap();
        let text = refused(&home, |e| matches!(e, StoreError::Corrupt(_)));
        says(&text, &["not a database", "keep a copy", "backup"]);
    }
    let home = Home::new();
    fs::create_dir(home.db()).unwrap();
    let refusal = home.refusal();
    assert!(matches!(refusal, StoreError::File { .. }), "{refusal:?}");
    says(&refusal.to_string(), &["tokend.db", "TOKEND_STORE_URL"]);
}

#[tokio::test]
async fn a_log_without_its_database_is_refused() {
    let home = Home::keeping(&["ada"]).await;
    let (store, database, log) = (home.open(), fs::read(home.db()).unwrap(), home.log());
    crate::store::fixtures::keep(&store, [grant("eve")]).await;
    let kept = fs::read(&log).unwrap();
    drop(store);
    for content in [None, Some("")] {
        fs::remove_file(home.db()).unwrap();
        content.into_iter().for_each(|content| fs::write(home.db(), content).unwrap());
        fs::write(&log, &kept).unwrap();
        let text = refused(&home, |e| matches!(e, StoreError::LogAlone { .. }));
        says(&text, &["tokend.db-wal", "tokend.db is missing or empty", "put that back", "move the log"]);
        fs::write(home.db(), &database).unwrap();
        assert_eq!(found(&home.open(), "eve").await, grant("eve"), "the log was still whole");
    }
}

#[tokio::test]
async fn a_second_owner_in_one_process_is_refused() {
    let home = Home::keeping(&["ada"]).await;
    let owner = home.open();
    let text = home.refusal().to_string();
    says(&text, &["tokend.db", "in use by another webex-tokend", "TOKEND_STORE_URL"]);
    let alias = home.dir().join("alias");
    symlink(home.db(), &alias).unwrap();
    let refusal = SqliteStore::open(&alias, &home.key(), INTEGRATION, at(0)).unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "another name makes no second store: {refusal:?}");
    assert_eq!(found(&owner, "ada").await, grant("ada"));
    drop(owner);
    home.open();
}

#[test]
fn a_second_owner_in_another_process_is_refused_until_that_ends() {
    let home = Home::new();
    let mut owner = playing("owns", home.dir()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("PART-PLAYED")), "it never owned the store");
    assert!(matches!(home.refusal(), StoreError::InUse(_)));
    owner.kill().unwrap();
    owner.wait().unwrap();
    home.open();
}

/// A store with a directory beside it that has the same key.
async fn with_a_room_for_another_name() -> Home {
    let home = Home::keeping(&["ada"]).await;
    let alone = home.dir().join("alone");
    fs::create_dir(&alone).unwrap();
    fs::copy(home.key(), alone.join("key")).unwrap();
    home
}

#[tokio::test]
async fn a_second_owner_by_a_hard_link_is_refused() {
    let home = with_a_room_for_another_name().await;
    fs::hard_link(home.db(), home.dir().join("alone/tokend.db")).unwrap();
    let owner = home.open();
    plays_well(playing("may not own", home.dir()));
    assert_eq!(found(&owner, "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_second_owner_by_a_mount_of_the_file_alone_is_refused() {
    let setup = "touch $0/alone/tokend.db; mount --bind $0/tokend.db $0/alone/tokend.db";
    let home = with_a_room_for_another_name().await;
    let Some(second) = playing_in_a_namespace("may not own", home.dir(), setup) else {
        eprintln!("SKIPPED: the system lets no mount namespace be made");
        return;
    };
    let owner = home.open();
    plays_well(second);
    assert_eq!(found(&owner, "ada").await, grant("ada"));
}
