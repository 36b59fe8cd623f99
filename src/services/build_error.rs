//! Why the services cannot be built.

use std::io;
use std::path::PathBuf;

use crate::store::StoreError;
use crate::webex::transport::TransportError;

/// Why the services cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The HTTP client for Webex cannot be built.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A file that a setting names cannot be read.
    #[error("{0} {path}: {error}", path = .1.display(), error = .2)]
    File(&'static str, PathBuf, io::Error),
    /// The system has no random bytes.
    #[error("the system has no random bytes")]
    NoRandom,
}

impl BuildError {
    /// Whether another process holds the store's lock.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Store(StoreError::InUse(_)))
    }
}
