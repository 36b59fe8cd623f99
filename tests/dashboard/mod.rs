//! The operators' dashboard, over real sockets, as browsers and as their enemies meet it.

mod events;
mod links;
mod needs;
mod neighbours;
mod people;
mod sessions;
mod speed;
mod world;
