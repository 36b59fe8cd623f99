//! The transport to Webex, with faults and the invariant checker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::webex::transport::Payload;
use webex_tokend::webex::transport::RawResponse;
use webex_tokend::webex::transport::ResponseError;
use webex_tokend::webex::transport::Transport;
use webex_tokend::webex::transport::WebexRequest;

use crate::simulation::env::SimEnv;
use crate::simulation::invariants::calls::CallKind;
use crate::support::virtual_time::ModelTransport;

/// The limit of the real client.
const BODY_MAX: usize = 1024 * 1024;

pub(super) struct SimTransport {
    pub(super) transport: ModelTransport,
    pub(super) env: Arc<SimEnv>,
}

impl Transport for SimTransport {
    fn send(
        &self,
        call: WebexRequest,
    ) -> Pin<Box<dyn Future<Output = Result<RawResponse, ResponseError>> + Send + '_>> {
        Box::pin(async move {
            self.env.crash.step().await;
            let asked = asked(&call);
            let person = self.env.checker().person_asked_for(&asked);
            let injected = self.fault_for_call(person, &asked);
            let visit = self.env.checker().sent(&asked, injected.is_some());
            let _leave = SimCallGuard { env: &self.env, visit };
            let sent_at = self.env.clock.true_time();
            let result = self.transport.send(call).await.and_then(short_enough);
            // The response has arrived, but the daemon has not seen it.
            self.env.crash.step().await;
            self.env.checker().answered(&asked, sent_at, injected.as_ref(), &result);
            result
        })
    }
}

impl SimTransport {
    /// Makes the model fail exactly the next request.
    fn fault_for_call(&self, person: Option<usize>, asked: &CallKind) -> Option<FaultKind> {
        // The browser's requests and `people/me` are not the focus here, so they get few faults.
        let kind = self.env.faults().fault_for_call(person, self.env.clock.true_time())?;
        let personal = matches!(kind, FaultKind::Status400Dead(_) | FaultKind::TokenLimit);
        if personal && !matches!(asked, CallKind::Refresh(_)) {
            return None;
        }
        let fault = Fault { on: Endpoint::Any, person: None, times: Some(1), kind: kind.clone() };
        self.env.model().fault(fault);
        Some(kind)
    }
}

struct SimCallGuard<'a> {
    env: &'a SimEnv,
    visit: Option<u64>,
}

impl Drop for SimCallGuard<'_> {
    fn drop(&mut self) {
        if let Some(visit) = self.visit {
            // Not `checker()`: when the runtime is gone, so is its clock.
            self.env.checker.lock().unwrap().left(visit);
        }
    }
}

fn asked(call: &WebexRequest) -> CallKind {
    let Payload::Form(fields) = &call.payload else { return CallKind::Other };
    let field =
        |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.expose().to_owned());
    match (field("refresh_token"), field("code")) {
        (Some(token), _) => CallKind::Refresh(token),
        (None, Some(code)) => CallKind::Exchange(code),
        (None, None) => CallKind::Other,
    }
}

fn short_enough(raw: RawResponse) -> Result<RawResponse, ResponseError> {
    if raw.body.len() > BODY_MAX { Err(ResponseError("the answer is too long".to_owned())) } else { Ok(raw) }
}
