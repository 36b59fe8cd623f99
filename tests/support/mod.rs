//! Helpers that several test modules share: the real daemon beside a simulated Webex, and people who consent.
//!
//! [`Daemon`] runs the binary in its own directory and environment. [`BrowserClient`] is a browser's part of a consent,
//! without a browser. Helpers never sleep for a fixed time: they wait for a log line, or check repeatedly until
//! [`HANG_TIMEOUT`] is over.

mod browser_client;
mod command_output;
mod daemon;
mod daemon_log;
pub(crate) mod faulty_store;
pub(crate) mod intercept_store;
mod log_capture;
pub(crate) mod manual_clock;
pub(crate) mod many_grants;
mod ports;
mod stored_grants;
pub(crate) mod time;
pub(crate) mod virtual_time;

use std::time::Duration;

use webex_sim::Settings;
use webex_sim::Sim;
use webex_sim::model::Counters;
use webex_sim::model::Endpoint;
use webex_sim::model::Fault;
use webex_sim::model::FaultKind;

use crate::support::time::HANG_TIMEOUT;
pub(crate) use browser_client::BrowserClient;
pub(crate) use browser_client::PageResponse;
pub(crate) use browser_client::http;
pub(crate) use command_output::CommandOutput;

pub(crate) use daemon::Daemon;
pub(crate) use daemon::PLAIN;
pub(crate) use daemon::Setup;
pub(crate) use log_capture::capture_thread_logs;
pub(crate) use log_capture::captured_logs;
pub(crate) use log_capture::process_logs;
pub(crate) use ports::free_port;

/// Refreshes every grant about once a second.
pub(crate) const REFRESH_EVERY_SECOND: [(&str, &str); 4] = [
    ("EVENT_LOOP_SLEEP_SECONDS", "1"),
    ("EVENT_LOOP_DAYS", "0.000005"),
    ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
    ("EVENT_LOOP_FLOOR_SECONDS", "0"),
];

/// A Webex with six people and the usual settings.
pub(crate) async fn start_sim() -> Sim {
    start_sim_with(Settings::default()).await
}

/// A Webex with these settings.
pub(crate) async fn start_sim_with(settings: Settings) -> Sim {
    Sim::start(settings).await.unwrap()
}

/// Makes the next `times` requests of this kind fail.
pub(crate) fn inject_fault(sim: &Sim, on: Endpoint, times: u32, kind: FaultKind) {
    sim.with(|webex| webex.fault(Fault { on, person: None, times: Some(times), kind }));
}

/// The counters of the simulator.
pub(crate) fn counters(sim: &Sim) -> Counters {
    sim.with(|webex| webex.counters())
}

/// Checks until `holds` returns true.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let look = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(HANG_TIMEOUT, look).await;
    waited.unwrap_or_else(|_| panic!("not true after {HANG_TIMEOUT:?}: {what}"));
}
