//! A backup while the daemon writes: the command that docs/operations.md gives ends, and its result opens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tokio::task::spawn_blocking;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::fixtures::StoreDir;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;

const BEFORE: u32 = 2000;

/// The statement of the backup in docs/operations.md, for this copy.
fn documented_statement(copy: &str) -> String {
    let docs = include_str!("../../docs/operations.md");
    let (_, section) = docs.split_once("\n## Backups\n").unwrap();
    let command = section.lines().find(|line| line.starts_with("sqlite3 tokend.db ")).unwrap();
    command.split('"').nth(1).unwrap().replace("copy.db", copy)
}

/// Stores one grant after the other.
async fn write_until_told(store: Arc<SqliteStore>, stop: Arc<AtomicBool>, written: Arc<AtomicU32>) {
    while !stop.load(Ordering::SeqCst) {
        let number = written.fetch_add(1, Ordering::SeqCst);
        store.save_consent(grant(&format!("meanwhile-{number}"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_during_writes_ends_and_opens_with_everything_stored_before() {
    let store_dir = StoreDir::new();
    let store = Arc::new(store_dir.open());
    let names: Vec<String> = (0..BEFORE).map(|number| format!("before-{number}")).collect();
    keep(&*store, names.iter().map(|name| grant(name))).await;

    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut writer = JoinSet::new();
    writer.spawn(write_until_told(store.clone(), stop.clone(), written.clone()));
    let backup = StoreDir::new();
    let begun = written.load(Ordering::SeqCst);
    let (connection, sql) =
        (store_dir.other_connection(), documented_statement(backup.db().to_str().unwrap()));
    spawn_blocking(move || connection.execute_batch(&sql).unwrap()).await.unwrap();
    // Writes went on while the backup was made, or go on now that it is complete.
    while written.load(Ordering::SeqCst) < begun + 5 {
        tokio::task::yield_now().await;
    }
    stop.store(true, Ordering::SeqCst);
    writer.join_all().await;

    fs::set_permissions(backup.db(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(store_dir.key(), backup.key()).unwrap();
    fs::set_permissions(backup.key(), fs::Permissions::from_mode(0o600)).unwrap();
    let restored = backup.open();
    let people = restored.totals().await.unwrap().people;
    assert!(
        (u64::from(BEFORE)..=u64::from(BEFORE + written.load(Ordering::SeqCst))).contains(&people),
        "{people}"
    );
    for name in ["before-0", "before-1999"] {
        let found = restored.find(person(name)).await.unwrap();
        assert_eq!(found, Some(grant(name)), "{name} with the tokens");
    }
}
