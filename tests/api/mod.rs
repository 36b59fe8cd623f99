//! The API, over real TLS and a real Unix socket, in front of a simulated Webex.

mod description;
mod events;
mod fairness;
mod intake;
mod keys;
mod names;
mod requests;
mod rights;
mod sockets;
mod status;
mod stream;
mod token_service;
mod tokens;
mod world;
