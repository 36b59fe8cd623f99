//! What the refresh service is built from.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::schedule::Policy;
use crate::grant_cache::GrantCache;
use crate::refresh::rate_limit::RateLimits;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::webex::Webex;

/// What a refresher needs.
pub struct RefreshServiceParts {
    /// The client for Webex.
    pub webex: Arc<Webex>,
    /// Stores the results.
    pub store: Arc<dyn Store>,
    /// Plans the next refresh.
    pub policy: Policy,
    /// Limits how many refreshes run at once and how many start per second.
    pub pace: RateLimits,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The cache of grants, which learns of every stored result.
    pub view: Arc<GrantCache>,
    /// The name of this process in claims.
    pub owner: String,
    /// Runs refreshes on demand. When it stops, retries of commits end.
    pub tasks: Tasks,
}
