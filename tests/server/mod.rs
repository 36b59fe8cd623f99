//! The HTTP server over real sockets: what is served, what is refused, and how it shuts down.

mod certificate_expiry;
mod certificate_reload;
mod certificate_renewal;
mod certificates;
pub(crate) mod harness;
mod limits;
mod protocols;
mod shutdown;
mod streaming;
