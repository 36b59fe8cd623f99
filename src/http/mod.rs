//! The HTTP server: sockets, TLS, limits, routing, the API, the pages and the dashboard. It bounds what an
//! abusive client can consume. It imports neither `store` nor `webex`.

mod activity;
pub mod api;
mod auth;
pub mod body;
mod bookmark;
pub mod callback;
pub mod certificate;
mod connection;
mod consent_pages;
pub mod control;
pub mod cookies;
mod crowd;
mod dashboard;
mod flow;
mod linger;
mod links;
mod listeners;
mod log_limit;
mod log_path;
mod meter;
mod oauth;
mod pages;
mod parameter;
mod policy;
mod rate_limit;
mod redirect;
mod refusal;
mod respond;
pub mod router;
pub mod serve;
mod sessions;
mod socket_group;
mod space;
pub mod tls;
mod token_service;
pub mod x509;

pub use redirect::Authority;
