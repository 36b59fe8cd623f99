//! The API, over real TLS and a real Unix socket, in front of a simulated Webex.

mod description;
mod keys;
mod requests;
mod rights;
mod sockets;
mod tokens;
mod world;
