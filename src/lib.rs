//! webex-tokend keeps Cisco Webex access tokens of many people fresh, sealed and at hand.
//!
//! # The map, bottom-up
//!
//! | module | what it is |
//! | --- | --- |
//! | [`domain`] | what is true: persons, grants, the schedule, verdicts; no I/O, no clock, no log |
//! | [`clock`] | the only reader of the clock |
//! | [`tasks`] | named tasks, one shutdown, the nudge that wakes the loop |
//! | [`api_types`] | the JSON that leaves the daemon |
//! | [`store`] | what is kept: sealed grants and when they are due; SQLite or memory |
//! | [`webex`] | what Webex says: the only place that knows its addresses and JSON |
//! | [`events`] | what changed: a bounded ring for whoever watches |
//! | [`tokens`] | the live view that readers use: a bounded cache over the store |
//! | [`health`] | whether the daemon can do its work |
//! | [`keys`] | API keys at work |
//! | [`consent`] | one use case: begin -> URL; finish(code, state) -> kept grant; also logins, the device grant, taking over, the space |
//! | [`refresh`] | the other use case: the event loop and one pass of it |
//! | [`http`] | the door: sockets, TLS, the router, pages, the dashboard; the only map from errors to statuses |
//! | [`config`] | every setting, typed, defaulted, all mistakes at once |
//! | [`house`] | the parts, put together from the settings |
//! | [`cli`] | the handle: arguments, logging, exit codes |
//! | [`daemon`] | wiring only |
//!
//! # The import rule
//!
//! Imports go downward only, and siblings never import each other:
//! `main > daemon | cli > house > config > http > consent | refresh > tokens | keys | health > store | webex | events > domain`, with `clock`, `tasks`
//! and `api_types` beside `domain`. `http` sees neither `store` nor `webex`. `tests/architecture.rs` holds the rule.

pub mod api_types;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod daemon;
pub mod domain;
pub mod events;
pub mod health;
pub mod house;
pub mod http;
pub mod keys;
pub mod refresh;
pub mod store;
pub mod tasks;
pub mod tokens;
pub mod webex;
