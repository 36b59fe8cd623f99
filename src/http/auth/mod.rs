//! Who sends a request: API keys, callers and the networks of clients; and a rate limit for each address,
//! person or other key.

pub(in crate::http) mod api_key_auth;
pub(in crate::http) mod caller;
pub(in crate::http) mod client_network;
pub(in crate::http) mod rate_limit;
