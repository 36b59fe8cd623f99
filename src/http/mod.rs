//! The HTTP server: sockets, TLS, limits, routing, the API, the pages and the dashboard. It bounds what an
//! abusive client can consume. It imports neither `store` nor `webex`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`server`] | listeners, TLS, certificates, connections and their limits, the control socket |
//! | [`router`] | which handler gets a request |
//! | `auth` | who sends a request: API keys and callers; a rate limit for each address, person or other key |
//! | [`request`] | what is read from a request: body, query, cookies, pagination cursor |
//! | [`response`] | responses: builders and headers, body, errors and their statuses |
//! | [`api`] | the API, and the endpoint of the token service |
//! | [`pages`] | the pages on which persons consent |
//! | `dashboard` | the pages for operators |

pub mod api;
mod auth;
mod dashboard;
pub mod pages;
pub mod request;
pub mod response;
pub mod router;
pub mod server;

pub use server::redirect::Authority;
