//! The plainest thing that still keeps its promise: a row is durable before Webex is asked, and what came back is
//! durable before the next call. One table, one index, one thread; nothing sealed, nothing checked, nobody told.
//!
//! What it takes is the floor on this machine for whoever keeps tokens in SQLite and calls as reqwest does.

use std::path::Path;
use std::sync::mpsc;

use rusqlite::Connection;
use rusqlite::params;
use tokio::sync::oneshot;

/// About what a sealed grant takes.
const ROW: usize = 1_300;

/// At most so many changes in one transaction, as the daemon's writer takes them.
const BATCH: usize = 256;

enum Change {
    Claim(i64),
    Keep(i64, Vec<u8>),
}

/// Asks the thread that writes. Clones share it.
#[derive(Clone)]
pub(crate) struct Plain(mpsc::Sender<(Change, oneshot::Sender<()>)>);

impl Plain {
    /// With `people` rows that are due.
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
