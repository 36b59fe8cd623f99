//! The types of a store's answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::domain::grant::Grant;
use crate::store::error::StoreError;

/// The future of a store's answer.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Changes a grant in place and answers whether it did. May be called again for the same grant. See
/// [`update_batch`](crate::store::GrantCommands::update_batch).
pub type GrantUpdate = Arc<dyn Fn(&mut Grant) -> bool + Send + Sync>;

/// The result of storing a consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The person had no grant before.
    New,
    /// The grant replaced the person's older one.
    Replaced,
    /// The grant was not stored, because the person's stored grant is newer.
    Older,
    /// The imported grant was not stored, because the person's stored grant covers it.
    Kept,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The change is stored.
    Kept,
    /// A consent, another claim or a removal came first. Nothing was changed.
    Superseded,
}

/// Where [`update_batch`](crate::store::GrantCommands::update_batch) continues. The default is the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchPosition(pub i64);
