//! Peers that want to do harm, against the real daemon: each test attacks for a while, and an honest client keeps
//! asking meanwhile. Every honest request must be answered soon, the daemon's memory and descriptors must stay within
//! bounds, and when the attackers have gone nothing of them may be left.
//!
//! An attack lasts as long as its crowd takes to come, and then `ABUSE_SECONDS` (0.7) more; the tests that are ignored
//! take minutes. Each siege prints one line: attack, what was sent (connections, requests or frames), the slowest honest
//! request of each kind, the most memory and files that the daemon needed, and how long it took. To see them:
//! `cargo test --test main abuse:: -- --nocapture`.

mod authorization_codes;
mod client;
mod fd_exhaustion;
mod frames;
mod harness;
mod http1;
mod http2;
mod refused_bodies;
mod slow_clients;
mod users;
