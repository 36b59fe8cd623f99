//! The API: JSON about persons, tokens and keys. The same handlers serve TLS, the control socket and commands
//! that run without a daemon. The caller determines what is allowed.

mod budget;
mod dashboard_links;
mod doctor;
pub(super) mod events;
mod keys;
mod list_limit;
mod logins;
mod notices;
mod people;
mod plan;
mod request;
mod routes;
mod status;
pub(in crate::http) mod subscribers;
mod views;

use std::future::Future;
use std::sync::Arc;
use std::sync::OnceLock;

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::body::Bytes;
use hyper::body::Incoming;
use url::form_urlencoded::byte_serialize;

use crate::api_keys::ApiKeys;
use crate::clock::Clock;
use crate::consent::ConsentService;
use crate::domain::api_key::ApiKeyRecord;
use crate::domain::api_key::Right;
use crate::domain::grant::Grant;
use crate::domain::person::Email;
use crate::domain::person::PersonId;
use crate::domain::schedule::Policy;
use crate::domain::time::UnixTime;
use crate::grant_cache::GrantCache;
use crate::health::Health;
use crate::http::api::budget::RefreshBudget;
use crate::http::api::list_limit::ListLimit;
use crate::http::api::request::ApiRequest;
use crate::http::api::subscribers::SubscriberLimit;
use crate::http::api_error::ApiError;
use crate::http::dashboard::sessions::DashboardSessions;
use crate::http::request_body;
use crate::http::response;
use crate::http::server::listener::ResponseBody;
use crate::http::server::tls::ServedCertificate;
use crate::notices::Notices;
use crate::refresh::RefreshService;
use crate::tasks::Tasks;

pub use crate::http::api::doctor::RunDoctor;
pub(super) use crate::http::api::request::last_event;
pub use crate::http::api::routes::OPENAPI;
pub use crate::http::api::routes::PREFIX;
pub use crate::http::api::routes::surface;
pub use crate::http::api::status::breaker;

/// Maximum size of a body. The largest legitimate one creates a key for a few hundred persons.
pub const BODY_BYTES: usize = 64 * 1024;

/// Maximum time for a body to arrive.
pub const BODY_TIME: std::time::Duration = std::time::Duration::from_secs(10);

/// The services that the API uses.
pub struct ApiParts {
    /// Begins and completes consents.
    pub consents: Arc<ConsentService>,
    /// Refreshes on demand.
    pub refresher: Arc<RefreshService>,
    /// Grants, as callers see them.
    pub view: Arc<GrantCache>,
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
    pub examine: RunDoctor,
    /// What is told, and what happened.
    pub notices: Arc<Notices>,
}

/// The API. Clones share it, and the dashboard's sessions with it.
#[derive(Clone)]
pub struct Api(Arc<ApiParts>, Arc<ApiState>);

/// The API's own state, in memory only.
struct ApiState {
    sessions: DashboardSessions,
    listeners: SubscriberLimit,
    budget: RefreshBudget,
    lists: ListLimit,
    /// Set if this process serves a certificate.
    certificate: OnceLock<ServedCertificate>,
    /// When the process started.
    started_at: UnixTime,
}

/// The caller of a request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A process that may open the control socket or the store: the operator.
    Control,
    /// The holder of a key.
    Key(Arc<ApiKeyRecord>),
}

impl Caller {
    fn may(&self, right: Right) -> Result<(), ApiError> {
        match self {
            Self::Key(key) if !key.rights.allow(right) => Err(ApiError::Forbidden(format!(
                "This needs the right {}; the key has: {}.",
                right.as_str(),
                key.rights
            ))),
            _ => Ok(()),
        }
    }

    /// Fails for keys that are limited to some persons, because the request concerns all persons.
    fn require_unrestricted(&self) -> Result<(), ApiError> {
        match self.allowed_persons() {
            Some(_) => Err(ApiError::Forbidden(
                "The key is limited to some persons; this concerns all of them.".to_owned(),
            )),
            None => Ok(()),
        }
    }

    /// Fails for keys, because only the operator of the machine may do this.
    fn is_control(&self) -> Result<(), ApiError> {
        match self {
            Self::Key(_) => Err(ApiError::Forbidden("This is for the control socket only.".to_owned())),
            Self::Control => Ok(()),
        }
    }

    /// The persons to which the caller is limited.
    fn allowed_persons(&self) -> Option<&Vec<PersonId>> {
        match self {
            Self::Key(key) => key.persons.as_ref(),
            Self::Control => None,
        }
    }
}

impl Api {
    /// Creates the API from these services.
    #[must_use]
    pub fn new(parts: ApiParts) -> Self {
        let started_at = parts.clock.now();
        let sessions = DashboardSessions::new(parts.keys.clone(), parts.clock.clone(), &parts.redirect_uri);
        let budget = RefreshBudget::new(parts.refresher.pace());
        let (listeners, certificate) = (SubscriberLimit::default(), OnceLock::new());
        let lists = ListLimit::default();
        let own = ApiState { sessions, listeners, budget, lists, certificate, started_at };
        Self(Arc::new(parts), Arc::new(own))
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

    /// Handles one request to `/api/v1/…`; never fails.
    pub async fn handle(&self, request: Request<Bytes>, caller: Caller) -> Response<ResponseBody> {
        let head = request.method() == Method::HEAD;
        log::debug!("{} {}", request.method(), loggable_path(request.uri().path()));
        let answered = routes::dispatch(self, request, caller).await;
        let response = answered.unwrap_or_else(|why| response::api_error(&why));
        if head { response::head_of(response) } else { response }
    }

    pub(super) fn parts(&self) -> &ApiParts {
        &self.0
    }

    pub(super) fn sessions(&self) -> &DashboardSessions {
        &self.1.sessions
    }

    fn subscribers(&self) -> &SubscriberLimit {
        &self.1.listeners
    }

    /// Reads the body within its limits, then handles the request.
    pub(super) async fn handle_incoming(
        &self,
        request: Request<Incoming>,
        caller: Caller,
    ) -> Response<ResponseBody> {
        let (head, incoming) = request.into_parts();
        match request_body::read(incoming, BODY_BYTES, BODY_TIME).await {
            Ok(body) => self.handle(Request::from_parts(head, body), caller).await,
            Err(why) => response::api_error(&ApiError::Body(why)),
        }
    }

    /// Where this person can consent again.
    pub(super) fn consent_url(&self, grant: &Grant) -> String {
        let uri = &self.0.redirect_uri;
        match &grant.person.email {
            Some(email) => format!("{uri}?person={}", encoded(email)),
            None => uri.clone(),
        }
    }

    /// Completes `work` even if the caller disconnects, because a durable change must also become visible to
    /// readers.
    pub(super) async fn finish<T: Send + 'static>(
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

/// The path as it may be logged. The id of a login is cut off, because a client that knows it may consent
/// into the login.
fn loggable_path(path: &str) -> &str {
    path.find("/logins/").and_then(|at| path.get(..at + "/logins/".len())).unwrap_or(path)
}

fn encoded(email: &Email) -> String {
    byte_serialize(email.as_str().as_bytes()).collect()
}
