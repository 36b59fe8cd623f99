//! The store: one contract for every implementation, and behaviour of files.

/// A test that runs on both stores: `both_stores!(name_of_the_test, async |store: Arc<dyn Store>| { … });`.
macro_rules! both_stores {
    ($name:ident, $test:expr $(,)?) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn memory() {
                let test = $test;
                test(std::sync::Arc::new(webex_tokend::store::memory::MemoryStore::new())).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let store_dir = crate::store::fixtures::StoreDir::new();
                let test = $test;
                test(std::sync::Arc::new(store_dir.open())).await;
            }
        }
    };
}

mod api_keys;
mod backlog;
mod backups;
mod batch_updates;
mod child_process;
mod claims;
mod consents;
mod damaged_outbox;
mod deliveries;
pub(crate) mod fixtures;
mod grant_cache;
mod lists;
mod model;
mod outbox;
mod outbox_dates;
mod people;
mod published_events;
mod restored_backups;
mod shrinking;
mod sqlite_faults;
mod sqlite_files;
mod sqlite_open_errors;
mod sqlite_secrets;
