//! webex-tokend refreshes the Cisco Webex access tokens of many people, stores them encrypted and serves
//! them.
//!
//! # Modules, from the bottom up
//!
//! | module | what it is |
//! | --- | --- |
//! | [`domain`] | persons, grants, the refresh schedule, verdicts: rules without I/O, clock or log |
//! | [`bounded_map`] | a bounded map that keeps the most recently used entries (an approximate LRU cache) |
//! | [`log_throttle`] | at most one log line of a kind for each interval |
//! | [`clock`] | the only module that reads the system clock |
//! | [`hardening`] | process settings that keep secrets out of core dumps |
//! | [`tasks`] | named tasks with one shutdown, and the notification that wakes the event loop |
//! | [`api_types`] | the JSON of the API |
//! | [`store`] | stored grants, sealed, with their due times; in SQLite or in memory |
//! | [`webex`] | the Webex client: the only module that knows Webex's URLs and JSON |
//! | [`events`] | a bounded log of changes for subscribers |
//! | [`grant_cache`] | a bounded cache of grants over the store |
//! | [`service_context`] | what consents, refreshes and notices share: store, Webex client, cache, clock, policy, tasks, the notification that wakes the event loop |
//! | [`health`] | readiness of the daemon |
//! | [`api_keys`] | API keys: creation, revocation, lookup |
//! | [`consent`] | first use case: consents (begin -> URL; finish(code, state) -> stored grant), logins, the device grant, import, the space |
//! | [`refresh`] | second use case: refreshes, by the event loop and on demand |
//! | [`notices`] | sends each notice of the outbox to its sinks, for up to three days |
//! | [`http`] | the HTTP server: sockets, TLS, routes, the API, pages, the dashboard; the only module that maps errors to statuses |
//! | [`config`] | all settings, typed, with their defaults; reports all errors at once |
//! | [`services`] | builds all services from the settings |
//! | [`cli`] | the command line: arguments, commands, logging, exit codes |
//! | [`daemon`] | starts the services, waits for a signal, shuts down |
//!
//! # The import rule
//!
//! Imports go downward only, and modules of one level never import each other:
//!
//! ```text
//! main > daemon | cli > services > config > http > consent | refresh | notices > service_context > grant_cache | api_keys | health > store | webex | events > domain
//! ```
//!
//! `bounded_map`, `log_throttle`, `tasks`, `hardening` and `api_types` import no other module. `clock`
//! imports only `domain`. `http` imports neither `store` nor `webex`. No file imports itself through others:
//! a `mod.rs` that offers items of its files is not imported by these files. `tests/architecture.rs` checks
//! both rules.

pub mod api_keys;
pub mod api_types;
pub mod bounded_map;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consent;
pub mod daemon;
pub mod domain;
pub mod events;
pub mod grant_cache;
pub mod hardening;
pub mod health;
pub mod http;
pub mod log_throttle;
pub mod notices;
pub mod refresh;
pub mod service_context;
pub mod services;
pub mod store;
pub mod tasks;
pub mod webex;
