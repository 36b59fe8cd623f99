//! The simulator over real sockets, as a client sees it.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

#[path = "sim/client.rs"]
mod client;
#[path = "sim/consent.rs"]
mod consent;
#[path = "sim/device.rs"]
mod device;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/refresh.rs"]
mod refresh;
#[path = "sim/server.rs"]
mod server;
#[path = "sim/space.rs"]
mod space;
