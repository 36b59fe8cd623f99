//! Troubles that no single refresh shows: a store that cannot be written. In virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::notice::Notice;
use webex_tokend::notices::HistoryPage;
use webex_tokend::notices::sink::SinkAnswer;
use webex_tokend::store::StoreError;
use webex_tokend::store::history::HistoryStore;
use webex_tokend::store::memory::MemoryStore;

use crate::notices::world::Telling;
use crate::notices::world::TestSink;
use crate::support::faulty_store::FaultyStore;
use crate::support::intercept_store::StoreOp;
use crate::support::time::HOUR;

const MINUTE: Duration = Duration::from_secs(60);

async fn history(store: &MemoryStore) -> Vec<String> {
    let page = HistoryPage { person: None, before: None, limit: 100 };
    store.history(page).await.unwrap().into_iter().rev().map(|(_, entry)| entry.what).collect()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_could_not_be_written_is_told_to_each_sink_once_and_kept_as_history() {
    let (well, down) = (TestSink::new("webhook"), TestSink::new("command"));
    let memory = Arc::new(MemoryStore::new());
    let grants = FaultyStore::with_store(memory.clone());
    let _telling = Telling::with_grants(grants.clone(), memory.clone(), &[&well, &down]);
    down.is_down();
    grants.fail(&[StoreOp::Prove], StoreError::Full);
    sleep(5 * MINUTE).await;
    assert_eq!(well.words(), ["store.failing"], "told at once, from memory");
    grants.recover();
    sleep(5 * MINUTE).await;
    assert_eq!(well.words(), ["store.failing", "store.recovered"]);
    assert_eq!(history(&memory).await, ["store.failing", "store.recovered"]);
    down.answers(SinkAnswer::Taken);
    sleep(HOUR).await;
    assert_eq!(down.words(), ["store.failing", "store.recovered"]);
    let ids = |taken: &[Notice]| taken.iter().map(|notice| notice.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(ids(&well.taken()), ids(&down.taken()), "one fact has one id at every sink");
}
