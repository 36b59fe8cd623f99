//! Ports that a daemon can have again after a restart.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::TcpListener;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// Below the ports that the system uses for outgoing connections, which could take one while a daemon restarts, and
/// without ports that browsers refuse.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port on which no program listens. Another process may take it first, so the caller must be ready to ask again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run at the same time start at different ports.
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        let is_free = |ip: IpAddr| {
            TcpListener::bind((ip, port)).err().is_none_or(|why| why.kind() != ErrorKind::AddrInUse)
        };
        if is_free(Ipv4Addr::LOCALHOST.into()) && is_free(Ipv6Addr::LOCALHOST.into()) {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free")
}
