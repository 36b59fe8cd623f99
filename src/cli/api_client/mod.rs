//! How commands reach the API: over the running daemon's control socket, or, without a daemon, in this
//! process.

mod client;
mod context;
pub(in crate::cli) mod in_process;
pub(in crate::cli) mod message;
pub(in crate::cli) mod socket;

pub(in crate::cli) use crate::cli::api_client::client::ApiClient;
pub(in crate::cli) use crate::cli::api_client::client::SharedApi;
pub(in crate::cli) use crate::cli::api_client::context::CommandContext;
pub(in crate::cli) use crate::cli::api_client::message::API;
pub(in crate::cli) use crate::cli::api_client::message::CallError;
pub(in crate::cli) use crate::cli::api_client::message::segment;
