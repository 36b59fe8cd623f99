//! webex-tokend keeps Cisco Webex access tokens of many people fresh, sealed and at hand.
//!
//! # The map, bottom-up
//!
//! | module | what it is |
//! | --- | --- |
//! | [`domain`] | what is true: persons, grants, the schedule, verdicts; no I/O, no clock, no log |
//! | [`clock`] | the only reader of the clock |
//! | [`tasks`] | named tasks, one shutdown, the nudge that wakes the loop |
//! | [`store`] | what is kept: sealed grants and when they are due; SQLite or memory |
//! | [`webex`] | what Webex says: the only place that knows its addresses and JSON |
//! | [`health`] | whether the daemon can do its work |
//! | [`consent`] | one use case: begin -> URL; finish(code, state) -> kept grant |
//! | [`refresh`] | the other use case: the event loop and one pass of it |
//! | [`http`] | the door: sockets, TLS, the router, pages; the only map from errors to statuses |
//! | [`config`] | every setting, typed, defaulted, all mistakes at once |
//! | [`cli`] | the handle: arguments, logging, exit codes |
//! | [`daemon`] | wiring only |
//!
//! # The import rule
//!
//! Imports go downward only, and siblings never import each other:
//! `main > daemon | cli > config > http > consent | refresh > health > store | webex > domain`, with `clock` and `tasks`
//! beside `domain`. `http` sees neither `store` nor `webex`. `tests/architecture.rs` holds the rule.

pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod daemon;
pub mod domain;
pub mod health;
pub mod http;
pub mod refresh;
pub mod store;
pub mod tasks;
pub mod webex;
