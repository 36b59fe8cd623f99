//! A store whose calls fail or are delayed as a test scripts it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;
use webex_tokend::domain::person::PersonId;
use webex_tokend::store::Claims;
use webex_tokend::store::Store;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreFuture;
use webex_tokend::store::memory::MemoryStore;

use crate::support::intercept_store::Intercept;
use crate::support::intercept_store::InterceptedStore;
use crate::support::intercept_store::StoreOp;

/// Every operation that writes.
pub(crate) const WRITES: [StoreOp; 10] = [
    StoreOp::SaveConsent,
    StoreOp::ClaimDue,
    StoreOp::ClaimOne,
    StoreOp::Commit,
    StoreOp::GiveBack,
    StoreOp::UpdatePerson,
    StoreOp::Forget,
    StoreOp::Revise,
    StoreOp::Settle,
    StoreOp::Remember,
];

/// Operations on meta values.
pub(crate) const META_OPS: [StoreOp; 2] = [StoreOp::Recall, StoreOp::Remember];

/// The fault of one call.
#[derive(Clone, Debug)]
pub(crate) enum StoreFault {
    None,
    /// It does nothing and returns this error.
    Fail(StoreError),
    /// It does its work; the reply is delayed.
    DelayReply(Duration),
    /// It does its work after a delay.
    DelayCall(Duration),
    /// Claimed records cannot be opened.
    Unreadable,
    /// It panics.
    Panic,
}

type Script = Box<dyn FnMut(StoreOp, Option<&PersonId>) -> StoreFault + Send>;

pub(crate) struct FaultScript {
    script: Mutex<Script>,
    asked: Mutex<BTreeMap<StoreOp, u64>>,
}

/// Without faults until a test scripts them.
pub(crate) type FaultyStore = InterceptedStore<FaultScript>;

impl FaultyStore {
    /// In memory.
    pub(crate) fn new() -> Arc<Self> {
        Self::with_store(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn with_store(store: Arc<dyn Store>) -> Arc<Self> {
        let script =
            FaultScript { script: Mutex::new(Box::new(|_, _| StoreFault::None)), asked: Mutex::default() };
        Arc::new(Self { store, intercept: script })
    }

    /// From now on `script` decides the fault of each call.
    pub(crate) fn script(
        &self,
        script: impl FnMut(StoreOp, Option<&PersonId>) -> StoreFault + Send + 'static,
    ) {
        *self.intercept.script.lock().unwrap() = Box::new(script);
    }

    /// From now on these operations fail, and no others.
    pub(crate) fn fail(&self, ops: &[StoreOp], why: StoreError) {
        let ops = ops.to_vec();
        self.script(
            move |op, _| if ops.contains(&op) { StoreFault::Fail(why.clone()) } else { StoreFault::None },
        );
    }

    pub(crate) fn recover(&self) {
        self.script(|_, _| StoreFault::None);
    }

    /// How often these operations were called, with or without success.
    pub(crate) fn asked(&self, ops: &[StoreOp]) -> u64 {
        let asked = self.intercept.asked.lock().unwrap();
        ops.iter().filter_map(|op| asked.get(op)).sum()
    }
}

impl Intercept for FaultScript {
    fn intercept<'a, T: Any + Send>(
        &'a self,
        op: StoreOp,
        person: Option<&PersonId>,
        work: impl FnOnce() -> StoreFuture<'a, T> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        *self.asked.lock().unwrap().entry(op).or_default() += 1;
        let fault = (self.script.lock().unwrap())(op, person);
        match fault {
            StoreFault::None => work(),
            StoreFault::Fail(why) => Box::pin(std::future::ready(Err(why))),
            StoreFault::DelayReply(by) => Box::pin(async move {
                let came = work().await;
                sleep(by).await;
                came
            }),
            StoreFault::DelayCall(by) => Box::pin(async move {
                sleep(by).await;
                work().await
            }),
            StoreFault::Unreadable => Box::pin(async move {
                let mut came = work().await?;
                if let Some(claims) = (&mut came as &mut dyn Any).downcast_mut::<Claims>() {
                    let persons = claims.claims.drain(..).map(|claim| claim.grant.person.id);
                    claims.unreadable.extend(persons);
                }
                Ok(came)
            }),
            StoreFault::Panic => panic!("scripted by the test"),
        }
    }
}
