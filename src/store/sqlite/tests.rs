//! Operations that run a second time together with their batch, and the settings of the writer.

use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::domain::grant::Grant;
use crate::domain::grant::Tokens;
use crate::domain::person::Person;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::schedule::Schedule;
use crate::domain::secret::Secret;
use crate::domain::time::UnixTime;
use crate::store::ClaimOrder;
use crate::store::ClaimRequest;
use crate::store::GrantCommands;
use crate::store::Lease;
use crate::store::StoreError;
use crate::store::sqlite::context::REMEMBERED;
use crate::store::sqlite::meta;
use crate::store::sqlite::sqlite_store::SqliteStore;

const NOW: UnixTime = UnixTime(1_795_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);
const POLICY: Policy = Policy { sleep: DAY, max_age: DAY, noop_window: DAY, floor: DAY };

/// A due grant whose token lives for this number of days.
fn living(name: &str, days: u32) -> Grant {
    let secret = || Secret::new("secret".to_owned());
    let tokens = Tokens {
        access_token: secret(),
        refresh_token: secret(),
        token_type: "Bearer".to_owned(),
        scope: None,
        expires_at: NOW + days * DAY,
        refresh_token_expires_at: None,
    };
    let person = Person::known_by(PersonId::parse(name).unwrap());
    let grant = Grant::consented(person, tokens, NOW, &POLICY, NOW);
    Grant { next: Schedule::at(NOW), ..grant }
}

/// Claims the grant with the least life left and returns its person.
async fn claim(store: &SqliteStore) -> Option<String> {
    let lease = Lease { now: NOW, owner: "this process".to_owned(), end: NOW + DAY };
    let ask = ClaimRequest { lease, due_by: NOW, limit: 1, except: Vec::new(), order: ClaimOrder::LeastLife };
    let claims = store.claim_due(ask).await.unwrap().claims;
    claims.first().map(|claim| claim.grant.person.id.to_string())
}

#[tokio::test]
async fn a_claim_that_runs_twice_takes_the_one_whose_turn_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(&dir.path().join("db"), &dir.path().join("key"), "id", NOW);
    let (store, _) = opened.unwrap();
    for (days, name) in (1..).zip(["ada", "eve", "joe", "kim"]) {
        store.save_consent(living(name, days)).await.unwrap();
    }
    assert_eq!(claim(&store).await.as_deref(), Some("ada"), "all due rows have been read");

    let (release, held) = std::sync::mpsc::channel::<()>();
    let (begun, begins) = oneshot::channel();
    let (begun, held) = (Mutex::new(Some(begun)), Mutex::new(held));
    let holding = store.write(move |_, _| {
        begun.lock().take().map(|begun| begun.send(()));
        let _ = held.lock().recv();
        Ok(())
    });
    let failing = store.write(|db, _| {
        meta::check_writable(db)?;
        Err::<(), _>(StoreError::ReadOnly)
    });
    // Operations that wait while the writer is busy become one batch.
    let batch = async {
        begins.await.unwrap();
        tokio::join!(claim(&store), failing, async { drop(release) })
    };
    let (_, (claimed, failed, ())) = tokio::join!(holding, batch);
    assert_eq!(failed, Err(StoreError::ReadOnly));
    assert_eq!(claimed.as_deref(), Some("eve"));
    assert_eq!(claim(&store).await.as_deref(), Some("joe"));
    assert_eq!(claim(&store).await.as_deref(), Some("kim"));
    assert_eq!(claim(&store).await, None);
}

#[tokio::test]
async fn what_is_kept_is_on_the_disk_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(&dir.path().join("db"), &dir.path().join("key"), "id", NOW);
    let (store, _) = opened.unwrap();
    let read = |db: &Connection, name: &str| db.pragma_query_value(None, name, |row| row.get::<_, String>(0));
    let number = |db: &Connection, name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let settings = store.write(move |db, _| Ok((read(db, "journal_mode")?, number(db, "synchronous")?)));
    // 2 is FULL: SQLite waits for the disk with every commit. With NORMAL, in this mode, it does not.
    assert_eq!(settings.await, Ok(("wal".to_owned(), 2)));
}

#[tokio::test]
async fn so_many_records_that_do_not_open_are_remembered_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let opened = SqliteStore::open(&dir.path().join("db"), &dir.path().join("key"), "id", NOW);
    let (store, _) = opened.unwrap();
    let ada = PersonId::parse("ada").unwrap();
    for serial in 0..3 * i64::try_from(REMEMBERED).unwrap() {
        store.context.report_unreadable(serial, &ada);
        assert!(store.context.unreadable().len() <= REMEMBERED);
    }
}
