//! A store in trouble: it says what to do, loses nothing, and goes on by itself once the trouble is over.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::process::Command;
use std::process::Stdio;

use rusqlite::Connection;
use rusqlite::params;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::Standing;
use webex_tokend::store::Committed;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;

use crate::store::child_process::NOBODY;
use crate::store::child_process::playing;
use crate::store::child_process::playing_in_a_namespace;
use crate::store::child_process::plays_well;
use crate::store::child_process::running_as_root;
use crate::store::child_process::without_rights;
use crate::store::fixtures::Home;
use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::ask;
use crate::store::fixtures::claim;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::person;
use crate::store::fixtures::renewed;

#[tokio::test]
async fn a_lock_of_another_program_keeps_writes_out_and_lets_reads_in() {
    let home = Home::keeping(&["ada"]).await;
    let store = home.open();
    let claim = claim_one(&store, 0).await;
    let shell = home.shell();
    shell.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let outcome = renewed(&claim.grant, 1);
    let (consent, late, asked, read) = tokio::join!(
        store.save_consent(grant("eve")),
        store.commit(claim.fence, outcome.clone()),
        store.claim_due(ask(0)),
        store.find(person("ada")),
    );
    assert_eq!(consent, Err(StoreError::Locked));
    assert_eq!(late, Err(StoreError::Locked), "everybody is told the reason");
    assert_eq!(asked.unwrap_err(), StoreError::Locked);
    assert_eq!(read.unwrap().unwrap().tokens, grant("ada").tokens);
    let text = StoreError::Locked.to_string();
    assert!(text.contains("locked by another program") && text.contains("end it"), "{text}");

    shell.execute_batch("COMMIT").unwrap();
    assert_eq!(store.find(person("eve")).await, Ok(None), "an Err means that nothing was kept");
    assert_eq!(store.commit(claim.fence, outcome).await, Ok(Committed::Kept));
    keep(&store, [grant("eve")]).await;
}

#[tokio::test]
async fn a_change_that_fails_half_way_leaves_nothing_behind_and_costs_nobody_else_a_change() {
    let home = Home::keeping(&["ada", "eve"]).await;
    let store = home.open();
    let claims = claim(&store, ask(0)).await;
    let [ada, eve] =
        ["ada", "eve"].map(|name| claims.iter().find(|it| it.grant.person.id == person(name)).unwrap());
    let (shell, ended) =
        (home.shell(), Grant { standing: Standing::ConsentNeeded, ..renewed(&ada.grant, 1) });
    let before = store.find(person("ada")).await;
    // Triggers count the living and those in need of consent when the row is changed already: there is no room for one
    // more of these, or for one fewer of those.
    for (at, full) in [(2, i64::MAX), (0, i64::MIN)] {
        let count = "INSERT INTO tallies VALUES (?1, 'kind', ?2, ?3) ON CONFLICT DO UPDATE SET people = ?3";
        shell.execute(count, params![INTEGRATION, at, full]).unwrap();
        let (failed, kept) = tokio::join!(
            store.commit(ada.fence, ended.clone()),
            store.commit(eve.fence, renewed(&eve.grant, 1)),
        );
        assert!(matches!(failed, Err(StoreError::Failed(_))), "{failed:?}");
        assert_eq!(kept, if at == 2 { Ok(Committed::Kept) } else { Ok(Committed::Superseded) }, "once");
        assert_eq!(store.find(person("ada")).await, before);
        shell.execute("UPDATE tallies SET people = iif(which = 0, 2, 0)", []).unwrap();
    }
    assert_eq!(store.commit(ada.fence, ended).await, Ok(Committed::Kept), "the claim is still there");
    let census = store.census().await.unwrap();
    assert_eq!((census.people, census.consent_needed), (2, 1));
}

/// What SQLite finds wrong with the file.
fn wrong_with(home: &Home) -> Vec<String> {
    let shell = home.shell();
    let mut check = shell.prepare("PRAGMA integrity_check").unwrap();
    check.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_row_that_an_index_has_lost_is_lost_to_no_other_index() {
    let home = Home::keeping(&["ada", "eve"]).await;
    let store = home.open();
    let claims = claim(&store, ask(0)).await;
    let ada = claims.iter().find(|it| it.grant.person.id == person("ada")).unwrap();
    // Ada's row is changed while SQLite knows nothing of one of its indexes.
    let hidden = "SELECT rowid, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = 'grants_wake'";
    let change = "CREATE TEMP TABLE hidden AS SELECT * FROM (:hidden); PRAGMA writable_schema = ON; \
         DELETE FROM sqlite_schema WHERE name = 'grants_wake'; PRAGMA writable_schema = RESET; \
         UPDATE grants SET wake_at = wake_at + 1 WHERE person_id = 'ada'; PRAGMA writable_schema = ON; \
         INSERT INTO sqlite_schema (rowid, type, name, tbl_name, rootpage, sql) \
         SELECT rowid_1, 'index', name, tbl_name, rootpage, sql FROM hidden; PRAGMA writable_schema = RESET;";
    let change = change.replace(":hidden", &hidden.replace("rowid,", "rowid AS rowid_1,"));
    home.shell().execute_batch(&change).unwrap();
    let damage = wrong_with(&home);
    assert!(damage.iter().all(|line| line.contains("grants_wake")), "{damage:?}");
    for _ in 0..2 {
        let failed = store.commit(ada.fence, renewed(&ada.grant, 1)).await;
        assert!(matches!(failed, Err(StoreError::Corrupt(_))), "{failed:?}");
        assert_eq!(wrong_with(&home), damage);
    }
}

#[tokio::test]
async fn a_lock_held_at_the_start_is_told() {
    let home = Home::keeping(&["ada"]).await;
    let shell = home.shell();
    shell.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refusing = tokio::task::spawn_blocking(move || (home.refusal(), home));
    let (refusal, home) = refusing.await.unwrap();
    assert_eq!(refusal, StoreError::Locked);
    drop(shell);
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[test]
fn a_full_disk_is_told_as_one_and_room_is_enough_to_go_on() {
    let home = Home::new();
    let setup = "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$0\"; head -c 500000 /dev/zero > \"$0/ballast\"";
    match playing_in_a_namespace("fills its disk", home.dir(), setup) {
        Some(other) => plays_well(other),
        None => eprintln!("skipped: no small disk to be had here"),
    }
    assert!(StoreError::Full.to_string().contains("free some space"));
}

#[test]
fn a_limit_on_the_size_of_files_is_told_as_trouble_with_the_disk() {
    let home = Home::new();
    let other = playing("reaches the file size limit", home.dir());
    // Ignored: the signal would end the process before the store hears of the limit.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 400; exec \"$@\"", "sh"]).arg(other.get_program());
    limited.args(other.get_args());
    limited.envs(other.get_envs().filter_map(|(name, value)| Some((name, value?))));
    plays_well(limited);
    let text = StoreError::Disk("disk I/O error".to_owned()).to_string();
    assert!(text.contains("quota") && text.contains("system's log"), "{text}");
}

#[tokio::test]
async fn a_file_that_may_not_be_written_is_told_and_left_as_it_is() {
    let home = Home::keeping(&["ada"]).await;
    fs::set_permissions(home.db(), fs::Permissions::from_mode(0o400)).unwrap();
    let mut other = playing("may not write", home.dir());
    without_rights(&mut other);
    if running_as_root() {
        for path in [home.dir().to_owned(), home.db(), home.key(), home.dir().join("tokend.db.lock")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut probe = Command::new(other.get_program());
        without_rights(&mut probe);
        if !probe.arg("--list").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: nobody may not run this test binary");
            return;
        }
    }
    let before = home.contents();
    plays_well(other);
    let after = home.contents();
    assert!(before.iter().all(|file| after.contains(file)), "something was changed");
    let text = StoreError::ReadOnly.to_string();
    assert!(text.contains("read-only") && text.contains("make it writable"), "{text}");
    fs::set_permissions(home.db(), fs::Permissions::from_mode(0o600)).unwrap();
    // SQLite has left a file of the database's mode at that time.
    let left = fs::metadata(home.dir().join("tokend.db-shm")).unwrap().permissions().mode();
    assert_eq!(left & 0o777, 0o400);
    let mut other = playing("may write again", home.dir());
    without_rights(&mut other);
    plays_well(other);
    if running_as_root() {
        // Another user's key is not root's to use.
        assert!(matches!(home.open_for(INTEGRATION, 0), Err(StoreError::BadKey { .. })));
        chown(home.key(), Some(0), None).unwrap();
    }
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_read_only_disk_is_told_by_the_file_it_lies_on() {
    let home = Home::keeping(&["ada"]).await;
    let setup = "mount --bind \"$0\" \"$0\"; mount -o remount,bind,ro \"$0\"";
    match playing_in_a_namespace("finds a read-only disk", home.dir(), setup) {
        Some(other) => plays_well(other),
        None => eprintln!("skipped: no read-only disk to be had here"),
    }
    assert_eq!(found(&home.open(), "ada").await, grant("ada"));
}

#[tokio::test]
async fn a_store_that_is_moved_away_keeps_nothing_until_it_is_back() {
    let home = Home::keeping(&["ada"]).await;
    let store = home.open();
    let claim = claim_one(&store, 0).await;
    let outcome = renewed(&claim.grant, 1);
    let elsewhere = home.dir().join("elsewhere");
    fs::rename(home.db(), &elsewhere).unwrap();
    let moved = store.commit(claim.fence, outcome.clone()).await.unwrap_err();
    assert!(matches!(moved, StoreError::Moved(_)), "{moved:?}");
    let text = moved.to_string();
    assert!(text.contains("tokend.db") && text.contains("put it back, or restart"), "{text}");
    assert_eq!(store.claim_due(ask(9999)).await.unwrap_err(), moved, "so no refresh is sent");
    assert_eq!(store.check().await, Err(moved.clone()));
    fs::copy(&elsewhere, home.db()).unwrap();
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Err(moved), "a copy is another file");

    fs::rename(&elsewhere, home.db()).unwrap();
    assert_eq!(store.check().await, Ok(()));
    assert_eq!(store.commit(claim.fence, outcome.clone()).await, Ok(Committed::Kept));
    drop(store);
    assert_eq!(found(&home.open(), "ada").await, outcome);
}

/// Eighty persons in a file of many pages.
async fn long_store() -> Home {
    let home = Home::new();
    let store = home.open();
    for n in 0..80 {
        let mut grant = grant(&format!("p{n}"));
        grant.last.detail = "detail ".repeat(40);
        keep(&store, [grant]).await;
    }
    drop(store);
    home
}

/// Whatever the store makes of the damaged file: no panic, no token that was never kept, and its own words.
async fn use_damaged(home: &Home) -> Option<StoreError> {
    let store = match home.open_for(INTEGRATION, 0) {
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
async fn a_damaged_page_is_told_as_damage_and_gives_no_wrong_token() {
    let home = long_store().await;
    let whole = fs::read(home.db()).unwrap();
    assert!(whole.len() > 15 * 4096);
    let mut told = 0;
    let parts = [(0, 16), (100, 64), (2048, 2048)];
    for (page, (from, len)) in (0..whole.len() / 4096).flat_map(|page| parts.map(|part| (page, part))) {
        let mut damaged = whole.clone();
        damaged[page * 4096 + from..][..len].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(home.db(), &damaged).unwrap();
        if let Some(trouble) = use_damaged(&home).await {
            assert!(in_the_stores_words(&trouble), "page {page} from {from}: {trouble:?}");
            told += 1;
        }
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(home.dir().join(format!("tokend.db{suffix}")));
        }
    }
    assert!(told > whole.len() / 4096, "{told} damages were seen");
    let text = StoreError::Corrupt("why".to_owned()).to_string();
    assert!(text.contains("(why)") && text.contains("keep a copy") && text.contains("backup"), "{text}");
    fs::write(home.db(), whole).unwrap();
    assert_eq!(home.open().census().await.unwrap().people, 80);
}

#[tokio::test]
async fn a_file_cut_off_is_told_as_damage() {
    let home = long_store().await;
    let whole = fs::read(home.db()).unwrap();
    for len in [2, 50, 100, 600, 4096, 3 * 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(home.db(), &whole[..len]).unwrap();
        let trouble = use_damaged(&home).await.unwrap_or_else(|| panic!("cut at {len} went unseen"));
        assert!(in_the_stores_words(&trouble), "cut at {len}: {trouble:?}");
    }
    fs::write(home.db(), whole).unwrap();
    assert_eq!(claim(&home.open(), ask(0)).await.len(), 80, "with its content back, it is a store again");
}

#[tokio::test]
async fn a_store_that_lost_its_tables_is_told_as_damage() {
    let home = Home::keeping(&["ada"]).await;
    Connection::open(home.db()).unwrap().execute_batch("DELETE FROM meta").unwrap();
    let refusal = home.refusal();
    assert!(matches!(refusal, StoreError::Corrupt(_)), "{refusal:?}");
}
