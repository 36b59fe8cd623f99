//! Builds all services from the settings: for the daemon, and for a command that runs without a daemon.

pub mod doctor;
pub mod http_server;
pub mod signals;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

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
use crate::http::server::certificate::read_pem;
use crate::notices;
use crate::notices::Notices;
use crate::refresh;
use crate::refresh::RefreshService;
use crate::store::KeyStore;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::history::HistoryStore;
use crate::store::memory::MemoryStore;
use crate::store::outbox::OutboxStore;
use crate::store::seal::Sealer;
use crate::store::sqlite::SqliteStore;
use crate::tasks::Tasks;
use crate::tasks::Wake;
use crate::webex::Webex;
use crate::webex::transport::HttpTransport;
use crate::webex::transport::Transport;
use crate::webex::transport::TransportError;

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
        let webex =
            Arc::new(Webex::new(config.integration.clone(), Arc::new(transport(config)?), clock.clone()));
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
        let carrier: Arc<dyn Transport> = Arc::new(webhook_transport(config)?);
        let sinks = config.notices.sinks(&parts, &carrier, &config.http.operator);
        let notices = Arc::new(Notices::new(parts, sinks));
        let refresher = RefreshService::new(refresh::RefreshServiceParts {
            webex,
            store: opened.store.clone(),
            policy: config.policy,
            pace: config.pace,
            clock: clock.clone(),
            view: view.clone(),
            owner: owner_name()?,
            tasks: tasks.clone(),
        });
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

fn transport(config: &Config) -> Result<HttpTransport, BuildError> {
    let roots = roots(config)?;
    let roots = roots.as_ref().map(|pem| pem.as_slice());
    let plain = config.integration.base.starts_with("http:");
    Ok(HttpTransport::new(&config.user_agent, roots, plain, config.proxy.as_ref())?)
}

/// A way to the receiver of webhooks, which need not be where Webex is.
fn webhook_transport(config: &Config) -> Result<HttpTransport, BuildError> {
    let roots = roots(config)?;
    let roots = roots.as_ref().map(|pem| pem.as_slice());
    let webhook = config.notices.webhook.as_ref();
    let plain = webhook.is_some_and(|webhook| webhook.url.expose().starts_with("http:"));
    // Without a receiver nothing is sent, and no roots need be there.
    let unused = webhook.is_none();
    Ok(HttpTransport::new(&config.user_agent, roots, plain || unused, config.proxy.as_ref())?)
}

fn roots(config: &Config) -> Result<Option<Zeroizing<Vec<u8>>>, BuildError> {
    let read =
        |path: &PathBuf| read_pem(path).map_err(|e| BuildError::File("WEBEX_CA_FILE", path.clone(), e));
    config.ca_file.as_ref().map(read).transpose()
}

/// A name unique to this process, which distinguishes its claims from those of other processes.
fn owner_name() -> Result<String, BuildError> {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).map_err(|_| BuildError::NoRandom)?;
    Ok(format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(bytes)))
}
