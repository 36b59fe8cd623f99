//! The way to Webex, with the weather on it and the witness beside it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;
use webex_tokend::webex::transport::Call;
use webex_tokend::webex::transport::NoAnswer;
use webex_tokend::webex::transport::Payload;
use webex_tokend::webex::transport::Raw;
use webex_tokend::webex::transport::Transport;

use crate::simulation::env::Stage;
use crate::simulation::invariants::calls::Asked;
use crate::support::virtual_time::Wire;

/// The real client takes no more.
const BODY_MAX: usize = 1024 * 1024;

pub(super) struct Line {
    pub(super) wire: Wire,
    pub(super) stage: Arc<Stage>,
}

impl Transport for Line {
    fn send(&self, call: Call) -> Pin<Box<dyn Future<Output = Result<Raw, NoAnswer>> + Send + '_>> {
        Box::pin(async move {
            self.stage.fuse.step().await;
            let asked = asked(&call);
            let person = self.stage.witness().person_asked_for(&asked);
            let struck = self.strike(person, &asked);
            let visit = self.stage.witness().sent(&asked, struck.is_some());
            let _leave = Leave { stage: &self.stage, visit };
            let sent_at = self.stage.clock.true_time();
            let came = self.wire.send(call).await.and_then(short_enough);
            // The answer is here, but nobody has seen it.
            self.stage.fuse.step().await;
            self.stage.witness().answered(&asked, sent_at, struck.as_ref(), &came);
            came
        })
    }
}

impl Line {
    /// Lets the model spoil exactly the call that comes next.
    fn strike(&self, person: Option<usize>, asked: &Asked) -> Option<FaultKind> {
        // The browser's and `people/me`'s part is not what is looked at here: a little of it is enough.
        let kind = self.stage.weather().strike(person, self.stage.clock.true_time())?;
        let personal = matches!(kind, FaultKind::Status400Dead(_) | FaultKind::TokenLimit);
        if personal && !matches!(asked, Asked::Refresh(_)) {
            return None;
        }
        let fault = Fault { on: Endpoint::Any, person: None, times: Some(1), kind: kind.clone() };
        self.stage.model().fault(fault);
        Some(kind)
    }
}

struct Leave<'a> {
    stage: &'a Stage,
    visit: Option<u64>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if let Some(visit) = self.visit {
            // Not `witness()`: when the runtime is gone, its clock is, too.
            self.stage.witness.lock().unwrap().left(visit);
        }
    }
}

fn asked(call: &Call) -> Asked {
    let Payload::Form(fields) = &call.payload else { return Asked::Other };
    let field =
        |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.expose().to_owned());
    match (field("refresh_token"), field("code")) {
        (Some(token), _) => Asked::Refresh(token),
        (None, Some(code)) => Asked::Exchange(code),
        (None, None) => Asked::Other,
    }
}

fn short_enough(raw: Raw) -> Result<Raw, NoAnswer> {
    if raw.body.len() > BODY_MAX { Err(NoAnswer("the answer is too long".to_owned())) } else { Ok(raw) }
}
