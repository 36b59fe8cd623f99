//! Types and rules without I/O: no clock, disk, network or log. Everything that depends on the time takes `now`.

pub mod allow;
pub mod api_key;
pub mod avatar;
pub mod breaker;
pub mod exchanges;
pub mod explain;
pub mod grant;
pub mod history;
pub mod horizon;
pub mod host;
pub mod notice;
pub mod operator;
pub mod person;
pub mod plan;
pub mod queue_place;
pub mod schedule;
pub mod scope;
pub mod search;
pub mod secret;
pub mod socket_group;
pub mod space_session;
pub mod ticket;
pub mod time;
pub mod token_service;
pub mod verdict;
