//! The embedded store: SQLite in WAL mode with `synchronous=FULL`, on threads of its own.
//!
//! One writer commits all queued changes in one transaction. A few readers run the queries. Async code only sends them work
//! and waits for the answer.

mod api_keys;
mod backlog;
mod canary;
mod claim_queue;
mod claims;
mod context;
#[cfg(test)]
mod costs;
mod errors;
mod file_identity;
mod generation;
mod health;
mod history;
mod import_marks;
mod job;
mod list;
mod macs;
mod meta;
mod migrations;
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
