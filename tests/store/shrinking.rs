//! The store's files become smaller after large removals, by the command that docs/operations.md gives.

use std::fs;
use std::path::Path;

use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::Removal;

use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;

/// The limit of the write-ahead log in docs/operations.md.
const LOG_BYTES: u64 = 32 * 1024 * 1024;

fn documented_statement() -> &'static str {
    let docs = include_str!("../../docs/operations.md");
    let (_, section) = docs.split_once("\n## Shrinking the store\n").unwrap();
    section.lines().find(|line| line.starts_with("sqlite3 tokend.db ")).unwrap().split('"').nth(1).unwrap()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn the_documented_command_shrinks_the_file_of_an_open_store() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let names: Vec<String> = (0..2000).map(|number| format!("p{number}")).collect();
    keep(&store, names.iter().map(|name| grant(name))).await;
    let persons = names[1..].iter().map(|name| person(name)).collect();
    let removal = Removal { persons, only_in: None, now: at(0) };
    assert_eq!(store.forget_all(removal).await.unwrap().len(), 1999);
    store_dir.other_connection().execute_batch("PRAGMA wal_checkpoint").unwrap();
    let before = size(&store_dir.db());

    store_dir.other_connection().execute_batch(documented_statement()).unwrap();
    keep(&store, [grant("later")]).await;
    for name in ["p0", "later"] {
        assert_eq!(store.find(person(name)).await, Ok(Some(grant(name))));
    }
    drop(store);
    assert!(size(&store_dir.db()) < before / 4, "{before} bytes before, {} after", size(&store_dir.db()));
    assert_eq!(store_dir.open().find(person("p0")).await, Ok(Some(grant("p0"))));
}

#[tokio::test]
async fn a_write_ahead_log_that_another_program_made_long_is_cut_with_the_next_write() {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    let wal = store_dir.db().with_extension("db-wal");
    // One transaction, as VACUUM is one.
    let bulky = "BEGIN; CREATE TABLE bulk (bytes BLOB); INSERT INTO bulk VALUES (zeroblob(50000000)); COMMIT";
    store_dir.other_connection().execute_batch(bulky).unwrap();
    assert!(size(&wal) > LOG_BYTES, "{} bytes", size(&wal));
    keep(&store, [grant("ada")]).await;
    assert!(size(&wal) <= LOG_BYTES, "{} bytes", size(&wal));
}
