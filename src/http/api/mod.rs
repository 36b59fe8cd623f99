//! The API: JSON about persons, tokens and keys. The same handlers serve TLS, the control socket and commands
//! that run without a daemon. The caller determines what is allowed.

mod api_keys;
mod budget;
pub(in crate::http) mod context;
mod dashboard_links;
mod doctor;
pub(in crate::http) mod events;
mod list_limit;
mod logins;
mod notices;
mod people;
mod plan;
mod removals;
pub(in crate::http) mod request;
pub(in crate::http) mod routes;
pub(in crate::http) mod status;
pub(in crate::http) mod subscribers;
pub(in crate::http) mod token_service;
mod views;

pub use crate::http::api::context::Api;
pub use crate::http::api::context::ApiServices;
pub use crate::http::api::context::RunDoctor;
pub use crate::http::api::routes::OPENAPI;
pub use crate::http::api::routes::PREFIX;
pub use crate::http::api::routes::surface;
pub use crate::http::api::status::breaker;
pub use crate::http::auth::caller::Caller;
