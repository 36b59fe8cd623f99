//! webex-tokend keeps Cisco Webex access tokens of many people fresh, sealed and at hand.

pub mod clock;
pub mod config;
pub mod consent;
pub mod domain;
pub mod http;
pub mod refresh;
pub mod store;
pub mod tasks;
pub mod webex;
