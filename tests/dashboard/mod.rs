//! The operators' dashboard over real sockets, for browsers and for attackers.

mod consents_needed;
mod events;
mod harness;
mod links;
mod notices;
mod people;
mod session_isolation;
mod sessions;
mod speed;
