//! A clock that stands still until a test moves it.

use std::sync::Mutex;
use std::time::Duration;

use webex_tokend::clock::Clock;
use webex_tokend::domain::time::UnixTime;

pub(crate) struct ManualClock(Mutex<UnixTime>);

impl ManualClock {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self(Mutex::new(now))
    }

    pub(crate) fn set(&self, now: UnixTime) {
        *self.0.lock().unwrap() = now;
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = *now + by;
    }

    pub(crate) fn step_back(&self, by: Duration) {
        let mut now = self.0.lock().unwrap();
        *now = *now - by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixTime {
        *self.0.lock().unwrap()
    }
}
