//! What people see: templates, checked when compiled, and the one style sheet.

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The style sheet, embedded.
pub(super) const STYLE: &str = include_str!("style.css");

/// Its name holds a hash of it, so that it may be cached for ever.
pub(super) static STYLE_PATH: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    format!("/assets/style.{}.css", URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default()))
});

/// Paths that every page links to, as the browser sees them.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Of the style sheet.
    pub(super) style: String,
    /// Of the start of a consent.
    pub(super) start: String,
}

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct Home<'a> {
    pub(super) frame: &'a Frame,
    pub(super) scopes: &'a [String],
}

#[derive(Template)]
#[template(path = "granted.html")]
pub(super) struct Granted<'a> {
    pub(super) frame: &'a Frame,
    pub(super) name: &'a str,
    pub(super) scopes: &'a [String],
}

#[derive(Template)]
#[template(path = "problem.html")]
pub(super) struct ProblemPage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) problem: &'a Problem,
}

/// What went wrong, told to the person in front of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) heading: &'static str,
    pub(super) text: &'static str,
    /// To quote to Webex.
    pub(super) tracking_id: Option<String>,
    /// Whether starting again may help.
    pub(super) again: bool,
}
