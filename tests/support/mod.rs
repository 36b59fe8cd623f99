//! What tests of the whole program share: the real daemon beside a simulated Webex, and people who consent.
//!
//! [`Daemon`] runs the binary in a directory of its own, with an environment of its own. [`Visitor`] is a browser's
//! part of a consent without a browser. Nothing here sleeps for a fixed time: it waits for a log line, or looks
//! again and again until [`HANGS`] is over.

pub(crate) mod between;
pub(crate) mod crowd;
mod daemon;
mod ear;
mod ended;
mod log;
pub(crate) mod moody;
mod ports;
mod store;
mod visitor;
pub(crate) mod world;

use std::time::Duration;

use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Counters;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;

pub(crate) use daemon::Daemon;
pub(crate) use daemon::PLAIN;
pub(crate) use daemon::Setup;
pub(crate) use ear::heard;
pub(crate) use ear::heard_here;
pub(crate) use ear::listen_here;
pub(crate) use ended::Ended;
pub(crate) use ports::free_port;
pub(crate) use visitor::Answered;
pub(crate) use visitor::Visitor;
pub(crate) use visitor::http;

/// Far longer than anything takes, also on a busy machine: what takes longer hangs.
pub(crate) const HANGS: Duration = Duration::from_secs(20);

/// Refreshes every grant about once a second.
pub(crate) const BUSY_LOOP: [(&str, &str); 4] = [
    ("EVENT_LOOP_SLEEP_SECONDS", "1"),
    ("EVENT_LOOP_DAYS", "0.000005"),
    ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
    ("EVENT_LOOP_FLOOR_SECONDS", "0"),
];

/// A Webex with six people that asks at `/authorize`.
pub(crate) async fn sim() -> Sim {
    sim_with(Settings::default()).await
}

/// A Webex of another kind.
pub(crate) async fn sim_with(settings: Settings) -> Sim {
    Sim::start(settings).await.unwrap()
}

/// Spoils the next `times` calls of this kind.
pub(crate) fn spoil(sim: &Sim, on: Endpoint, times: u32, kind: FaultKind) {
    sim.with(|webex| webex.fault(Fault { on, person: None, times: Some(times), kind }));
}

/// What the simulator has counted.
pub(crate) fn counters(sim: &Sim) -> Counters {
    sim.with(|webex| webex.counters())
}

/// Looks until `holds` does.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(HANGS, look).await;
    waited.unwrap_or_else(|_| panic!("after {HANGS:?} still not: {what}"));
}
