//! The services and the state that the API's handlers share.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;

use crate::api_keys::ApiKeys;
use crate::api_types::Finding;
use crate::clock::Clock;
use crate::consent::ConsentService;
use crate::domain::grant::Grant;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::grant_cache::GrantCache;
use crate::health::Health;
use crate::http::api::budget::RefreshBudget;
use crate::http::api::list_limit::ListLimit;
use crate::http::api::subscribers::SubscriberLimit;
use crate::http::dashboard::sessions::DashboardSessions;
use crate::http::response::api_error::ApiError;
use crate::http::server::tls::ServedCertificate;
use crate::notices::Notices;
use crate::refresh::RefreshService;
use crate::tasks::Tasks;

/// Examines settings, files, store and Webex. It takes as long as Webex takes to respond.
pub type RunDoctor = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Finding>> + Send>> + Send + Sync>;

/// The services that requests use: those of the daemon without the store and the client for Webex, which `http` does not
/// import.
#[derive(Clone)]
pub struct ApiServices {
    /// Begins and completes consents.
    pub consents: Arc<ConsentService>,
    /// Refreshes on demand.
    pub refresher: Arc<RefreshService>,
    /// Grants, as callers see them.
    pub cache: Arc<GrantCache>,
    /// API keys.
    pub keys: Arc<ApiKeys>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// When refreshes are due.
    pub policy: Policy,
    /// Readiness.
    pub health: Health,
    /// Runs work that must be completed even if the caller disconnects.
    pub tasks: Tasks,
    /// The redirect URI, where consents also begin.
    pub redirect_uri: String,
    /// Examines all of this for problems.
    pub run_doctor: RunDoctor,
    /// What is told, and what happened.
    pub notices: Arc<Notices>,
}

/// The API. Clones share it, and the dashboard's sessions with it.
#[derive(Clone)]
pub struct Api(pub(super) Arc<ApiServices>, pub(super) Arc<ApiState>);

/// The API's own state, in memory only.
pub(super) struct ApiState {
    sessions: DashboardSessions,
    listeners: SubscriberLimit,
    pub(super) budget: RefreshBudget,
    pub(super) lists: ListLimit,
    /// Set if this process serves a certificate.
    pub(super) certificate: OnceLock<ServedCertificate>,
    /// When the process started.
    pub(super) started_at: UnixTime,
}

impl Api {
    /// Creates the API from these services.
    #[must_use]
    pub fn new(services: ApiServices) -> Self {
        let started_at = services.clock.now();
        let sessions =
            DashboardSessions::new(services.keys.clone(), services.clock.clone(), &services.redirect_uri);
        let budget = RefreshBudget::new(services.refresher.configured_limits());
        let (listeners, certificate) = (SubscriberLimit::default(), OnceLock::new());
        let lists = ListLimit::default();
        let own = ApiState { sessions, listeners, budget, lists, certificate, started_at };
        Self(Arc::new(services), Arc::new(own))
    }

    /// Adds the certificate that is served beside the API, so that the status shows it.
    #[must_use]
    pub fn serving(self, certificate: Option<ServedCertificate>) -> Self {
        if let Some(certificate) = certificate {
            // It is set once, before the API is served.
            let _ = self.1.certificate.set(certificate);
        }
        self
    }

    pub(in crate::http) fn services(&self) -> &ApiServices {
        &self.0
    }

    pub(in crate::http) fn sessions(&self) -> &DashboardSessions {
        &self.1.sessions
    }

    pub(super) fn subscribers(&self) -> &SubscriberLimit {
        &self.1.listeners
    }

    /// Where this person can consent again.
    pub(in crate::http) fn consent_url(&self, grant: &Grant) -> String {
        self.0.consents.consent_url(&grant.person)
    }

    /// Completes `work` even if the caller disconnects, because a durable change must also become visible to
    /// readers.
    pub(in crate::http) async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.0.tasks.spawn(name, work).await.map_err(|broken| {
            log::error!("the task {name:?} failed: {broken}");
            ApiError::Broken
        })
    }
}
