//! What all processes of the simulated daemon share; it outlives each of them.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use webex_sim::Model;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::time::UnixTime;

use crate::simulation::crash::CrashPoint;
use crate::simulation::faults::FaultInjector;
use crate::simulation::invariants::InvariantChecker;
use crate::support::virtual_time::WallClock;

pub(super) struct SimEnv {
    pub(super) clock: Arc<WallClock>,
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) crash: CrashPoint,
    pub(super) faults: Mutex<FaultInjector>,
    pub(super) checker: Mutex<InvariantChecker>,
    /// When the driver acts next: no idle sleep is shortened beyond it.
    pub(super) next_event: Mutex<UnixTime>,
}

impl SimEnv {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(super) fn faults(&self) -> MutexGuard<'_, FaultInjector> {
        self.faults.lock().unwrap()
    }

    /// The checker, with the current time.
    pub(super) fn checker(&self) -> MutexGuard<'_, InvariantChecker> {
        let mut checker = self.checker.lock().unwrap();
        checker.set_time(self.clock.true_time(), self.clock.now());
        checker
    }
}
