//! Delivery of notices: every sink gets the notices of the outbox, whatever fails meanwhile.

mod all_sinks;
mod blocking_outbox;
mod daemon;
mod documented_recipes;
mod figures;
mod hostile_receivers;
mod over_sockets;
mod python;
mod sender;
mod simulation;
mod sinks;
mod troubles;
mod webex_messages;
mod world;
mod years;
