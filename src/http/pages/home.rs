//! The home page.

use askama::Template;

use crate::http::pages::frame::PageFrame;
use crate::http::pages::scopes::ScopeText;

/// What the service does, and where a consent starts.
#[derive(Template)]
#[template(path = "home.html")]
pub(in crate::http) struct HomePage<'a> {
    pub(in crate::http) frame: &'a PageFrame,
    pub(in crate::http) scopes: Vec<ScopeText<'a>>,
    /// Whether others can read the traffic, because there is no TLS.
    pub(in crate::http) is_plaintext_remote: bool,
}
