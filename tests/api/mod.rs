//! The API, over real TLS and a real Unix socket, in front of a simulated Webex.

mod api_keys;
mod control_socket;
mod event_client;
mod events;
mod fairness;
mod harness;
mod logins_and_import;
mod notice_events;
mod notices;
mod openapi;
mod person_lookup;
mod removals;
mod requests;
mod rights;
mod status;
mod token_service;
mod tokens;
