//! The daemon's services in memory, in virtual time, with a scripted Webex.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::runtime::Runtime;
use webex_tokend::clock::Clock;
use webex_tokend::consent::ConsentError;
use webex_tokend::consent::ConsentService;
use webex_tokend::consent::Granted;
use webex_tokend::domain::schedule::Policy;
use webex_tokend::domain::secret::Secret;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::service_context::ServiceContext;
use webex_tokend::store::memory::MemoryStore;
use webex_tokend::store::seal::Sealer;
use webex_tokend::webex::Integration;
use webex_tokend::webex::Webex;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::ResponseError;
use webex_tokend::webex::transport::Transport;
use webex_tokend::webex::transport::WebexRequest;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) const NOW: UnixTime = UnixTime(1_790_000_000_000);

pub(super) const POLICY: Policy = Policy {
    sleep: Duration::from_secs(3600),
    max_age: Duration::from_secs(86_400),
    noop_window: Duration::from_secs(86_400),
    floor: Duration::from_secs(300),
};

/// Unlike anything that a program writes. Seeds contain it in place of secrets.
pub(super) const SECRET_MARK: &str = "Zq7s3cr3tXw9_PF84_4f1bd9a2c7e84d0f";

/// A clock that does not move.
pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> UnixTime {
        NOW
    }
}

/// Webex's response to a request; `None` for no response.
pub(super) type TransportScript = Box<dyn Fn(&WebexRequest) -> Option<RawResponse> + Send + Sync>;

/// Stands in for Webex.
pub(super) struct ScriptedTransport {
    script: TransportScript,
    calls: Mutex<usize>,
}

impl ScriptedTransport {
    pub(super) fn new(script: TransportScript) -> Arc<Self> {
        Arc::new(Self { script, calls: Mutex::new(0) })
    }
}

impl Transport for ScriptedTransport {
    fn send(
        &self,
        call: WebexRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>> {
        *self.calls.lock().unwrap() += 1;
        let said = (self.script)(&call).ok_or_else(|| ResponseError("no response".to_owned()));
        Box::pin(async move { said })
    }
}

pub(super) fn webex(transport: Arc<ScriptedTransport>) -> Webex {
    let integration = Integration {
        client_id: "C1".to_owned(),
        client_secret: Secret::new(format!("client-{SECRET_MARK}")),
        redirect_uri: "https://localhost:8000/oauth".to_owned(),
        scopes: vec!["spark:all".to_owned()],
        base: "https://webex.example/v1".to_owned(),
    };
    Webex::new(integration, transport, Arc::new(FixedClock))
}

/// A runtime with paused time: waits take no real time.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Consents with a Webex that does not answer.
pub(super) struct InMemoryConsents {
    pub(super) consents: ConsentService,
    transport: Arc<ScriptedTransport>,
    runtime: Runtime,
}

impl InMemoryConsents {
    pub(super) fn new() -> Self {
        let transport = ScriptedTransport::new(Box::new(|_| None));
        let store = Arc::new(MemoryStore::new());
        let context =
            ServiceContext::new(store, Arc::new(webex(transport.clone())), Arc::new(FixedClock), POLICY);
        let consents = ConsentService::new(context, Arc::new(Sealer::new(&[7; 32]).unwrap()));
        Self { consents, transport, runtime: runtime() }
    }

    pub(super) fn finish(&self, state: String, sealed: Option<&str>) -> Result<Granted, ConsentError> {
        let code = Secret::new("a code".to_owned());
        self.runtime.block_on(self.consents.finish(code, Secret::new(state), sealed, None))
    }

    /// Number of requests to Webex.
    pub(super) fn calls(&self) -> usize {
        *self.transport.calls.lock().unwrap()
    }
}
