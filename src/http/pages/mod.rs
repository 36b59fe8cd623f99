//! The HTML pages: templates that are checked at compile time, the style sheet and the icon.

pub(in crate::http) mod asset;
pub mod callback;
pub(in crate::http) mod consent_errors;
mod consent_log;
pub(in crate::http) mod context;
pub(in crate::http) mod error;
pub(in crate::http) mod frame;
mod granted;
mod home;
mod oauth;
mod scopes;
pub(in crate::http) mod space_widget;
