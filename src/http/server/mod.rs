//! The listeners: sockets, TLS, certificates, connections and their limits, and the control socket.

pub(in crate::http) mod activity;
pub(in crate::http) mod byte_budget;
pub mod certificate;
pub(in crate::http) mod connection;
pub(in crate::http) mod connection_limit;
pub mod context;
pub mod control_error;
pub mod control_socket;
mod graceful;
pub mod handler;
pub mod limits;
pub(in crate::http) mod linger;
pub mod listener;
pub(in crate::http) mod redirect;
pub(in crate::http) mod socket_group;
pub mod tls;
pub mod x509;
