//! Builds all services from the settings: for the daemon, and for a command that runs without a daemon.

mod build_error;
pub mod doctor;
pub mod http_server;
pub mod signals;
mod transports;

use std::sync::Arc;

use aws_lc_rs::rand;

use crate::api_keys::ApiKeys;
use crate::clock::Clock;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::StoreConfig;
use crate::consent::ConsentService;
use crate::health::Health;
use crate::http::api::ApiServices;
use crate::http::api::RunDoctor;
use crate::notices::Notices;
use crate::refresh::RefreshService;
use crate::service_context::ServiceContext;
use crate::services::transports::transport;
use crate::services::transports::webhook_transport;
use crate::store::KeyStore;
use crate::store::Store;
use crate::store::history::HistoryStore;
use crate::store::memory::MemoryStore;
use crate::store::outbox::OutboxStore;
use crate::store::seal::Sealer;
use crate::store::sqlite::SqliteStore;
use crate::webex::Webex;
use crate::webex::transport::Transport;

pub use crate::services::build_error::BuildError;

/// All services.
pub struct Services {
    /// The services that the daemon runs and that API handlers use.
    pub api: ApiServices,
    /// The stored grants.
    pub store: Arc<dyn Store>,
}

impl Services {
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
        let context = ServiceContext::new(opened.store, webex, clock, config.policy);
        let consents = ConsentService::new(context.clone(), opened.sealer)
            .with_space(config.space.clone())
            .for_persons(config.allow.clone())
            .with_refresh_pause(Some(config.pace.per_second).filter(|rate| *rate > 0.0));
        let sinks = config.notices.sinks(&context, &opened.outbox, &to_webhook, &config.http.operator);
        let notices = Notices::new(context.clone(), opened.outbox, opened.history, sinks);
        notices.publish_to(context.cache.shared_events());
        let refresher = RefreshService::new(context.clone(), config.pace, owner_name()?)
            .with_catch_up(config.catch_up_per_second);
        if let Err(why) = refresher.load_breaker().await {
            log::warn!("cannot read whether refreshes paused before this start: {why}");
        }
        let health = Health::new(context.store.clone(), refresher.pending_commits().clone());
        let api = ApiServices {
            consents: Arc::new(consents),
            refresher: Arc::new(refresher),
            cache: context.cache,
            keys: Arc::new(ApiKeys::load(opened.keys, context.clock.clone()).await?),
            clock: context.clock,
            policy: context.policy,
            run_doctor: run_doctor(config, &health),
            health,
            tasks: context.tasks,
            redirect_uri: config.integration.redirect_uri.clone(),
            notices: Arc::new(notices),
        };
        Ok(Self { api, store: context.store })
    }
}

/// The checks of `doctor` in the daemon.
fn run_doctor(config: &Config, health: &Health) -> RunDoctor {
    let (config, health) = (Arc::new(config.clone()), health.clone());
    Arc::new(move || {
        let (config, health) = (config.clone(), health.clone());
        Box::pin(async move { doctor::daemon(&config, &health).await })
    })
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
