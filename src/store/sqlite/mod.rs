//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, on threads of its own.
//!
//! One writer commits all queued changes in one transaction. A few readers run the queries. Async code only sends them work
//! and waits for the answer.

mod api_keys;
mod backlog;
mod context;
#[cfg(test)]
mod costs;
mod due_queue;
mod errors;
mod file_identity;
mod generation;
mod health;
mod history;
mod imports;
mod job;
mod list;
mod macs;
mod meta;
mod open;
mod outbox;
mod overview;
mod permissions;
mod persons;
mod queries;
mod readers;
mod rows;
mod search_index;
mod sqlite_store;
#[cfg(test)]
mod tests;
mod worker;

pub use crate::store::sqlite::sqlite_store::SqliteStore;
