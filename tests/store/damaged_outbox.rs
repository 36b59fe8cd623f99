//! A damaged outbox or history holds up no token.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use webex_tokend::domain::breaker::Breaker;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::history::HistoryEntry;
use webex_tokend::domain::notice::Notice;
use webex_tokend::domain::notice::NoticeType;
use webex_tokend::domain::notice::OutboxEntries;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::MetaKey;
use webex_tokend::store::Saved;
use webex_tokend::store::StoreMetadata;
use webex_tokend::store::outbox::NoticePage;
use webex_tokend::store::outbox::OutboxRules;
use webex_tokend::store::outbox::OutboxStore;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::fixtures::StoreDir;
use crate::store::fixtures::at;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::lease;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;
use crate::support::process_logs;

/// The tables and indexes of the outbox and the history, each with the number of its first page.
fn trees(store_dir: &StoreDir) -> Vec<(String, u64)> {
    let connection = store_dir.other_connection();
    let sql = "SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0 \
         AND tbl_name IN ('notices', 'deliveries', 'history', 'daily_counts', 'digest_persons')";
    let mut query = connection.prepare(sql).unwrap();
    let rows =
        query.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.try_into().unwrap()))).unwrap();
    let trees: Vec<_> = rows.map(Result::unwrap).collect();
    assert!(trees.len() >= 9, "{trees:?}");
    trees
}

/// Overwrites a page of a closed store's file.
fn damage(store_dir: &StoreDir, page: u64) {
    let file = OpenOptions::new().write(true).open(store_dir.db()).unwrap();
    file.write_all_at(&[0xff; 4096], (page - 1) * 4096).unwrap();
}

fn use_webhook(store: &SqliteStore, seconds: i64) {
    let sinks = vec!["webhook".to_owned()];
    store.use_outbox(OutboxRules { sinks, now: Arc::new(move || at(seconds)) });
}

/// The result of a refresh that has something to tell.
fn renewed_with_news(before: &Grant) -> Grant {
    let mut after = renewed(before, 10);
    let notice = Notice::new(NoticeType::TokenRecovered, Some(&after.person), "1", at(10));
    let mut outbox_entries =
        OutboxEntries { outcome: Some(after.last.outcome.as_str()), ..OutboxEntries::of(notice) };
    outbox_entries.history.push(HistoryEntry::new(at(10), Some(&after.person.id), "refresh.renewed", ""));
    after.outbox_entries = outbox_entries;
    after
}

/// Opens the store, and commits a refresh with entries for the outbox and the history.
async fn commit_with_news(store_dir: &StoreDir) -> (SqliteStore, Grant) {
    let store = store_dir.open();
    use_webhook(&store, 10);
    let claim = claim_one(&store, 0).await;
    let after = renewed_with_news(&claim.grant);
    assert_eq!(store.commit(claim.fence, after.clone()).await, Ok(Committed::Kept));
    (store, after)
}

async fn assert_changes_are_kept(store: &SqliteStore, which: &str) {
    let claim = claim_one(store, 0).await;
    let after = renewed_with_news(&claim.grant);
    assert_eq!(store.commit(claim.fence, after.clone()).await, Ok(Committed::Kept), "{which}");
    assert_eq!(found(store, "ada").await.tokens, after.tokens, "{which}");
    assert_eq!(store.save_consent(grant("eve")).await, Ok(Saved::New), "{which}");
    assert_eq!(store.forget(person("eve")).await, Ok(true), "{which}");
    let breaker = Breaker::default().to_text();
    assert_eq!(store.set_meta(MetaKey::Breaker, breaker).await, Ok(()), "{which}");
}

#[tokio::test]
async fn a_damaged_page_of_the_outbox_or_history_holds_up_no_change_of_a_grant() {
    let trees = trees(&StoreDir::with_grants(&["ada"]).await);
    for (name, page) in trees {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        damage(&store_dir, page);
        let store = store_dir.open();
        use_webhook(&store, 10);
        assert_changes_are_kept(&store, &name).await;
    }
}

/// What SQLite does when a page cannot be read from the disk: it gives the whole transaction up.
#[tokio::test]
async fn an_outbox_that_cannot_be_read_from_the_disk_holds_up_no_commit() {
    for table in ["notices", "deliveries", "history"] {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        refuse_inserts(&store_dir, table, "ROLLBACK, 'disk I/O error'");
        let (store, after) = commit_with_news(&store_dir).await;
        assert_eq!(found(&store, "ada").await.tokens, after.tokens, "{table}");
    }
}

#[tokio::test]
async fn what_could_not_be_written_to_the_outbox_is_written_when_that_is_possible_again() {
    for action in ["ABORT", "ROLLBACK"] {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        refuse_inserts(&store_dir, "deliveries", &format!("{action}, 'no'"));
        let (store, _) = commit_with_news(&store_dir).await;
        assert!(store.outbox_error().is_some());
        assert!(store.write_postponed().await.is_err(), "it is still damaged");
        assert_eq!(store.outbox_counts().await.unwrap(), []);
        accept_inserts(&store_dir, "deliveries");
        assert_eq!(store.write_postponed().await, Ok(1));
        assert_eq!(store.outbox_error(), None);
        let counts = store.outbox_counts().await.unwrap();
        assert_eq!((counts.len(), counts[0].waiting), (1, 1), "once");
        assert_eq!(store.write_postponed().await, Ok(0));
    }
}

const NOTICE_TABLES: [&str; 4] = ["notices", "deliveries", "history", "daily_counts"];

/// `raise` are the arguments of SQLite's `RAISE`.
fn refuse_inserts(store_dir: &StoreDir, table: &str, raise: &str) {
    let trigger =
        format!("CREATE TRIGGER no_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE({raise}); END");
    store_dir.other_connection().execute_batch(&trigger).unwrap();
}

fn accept_inserts(store_dir: &StoreDir, table: &str) {
    store_dir.other_connection().execute_batch(&format!("DROP TRIGGER no_{table}")).unwrap();
}

/// Without this, an outbox whose damage was found by a read would count as repaired although nothing was written.
#[tokio::test]
async fn the_outbox_counts_as_repaired_only_after_a_write_to_each_of_its_tables() {
    for table in NOTICE_TABLES {
        let store_dir = StoreDir::with_grants(&["ada"]).await;
        refuse_inserts(&store_dir, "history", "ABORT, 'no sector'");
        let (store, _) = commit_with_news(&store_dir).await;
        assert!(store.outbox_error().is_some());
        accept_inserts(&store_dir, "history");
        refuse_inserts(&store_dir, table, "ABORT, 'no sector'");
        assert!(store.write_postponed().await.is_err(), "{table}");
        assert!(store.outbox_error().is_some(), "{table}");
        accept_inserts(&store_dir, table);
        assert_eq!(store.write_postponed().await, Ok(1), "{table}");
        assert_eq!(store.outbox_error(), None, "{table}");
        assert_eq!(listed_ids(&store).await, 1, "the check leaves no notice: {table}");
    }
}

async fn listed_ids(store: &SqliteStore) -> usize {
    let page = NoticePage { before: None, limit: 100, failed_only: false };
    store.notices(page).await.unwrap().len()
}

#[tokio::test]
async fn damage_that_a_read_finds_is_not_repaired_by_having_nothing_to_write() {
    let page = trees(&StoreDir::with_grants(&["ada"]).await)
        .into_iter()
        .find_map(|(name, page)| (name == "deliveries").then_some(page))
        .unwrap();
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    damage(&store_dir, page);
    let store = store_dir.open();
    use_webhook(&store, 10);
    assert!(store.outbox_counts().await.is_err());
    assert!(store.outbox_error().is_some());
    assert!(store.write_postponed().await.is_err());
    assert!(store.outbox_error().is_some());
}

#[tokio::test]
async fn an_outbox_that_fails_and_recovers_in_turns_is_logged_once() {
    let marker = "sector of the log test";
    process_logs();
    let store_dir = StoreDir::with_grants(&["ada", "eve", "joe"]).await;
    let store = store_dir.open();
    use_webhook(&store, 10);
    for name in ["ada", "eve", "joe"] {
        refuse_inserts(&store_dir, "history", &format!("ABORT, '{marker}'"));
        let claim = store.claim_one(person(name), lease(0)).await.unwrap().unwrap();
        let after = renewed_with_news(&claim.grant);
        assert_eq!(store.commit(claim.fence, after).await, Ok(Committed::Kept));
        assert!(store.outbox_error().is_some());
        accept_inserts(&store_dir, "history");
        store.write_postponed().await.unwrap();
        assert_eq!(store.outbox_error(), None);
    }
    let logs = process_logs();
    let lines = logs.lines().filter(|line| line.contains(marker) && line.contains("cannot be stored:"));
    assert_eq!(lines.count(), 1);
}
