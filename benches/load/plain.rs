//! The simplest client that is still durable: a row is stored before the request to Webex, and the response
//! is stored before the next request. It has one table, one index and one thread, without encryption, checks
//! or events.
//!
//! Its duration is the lower bound on this machine for a program that stores tokens in SQLite and sends
//! requests with reqwest.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::Connection;
use rusqlite::params;
use tokio::sync::oneshot;

/// About the size of a sealed grant in bytes.
const ROW: usize = 1_300;

/// Maximum number of changes in one transaction, as in the daemon's writer.
const BATCH: usize = 256;

enum Change {
    Claim(i64),
    Keep(i64, Vec<u8>),
}

/// A handle to the writing thread. Clones share it.
#[derive(Clone)]
pub(crate) struct Plain(mpsc::Sender<(Change, oneshot::Sender<()>)>);

impl Plain {
    /// A table with `people` rows that are due.
    pub(crate) fn new(path: &Path, people: i64) -> Self {
        let mut db = Connection::open(path).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "FULL").unwrap();
        let schema = "CREATE TABLE tokens (id INTEGER PRIMARY KEY, row BLOB NOT NULL, due_at INTEGER NOT NULL, \
             claimed INTEGER NOT NULL); CREATE INDEX due ON tokens (due_at)";
        db.execute_batch(schema).unwrap();
        let all = db.transaction().unwrap();
        for person in 0..people {
            let row = params![person, vec![7_u8; ROW], 0];
            all.execute("INSERT INTO tokens VALUES (?1, ?2, ?3, 0)", row).unwrap();
        }
        all.commit().unwrap();
        let (sender, changes) = mpsc::channel();
        std::thread::spawn(move || write(&mut db, &changes));
        Self(sender)
    }

    pub(crate) async fn claim(&self, person: i64) {
        self.change(Change::Claim(person)).await;
    }

    pub(crate) async fn keep(&self, person: i64, answer: &[u8]) {
        let mut row = answer.to_vec();
        row.resize(ROW, 7);
        self.change(Change::Keep(person, row)).await;
    }

    async fn change(&self, change: Change) {
        let (done, kept) = oneshot::channel();
        self.0.send((change, done)).unwrap();
        kept.await.unwrap();
    }
}

fn write(db: &mut Connection, changes: &mpsc::Receiver<(Change, oneshot::Sender<()>)>) {
    while let Ok(first) = changes.recv() {
        let batch = std::iter::once(first).chain(changes.try_iter().take(BATCH - 1));
        let mut kept = Vec::new();
        let all = db.transaction().unwrap();
        for (change, done) in batch {
            match change {
                Change::Claim(person) => {
                    let claim = "UPDATE tokens SET claimed = 1 WHERE id = ?1 AND claimed = 0";
                    assert_eq!(all.prepare_cached(claim).unwrap().execute([person]).unwrap(), 1);
                }
                Change::Keep(person, row) => {
                    let keep = "UPDATE tokens SET row = ?2, due_at = ?1 + 1000, claimed = 0 WHERE id = ?1 AND claimed = 1";
                    assert_eq!(all.prepare_cached(keep).unwrap().execute(params![person, row]).unwrap(), 1);
                }
            }
            kept.push(done);
        }
        all.commit().unwrap();
        for done in kept {
            let _ = done.send(());
        }
    }
}
