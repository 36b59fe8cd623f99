//! The HTTP server: sockets, TLS, limits, routing, the API, the pages and the dashboard. It bounds what an
//! abusive client can consume. It imports neither `store` nor `webex`.

pub mod api;
mod api_error;
mod auth;
mod caller;
mod client_network;
pub mod cookies;
mod csp;
mod cursor;
mod dashboard;
mod error_response;
mod log_path;
pub mod pages;
mod query_string;
mod rate_limit;
pub mod request_body;
mod response;
pub mod response_body;
pub mod router;
pub mod server;
mod token_service;

pub use server::redirect::Authority;
