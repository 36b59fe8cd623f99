//! The operators' dashboard, over real sockets, as browsers and as their enemies meet it.

mod consents_needed;
mod events;
mod harness;
mod links;
mod people;
mod session_isolation;
mod sessions;
mod speed;
