//! The simulator over real sockets, as a client sees it.

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
