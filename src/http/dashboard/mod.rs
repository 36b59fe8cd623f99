//! The operators' dashboard. It works without script.
//!
//! Every change is a form ([`form`]) that a page of a session ([`crate::http::dashboard::sessions`]) sends. The pages of
//! a session are below a random part of the path, which is never logged. No URL contains a key or a code.

mod allowed_origin;
pub(in crate::http) mod assets;
pub(in crate::http) mod context;
mod form;
mod invitation;
pub(in crate::http) mod login_links;
mod notices;
mod overview;
mod pages;
mod people;
mod person;
mod query;
mod routes;
mod row;
pub(in crate::http) mod sessions;
mod sign_in;
