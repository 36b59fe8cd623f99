//! One process of the daemon: its services, on the store that the previous one left.

use std::sync::Arc;

use tokio::task::JoinHandle;
use webex_tokend::consent::ConsentService;
use webex_tokend::refresh::EventLoop;
use webex_tokend::refresh::RefreshService;
use webex_tokend::service_context::ServiceContext;
use webex_tokend::store::Store;
use webex_tokend::store::seal::Sealer;
use webex_tokend::tasks::Tasks;
use webex_tokend::webex::Webex;

use crate::simulation::env::SimEnv;
use crate::simulation::faulty_store::SimStore;
use crate::simulation::faulty_transport::SimTransport;
use crate::simulation::scenario::Scenario;
use crate::support::virtual_time::ModelTransport;
use crate::support::virtual_time::integration;

#[derive(Clone)]
pub(super) struct DaemonProcess {
    pub(super) env: Arc<SimEnv>,
    pub(super) consents: Arc<ConsentService>,
    pub(super) refresher: Arc<RefreshService>,
    pub(super) tasks: Tasks,
}

impl DaemonProcess {
    /// Builds the services as `services` and `daemon` do.
    pub(super) fn open(
        env: &Arc<SimEnv>,
        scenario: &Scenario,
        inner: Arc<dyn Store>,
        start: u32,
        refresh_all: bool,
    ) -> (Self, JoinHandle<()>) {
        let skips = scenario.skips.then_some(scenario.policy.sleep);
        let store: Arc<dyn Store> = Arc::new(SimStore::new(inner, env.clone(), skips));
        let transport = ModelTransport { model: env.model.clone(), clock: env.clock.clone() };
        let line = SimTransport { transport, env: env.clone() };
        let webex = Arc::new(Webex::new(integration(&scenario.webex), Arc::new(line), env.clock.clone()));
        let context = ServiceContext::new(store, webex, env.clock.clone(), scenario.policy);
        let sealer = Arc::new(Sealer::new(&[1; 32]).unwrap());
        let consents = Arc::new(ConsentService::new(context.clone(), sealer));
        let tasks = context.tasks.clone();
        let refresher = RefreshService::new(context, scenario.pace, format!("start {start}"));
        let refresher = Arc::new(refresher.with_catch_up(scenario.catch_up));
        let event_loop = EventLoop::new(refresher.clone());
        let process = Self { env: env.clone(), consents, refresher: refresher.clone(), tasks };
        let looping = process.tasks.spawn("event loop", async move {
            // A failure is logged, and the loop runs anyway, as in `daemon`.
            let _ = refresher.prepare(refresh_all).await;
            event_loop.run().await;
        });
        (process, looping)
    }
}
