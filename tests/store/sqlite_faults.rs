//! A failing store: its errors say what to do, nothing is lost, and it recovers by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::process::Command;
use std::process::Stdio;

use rusqlite::Connection;
use rusqlite::params;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreMetadata;

use crate::store::child_process::UNPRIVILEGED_USER;
use crate::store::child_process::assert_child_succeeds;
use crate::store::child_process::child;
use crate::store::child_process::child_in_namespace;
use crate::store::child_process::running_as_root;
use crate::store::child_process::without_rights;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::StoreDir;
use crate::store::fixtures::ask;
use crate::store::fixtures::claim;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;

#[tokio::test]
async fn a_lock_of_another_program_blocks_writes_but_not_reads() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let store = store_dir.open();
    let claim = claim_one(&store, 0).await;
    let connection = store_dir.other_connection();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let outcome = renewed(&claim.grant, 1);
    let (consent, late, asked, read) = tokio::join!(
        store.save_consent(grant("eve")),
        store.commit(claim.fence, outcome.clone()),
        store.claim_due(ask(0)),
        store.find(person("ada")),
    );
    assert_eq!(consent, Err(StoreError::Locked));
    assert_eq!(late, Err(StoreError::Locked), "every caller gets the reason");
    assert_eq!(asked.unwrap_err(), StoreError::Locked);
    assert_eq!(read.unwrap().unwrap().tokens, grant("ada").tokens);
    let text = StoreError::Locked.to_string();
    assert!(text.contains("locked by another program") && text.contains("end it"), "{text}");

    connection.execute_batch("COMMIT").unwrap();
    assert_eq!(store.find(person("eve")).await, Ok(None), "after an error nothing is stored");
    assert_eq!(store.commit(claim.fence, outcome).await, Ok(Committed::Kept));
    keep(&store, [grant("eve")]).await;
}

#[tokio::test]
async fn a_failing_write_is_rolled_back_and_fails_no_other_write() {
    let store_dir = StoreDir::with_grants(&["ada", "eve"]).await;
    let store = store_dir.open();
    let claims = claim(&store, ask(0)).await;
    let [ada, eve] =
        ["ada", "eve"].map(|name| claims.iter().find(|it| it.grant.person.id == person(name)).unwrap());
    let (connection, ended) = (
        store_dir.other_connection(),
        Grant { status: GrantStatus::ConsentNeeded, ..renewed(&ada.grant, 1) },
    );
    let before = store.find(person("ada")).await;
    // Triggers update the totals after the row has changed. These totals overflow when one more, or one fewer, is
    // counted.
    for (at, full) in [(2, i64::MAX), (0, i64::MIN)] {
        let count = "INSERT INTO tallies VALUES (?1, 'kind', ?2, ?3) ON CONFLICT DO UPDATE SET people = ?3";
        connection.execute(count, params![INTEGRATION, at, full]).unwrap();
        let (failed, kept) = tokio::join!(
            store.commit(ada.fence, ended.clone()),
            store.commit(eve.fence, renewed(&eve.grant, 1)),
        );
        assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
        assert_eq!(kept, if at == 2 { Ok(Committed::Kept) } else { Ok(Committed::Superseded) }, "once");
        assert_eq!(store.find(person("ada")).await, before);
        connection.execute("UPDATE tallies SET people = iif(which = 0, 2, 0)", []).unwrap();
    }
    assert_eq!(store.commit(ada.fence, ended).await, Ok(Committed::Kept), "the claim is still there");
    let census = store.totals().await.unwrap();
    assert_eq!((census.people, census.consent_needed), (2, 1));
}

/// Errors that SQLite's integrity check finds in the file.
fn wrong_with(store_dir: &StoreDir) -> Vec<String> {
    let connection = store_dir.other_connection();
    let mut check = connection.prepare("PRAGMA integrity_check").unwrap();
    check.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_row_missing_in_one_index_stays_in_all_others() {
    let store_dir = StoreDir::with_grants(&["ada", "eve"]).await;
    let store = store_dir.open();
    let claims = claim(&store, ask(0)).await;
    let ada = claims.iter().find(|it| it.grant.person.id == person("ada")).unwrap();
    // Ada's row is changed while one of its indexes is hidden from SQLite.
    let hidden = "SELECT rowid, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = 'grants_wake'";
    let change = "CREATE TEMP TABLE hidden AS SELECT * FROM (:hidden); PRAGMA writable_schema = ON; \
         DELETE FROM sqlite_schema WHERE name = 'grants_wake'; PRAGMA writable_schema = RESET; \
         UPDATE grants SET wake_at = wake_at + 1 WHERE person_id = 'ada'; PRAGMA writable_schema = ON; \
         INSERT INTO sqlite_schema (rowid, type, name, tbl_name, rootpage, sql) \
         SELECT rowid_1, 'index', name, tbl_name, rootpage, sql FROM hidden; PRAGMA writable_schema = RESET;";
    let change = change.replace(":hidden", &hidden.replace("rowid,", "rowid AS rowid_1,"));
    store_dir.other_connection().execute_batch(&change).unwrap();
    let damage = wrong_with(&store_dir);
    assert!(!damage.is_empty() && damage.iter().all(|line| line.contains("grants_wake")), "{damage:?}");
    for _ in 0..2 {
        let failed = store.commit(ada.fence, renewed(&ada.grant, 1)).await;
        assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
        assert_eq!(wrong_with(&store_dir), damage);
    }
}

#[tokio::test]
async fn a_lock_held_at_start_is_reported() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let connection = store_dir.other_connection();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refusing = tokio::task::spawn_blocking(move || (store_dir.open_error(), store_dir));
    let (refusal, store_dir) = refusing.await.unwrap();
    assert_eq!(refusal, StoreError::Locked);
    drop(connection);
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[test]
fn a_full_disk_is_reported_as_such_and_freed_space_is_enough_to_continue() {
    let store_dir = StoreDir::new();
    let setup = "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$0\"; head -c 500000 /dev/zero > \"$0/ballast\"";
    match child_in_namespace("fills its disk", store_dir.path(), setup) {
        Some(other) => assert_child_succeeds(other),
        None => eprintln!("skipped: no small disk can be mounted here"),
    }
    assert!(StoreError::Full.to_string().contains("free some space"));
}

#[test]
fn a_file_size_limit_is_reported_as_a_disk_error() {
    let store_dir = StoreDir::new();
    let other = child("reaches the file size limit", store_dir.path());
    // The signal is ignored; it would end the process before the store learns of the limit.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 800; exec \"$@\"", "sh"]).arg(other.get_program());
    limited.args(other.get_args());
    limited.envs(other.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_child_succeeds(limited);
    let text = StoreError::Disk("disk I/O error".to_owned()).to_string();
    assert!(text.contains("quota") && text.contains("system's log"), "{text}");
}

#[tokio::test]
async fn a_read_only_file_is_reported_and_left_unchanged() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    fs::set_permissions(store_dir.db(), fs::Permissions::from_mode(0o400)).unwrap();
    let mut other = child("may not write", store_dir.path());
    without_rights(&mut other);
    if running_as_root() {
        for path in [
            store_dir.path().to_owned(),
            store_dir.db(),
            store_dir.key(),
            store_dir.path().join("tokend.db.lock"),
        ] {
            chown(path, Some(UNPRIVILEGED_USER), Some(UNPRIVILEGED_USER)).unwrap();
        }
        let mut probe = Command::new(other.get_program());
        without_rights(&mut probe);
        if !probe.arg("--list").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: an unprivileged user cannot run this test binary");
            return;
        }
    }
    let before = store_dir.contents();
    assert_child_succeeds(other);
    let after = store_dir.contents();
    assert!(before.iter().all(|file| after.contains(file)), "something was changed");
    let text = StoreError::ReadOnly.to_string();
    assert!(text.contains("read-only") && text.contains("make it writable"), "{text}");
    fs::set_permissions(store_dir.db(), fs::Permissions::from_mode(0o600)).unwrap();
    // SQLite left a file with the database's mode of that time.
    let left = fs::metadata(store_dir.path().join("tokend.db-shm")).unwrap().permissions().mode();
    assert_eq!(left & 0o777, 0o400);
    let mut other = child("may write again", store_dir.path());
    without_rights(&mut other);
    assert_child_succeeds(other);
    if running_as_root() {
        // Root may not use another user's key.
        assert!(matches!(store_dir.open_for(INTEGRATION, 0), Err(StoreError::BadKey { .. })));
        chown(store_dir.key(), Some(0), None).unwrap();
    }
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_read_only_disk_is_reported_with_the_file() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let setup = "mount --bind \"$0\" \"$0\"; mount -o remount,bind,ro \"$0\"";
    match child_in_namespace("finds a read-only disk", store_dir.path(), setup) {
        Some(other) => assert_child_succeeds(other),
        None => eprintln!("skipped: no read-only disk can be mounted here"),
    }
    assert_eq!(found(&store_dir.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_moved_store_file_accepts_no_write_until_it_is_back() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    let store = store_dir.open();
    let claim = claim_one(&store, 0).await;
    let outcome = renewed(&claim.grant, 1);
    let elsewhere = store_dir.path().join("elsewhere");
    fs::rename(store_dir.db(), &elsewhere).unwrap();
    let moved = store.commit(claim.fence, outcome.clone()).await.unwrap_err();
    assert!(matches!(moved, StoreError::Moved(_)), "{moved:?}");
    let text = moved.to_string();
    assert!(text.contains("tokend.db") && text.contains("put it back, or restart"), "{text}");
    assert_eq!(store.claim_due(ask(9999)).await.unwrap_err(), moved, "so no refresh is sent");
    assert_eq!(store.check_readable().await, Err(moved.clone()));
    fs::copy(&elsewhere, store_dir.db()).unwrap();
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Err(moved), "a copy is another file");

    fs::rename(&elsewhere, store_dir.db()).unwrap();
    assert_eq!(store.check_readable().await, Ok(()));
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
    drop(store);
    assert_eq!(found(&store_dir.open(), "ada").await, outcome);
}

/// A store with eighty persons, in a file of many pages.
async fn long_store() -> StoreDir {
    let store_dir = StoreDir::new();
    let store = store_dir.open();
    for n in 0..80 {
        let mut grant = grant(&format!("p{n}"));
        grant.last.detail = "detail ".repeat(40);
        keep(&store, [grant]).await;
    }
    drop(store);
    store_dir
}

/// Uses the damaged file: no panic, no token that was never stored, and errors in the store's own words.
async fn use_damaged(store_dir: &StoreDir) -> Option<StoreError> {
    let store = match store_dir.open_for(INTEGRATION, 0) {
        Ok(store) => store,
        Err(refusal) => return Some(refusal),
    };
    let mut trouble = None;
    for n in 0..80 {
        let name = format!("p{n}");
        match store.find(person(&name)).await {
            Ok(Some(found)) => {
                assert_eq!(found.tokens.access_token, grant(&name).tokens.access_token);
                assert_eq!(found.tokens.refresh_token, grant(&name).tokens.refresh_token);
            }
            Ok(None) => {}
            Err(why) => trouble = Some(why),
        }
    }
    match store.claim_due(ask(0)).await {
        Ok(claims) => {
            for claim in claims.claims {
                let name = claim.grant.person.id.to_string();
                assert_eq!(claim.grant.tokens.access_token, grant(&name).tokens.access_token);
            }
        }
        Err(why) => trouble = Some(why),
    }
    trouble
}

fn in_the_stores_words(trouble: &StoreError) -> bool {
    use StoreError::Corrupt;
    use StoreError::Foreign;
    use StoreError::LogAlone;
    use StoreError::Newer;
    use StoreError::Unreadable;
    use StoreError::WrongKey;
    matches!(
        trouble,
        Corrupt(_) | Foreign(_) | LogAlone { .. } | Newer { .. } | Unreadable(_) | WrongKey { .. }
    )
}

#[tokio::test]
async fn a_damaged_page_is_reported_as_corruption_and_yields_no_wrong_token() {
    let store_dir = long_store().await;
    let whole = fs::read(store_dir.db()).unwrap();
    assert!(whole.len() > 15 * 4096);
    let mut told = 0;
    let parts = [(0, 16), (100, 64), (2048, 2048)];
    for (page, (from, len)) in (0..whole.len() / 4096).flat_map(|page| parts.map(|part| (page, part))) {
        let mut damaged = whole.clone();
        damaged[page * 4096 + from..][..len].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(store_dir.db(), &damaged).unwrap();
        if let Some(trouble) = use_damaged(&store_dir).await {
            assert!(in_the_stores_words(&trouble), "page {page} from {from}: {trouble:?}");
            told += 1;
        }
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(store_dir.path().join(format!("tokend.db{suffix}")));
        }
    }
    assert!(told > whole.len() / 4096, "{told} damages were detected");
    let text = StoreError::Corrupt("why".to_owned()).to_string();
    assert!(text.contains("(why)") && text.contains("keep a copy") && text.contains("backup"), "{text}");
    fs::write(store_dir.db(), whole).unwrap();
    assert_eq!(store_dir.open().totals().await.unwrap().people, 80);
}

#[tokio::test]
async fn a_truncated_file_is_reported_as_corruption() {
    let store_dir = long_store().await;
    let whole = fs::read(store_dir.db()).unwrap();
    for len in [2, 50, 100, 600, 4096, 3 * 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(store_dir.db(), &whole[..len]).unwrap();
        let trouble =
            use_damaged(&store_dir).await.unwrap_or_else(|| panic!("cut at {len} was not detected"));
        assert!(in_the_stores_words(&trouble), "cut at {len}: {trouble:?}");
    }
    fs::write(store_dir.db(), whole).unwrap();
    assert_eq!(
        claim(&store_dir.open(), ask(0)).await.len(),
        80,
        "with its content restored, the store opens"
    );
}

#[tokio::test]
async fn a_store_without_its_tables_is_reported_as_corruption() {
    let store_dir = StoreDir::with_grants(&["ada"]).await;
    Connection::open(store_dir.db()).unwrap().execute_batch("DELETE FROM meta").unwrap();
    let refusal = store_dir.open_error();
    assert!(matches!(refusal, StoreError::Corrupt(_)), "{refusal:?}");
}
