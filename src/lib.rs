//! webex-tokend keeps Cisco Webex access tokens of many people fresh, sealed and at hand.

pub mod http;
pub mod tasks;
