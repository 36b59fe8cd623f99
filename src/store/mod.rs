//! Stores grants with sealed tokens and the time at which each is due.
//!
//! [`GrantCommands`] changes grants, [`GrantQueries`] reads them, and [`StoreMetadata`] holds what the store knows of itself.
//! [`sqlite`] and [`memory`] implement them, and one test suite runs against both. A store reads and
//! writes domain types and makes no decisions about refreshes.

mod answer;
mod api_keys;
pub mod backlog;
pub mod claim;
mod commands;
mod error;
pub mod history;
mod imported_token;
pub mod key_file;
pub mod memory;
mod metadata;
pub mod outbox;
mod postponed;
mod queries;
mod removal;
pub mod seal;
pub mod sqlite;

pub use crate::store::answer::BatchPosition;
pub use crate::store::answer::Committed;
pub use crate::store::answer::GrantUpdate;
pub use crate::store::answer::Saved;
pub use crate::store::answer::StoreFuture;
pub use crate::store::api_keys::KeyStore;
pub use crate::store::backlog::BacklogCounts;
pub use crate::store::backlog::BacklogRequest;
pub use crate::store::claim::Claim;
pub use crate::store::claim::ClaimOrder;
pub use crate::store::claim::ClaimRequest;
pub use crate::store::claim::Claims;
pub use crate::store::claim::Fence;
pub use crate::store::claim::Lease;
pub use crate::store::commands::GrantCommands;
pub use crate::store::error::StoreError;
pub use crate::store::imported_token::ImportedToken;
pub use crate::store::metadata::MetaKey;
pub use crate::store::metadata::StoreMetadata;
pub use crate::store::queries::GrantQueries;
pub use crate::store::removal::Removal;

/// All that a store does with grants, and with what it stores about itself.
pub trait Store: GrantCommands + GrantQueries + StoreMetadata {}

impl<S: GrantCommands + GrantQueries + StoreMetadata> Store for S {}
