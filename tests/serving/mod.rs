//! The door, over real sockets: what is served, what is refused, and how it ends.

mod certificates;
mod ending;
mod ending_certificate;
mod flows;
pub(crate) mod house;
mod limits;
mod protocols;
mod reload;
mod renewal;
