//! Attacks against the real daemon. Each test attacks for a while, and an honest client keeps sending requests. Every
//! honest request must be answered soon, the daemon's memory and file descriptors must stay within limits, and nothing
//! may be left when the attackers are gone.
//!
//! An attack lasts until its connections are open, and then `ABUSE_SECONDS` (0.7) more; the ignored tests take minutes.
//! Each attack prints one line: its name, what was sent (connections, requests or frames), the slowest honest request
//! of each kind, the peak memory and number of files of the daemon, and its duration. To see them: `cargo test --test
//! main abuse:: -- --nocapture`.

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
