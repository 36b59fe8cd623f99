//! Builds all services from the settings: for the daemon, and for a command that runs without a daemon.

mod build_error;
pub mod doctor;
pub mod http_server;
pub mod signals;
mod transports;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::rand;

use crate::api_keys::ApiKeys;
use crate::api_types::Finding;
use crate::clock::Clock;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::StoreConfig;
use crate::consent;
use crate::consent::ConsentService;
use crate::grant_cache::GrantCache;
use crate::health::Health;
use crate::http::api;
use crate::http::api::Api;
use crate::notices;
use crate::notices::Notices;
use crate::refresh;
use crate::refresh::RefreshService;
use crate::services::transports::transport;
use crate::services::transports::webhook_transport;
use crate::store::KeyStore;
use crate::store::Store;
use crate::store::history::HistoryStore;
use crate::store::memory::MemoryStore;
use crate::store::outbox::OutboxStore;
use crate::store::seal::Sealer;
use crate::store::sqlite::SqliteStore;
use crate::tasks::Tasks;
use crate::tasks::Wake;
use crate::webex::Webex;
use crate::webex::transport::Transport;

pub use crate::services::build_error::BuildError;

/// All services, and the handles to run and stop them.
pub struct Services {
    /// Starts and finishes consents.
    pub consents: Arc<ConsentService>,
    /// Refreshes tokens, by the event loop and on demand.
    pub refresher: Arc<RefreshService>,
    /// The cache of grants.
    pub view: Arc<GrantCache>,
    /// API keys.
    pub keys: Arc<ApiKeys>,
    /// The readiness check.
    pub health: Health,
    /// The stored grants.
    pub store: Arc<dyn Store>,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// All tasks of the services.
    pub tasks: Tasks,
    /// Wakes the event loop.
    pub wake: Wake,
    /// What is told, and to which sinks.
    pub notices: Arc<Notices>,
}

impl Services {
    /// The API of these services.
    #[must_use]
    pub fn api(&self, config: &Config) -> Api {
        let (examined, health) = (Arc::new(config.clone()), self.health.clone());
        let examine = move || -> Pin<Box<dyn Future<Output = Vec<Finding>> + Send>> {
            let (config, health) = (examined.clone(), health.clone());
            Box::pin(async move { doctor::daemon(&config, &health).await })
        };
        Api::new(api::ApiParts {
            consents: self.consents.clone(),
            refresher: self.refresher.clone(),
            view: self.view.clone(),
            keys: self.keys.clone(),
            clock: self.clock.clone(),
            policy: config.policy,
            health: self.health.clone(),
            tasks: self.tasks.clone(),
            redirect_uri: config.integration.redirect_uri.clone(),
            examine: Arc::new(examine),
            notices: self.notices.clone(),
        })
    }

    /// Opens the store, which locks it for this process, and builds the services on it.
    ///
    /// # Errors
    /// When the store, a file or the HTTP client cannot be opened. Nothing is changed then.
    pub async fn build(config: &Config) -> Result<Self, BuildError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opened = open_store(config, &*clock)?;
        let to_webex = transport(config)?;
        let to_webhook: Arc<dyn Transport> = Arc::new(webhook_transport(config, &to_webex)?);
        let webex = Arc::new(Webex::new(config.integration.clone(), Arc::new(to_webex), clock.clone()));
        let (tasks, wake, view) =
            (Tasks::new(), Wake::new(), Arc::new(GrantCache::new(opened.store.clone())));
        let consents = ConsentService::new(consent::ConsentServiceParts {
            webex: webex.clone(),
            store: opened.store.clone(),
            sealer: opened.sealer,
            policy: config.policy,
            clock: clock.clone(),
            view: view.clone(),
            wake: wake.clone(),
        })
        .with_space(config.space.clone())
        .for_persons(config.allow.clone())
        .with_refresh_pause(Some(config.pace.per_second).filter(|rate| *rate > 0.0));
        let parts = notices::Parts {
            outbox: opened.outbox,
            history: opened.history,
            grants: opened.store.clone(),
            webex: webex.clone(),
            clock: clock.clone(),
        };
        let sinks = config.notices.sinks(&parts, &to_webhook, &config.http.operator);
        let notices = Arc::new(Notices::new(parts, sinks));
        notices.publish_to(view.shared_events());
        let refresher = RefreshService::new(refresh::RefreshServiceParts {
            webex,
            store: opened.store.clone(),
            policy: config.policy,
            pace: config.pace,
            clock: clock.clone(),
            view: view.clone(),
            owner: owner_name()?,
            tasks: tasks.clone(),
        })
        .with_catch_up(config.catch_up_per_second);
        if let Err(why) = refresher.load_breaker().await {
            log::warn!("cannot read whether refreshes paused before this start: {why}");
        }
        Ok(Self {
            consents: Arc::new(consents),
            health: Health::new(opened.store.clone(), refresher.pending_commits().clone()),
            refresher: Arc::new(refresher),
            view,
            keys: Arc::new(ApiKeys::load(opened.keys, clock.clone()).await?),
            store: opened.store,
            clock,
            tasks,
            wake,
            notices,
        })
    }
}

struct OpenedStore {
    store: Arc<dyn Store>,
    keys: Arc<dyn KeyStore>,
    outbox: Arc<dyn OutboxStore>,
    history: Arc<dyn HistoryStore>,
    sealer: Arc<Sealer>,
}

impl OpenedStore {
    fn new<S>(store: Arc<S>, sealer: Arc<Sealer>) -> Self
    where
        S: Store + KeyStore + OutboxStore + HistoryStore + 'static,
    {
        Self { keys: store.clone(), outbox: store.clone(), history: store.clone(), store, sealer }
    }
}

fn open_store(config: &Config, clock: &dyn Clock) -> Result<OpenedStore, BuildError> {
    match &config.store {
        StoreConfig::Memory => {
            log::warn!("the store is in memory: all grants are lost when the daemon stops");
            let store = Arc::new(MemoryStore::new());
            let sealer = Sealer::ephemeral().map_err(|_| BuildError::NoRandom)?;
            Ok(OpenedStore::new(store, Arc::new(sealer)))
        }
        StoreConfig::Sqlite { path, key_file } => {
            let (store, sealer) =
                SqliteStore::open(path, key_file, &config.integration.client_id, clock.now())?;
            Ok(OpenedStore::new(Arc::new(store), sealer))
        }
    }
}

/// A name unique to this process, which distinguishes its claims from those of other processes.
fn owner_name() -> Result<String, BuildError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| BuildError::NoRandom)?;
    Ok(format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(bytes)))
}
