//! The door: everything that arrives by HTTP.
//! It owns sockets, TLS and the limits that keep a hostile peer cheap; it knows neither store nor Webex.

mod activity;
pub mod body;
pub mod certificate;
mod connection;
mod cookies;
mod oauth;
mod pages;
mod redirect;
mod respond;
pub mod router;
pub mod serve;
pub mod tls;

pub use redirect::Authority;
