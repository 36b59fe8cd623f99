//! Webex's OAuth endpoints on loopback: for people without an account, for tests, for benchmarks.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! let sim = webex_sim::Sim::start(webex_sim::Settings::default()).await?;
//! println!("WEBEX_API_BASE_URL={}", sim.base_url());
//! sim.with(|webex| webex.revoke_person(0));
//! # Ok(()) }
//! ```
//!
//! The map, bottom-up:
//!
//! - `settings`, `people`: how this Webex behaves, and its people
//! - [`model`]: the pure state machine, no I/O and no clock; usable without any server
//! - `pages`: its HTML
//! - `steer`: `/sim/…`, the model steered by HTTP from other processes
//! - `clock`, `tasks`: the only readers of the clock and callers of `spawn`
//! - `wire`: answers on a socket, cuts and delays included
//! - `tls`, `server`: sockets around the model

mod clock;
pub mod model;
mod pages;
mod people;
mod server;
mod settings;
mod steer;
mod tasks;
mod tls;
mod wire;

pub use model::Model;
pub use people::Person;
pub use server::Sim;
pub use settings::{Avatar, Consent, ErrorBody, RefreshLife, RefreshToken, Settings, TokenShape};
