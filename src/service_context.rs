//! What the services share: the store, the client for Webex, the clock, the background tasks and the
//! notification that wakes the event loop.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::schedule::Policy;
use crate::grant_cache::GrantCache;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::tasks::Wake;
use crate::webex::Webex;

/// What consents, refreshes and notices share. Clones share the same services.
#[derive(Clone)]
pub struct ServiceContext {
    /// The stored grants.
    pub store: Arc<dyn Store>,
    /// The client for Webex.
    pub webex: Arc<Webex>,
    /// The cache of grants, which learns of every stored change.
    pub cache: Arc<GrantCache>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// Plans refreshes.
    pub policy: Policy,
    /// Runs work in the background. When it stops, nothing new begins, and retries end.
    pub tasks: Tasks,
    /// Wakes the event loop.
    pub wake: Wake,
}

impl ServiceContext {
    /// Creates a context with an empty cache over `store`, and without tasks.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, webex: Arc<Webex>, clock: Arc<dyn Clock>, policy: Policy) -> Self {
        let cache = Arc::new(GrantCache::new(store.clone()));
        Self { store, webex, cache, clock, policy, tasks: Tasks::new(), wake: Wake::new() }
    }
}
