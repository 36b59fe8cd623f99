//! What a simulated world shares: it outlives every process of the daemon.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use webex_sim::Model;
use webex_tokend::clock::Clock as _;
use webex_tokend::domain::time::UnixTime;

use crate::simulation::crash::Fuse;
use crate::simulation::faults::Weather;
use crate::simulation::invariants::Witness;
use crate::support::virtual_time::WallClock;

pub(super) struct Stage {
    pub(super) clock: Arc<WallClock>,
    pub(super) model: Arc<Mutex<Model>>,
    pub(super) fuse: Fuse,
    pub(super) weather: Mutex<Weather>,
    pub(super) witness: Mutex<Witness>,
    /// When the driver does something next: no nap is shortened beyond it.
    pub(super) next_event: Mutex<UnixTime>,
}

impl Stage {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(super) fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }

    /// The witness, told what time it is.
    pub(super) fn witness(&self) -> MutexGuard<'_, Witness> {
        let mut witness = self.witness.lock().unwrap();
        witness.look_at_the_clocks(self.clock.true_time(), self.clock.now());
        witness
    }
}
