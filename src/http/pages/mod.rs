//! The HTML pages: templates that are checked at compile time, the style sheet and the icon.

pub mod callback;
pub(in crate::http) mod consent_errors;
pub(super) mod error;
mod granted;
pub(in crate::http) mod oauth;
pub(in crate::http) mod space;

use std::sync::Arc;
use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::consent::SpaceWidget;
use crate::domain::operator::Operator;
use crate::domain::scope;
pub(super) use crate::http::pages::error::ErrorPage;
pub(super) use crate::http::pages::error::ErrorPageTemplate;
pub(super) use crate::http::pages::granted::GrantedPage;

/// An embedded file that pages load. Its path contains a hash of its content, so that it can be cached
/// forever.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

impl Asset {
    /// Name and extension of the file, its type and its content.
    pub(super) fn new(name: &str, ending: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default());
        Self { path: format!("/assets/{name}.{hash}.{ending}"), content_type, text }
    }
}

/// The style sheet of all pages.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// The icon in a browser's tab. Without it, browsers request `/favicon.ico`.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The asset with this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*ICON].into_iter().find(|asset| asset.path == path)
}

/// What all pages have in common: URLs as the browser sees them, and the operator.
#[derive(Clone, Debug)]
pub(super) struct PageFrame {
    /// URL of the style sheet.
    pub(super) style: String,
    /// URL of the icon.
    pub(super) icon: String,
    /// URL of the home page.
    pub(super) home: String,
    /// URL where a consent starts.
    pub(super) start: String,
    /// URL of the Space widget, if a space is configured.
    pub(super) space: Option<String>,
    /// URL of Webex's page where persons revoke what they granted.
    pub(super) accesses: Option<&'static str>,
    /// The operator of the service.
    pub(super) operator: Arc<Operator>,
}

impl PageFrame {
    /// For a daemon whose pages are below `prefix`, and whose consents start at `start`.
    pub(super) fn new(prefix: &str, start: &str, has_space: bool) -> Self {
        let at = |path: &str| format!("{prefix}{path}");
        Self {
            style: at(&STYLE.path),
            icon: at(&ICON.path),
            home: at("/"),
            start: start.to_owned(),
            space: has_space.then(|| at("/space")),
            accesses: None,
            operator: Arc::default(),
        }
    }

    /// Adds Webex's page where persons revoke what they granted.
    pub(super) fn with_accesses(self, address: &'static str) -> Self {
        Self { accesses: Some(address), ..self }
    }

    /// Adds the operator of the service.
    pub(super) fn run_by(self, operator: Operator) -> Self {
        Self { operator: Arc::new(operator), ..self }
    }
}

/// A scope in the list of a page.
#[derive(Debug)]
pub(super) struct ScopeText<'a> {
    name: &'a str,
    words: Option<&'static str>,
}

impl ScopeText<'_> {
    /// What the scope allows. For an unknown scope, a general word.
    fn words(&self) -> &'static str {
        self.words.unwrap_or("Permission")
    }
}

/// Scopes for the list of a page.
pub(super) fn scopes(names: &[String]) -> Vec<ScopeText<'_>> {
    names.iter().map(|name| ScopeText { name, words: scope::in_words(name) }).collect()
}

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct HomePage<'a> {
    pub(super) frame: &'a PageFrame,
    pub(super) scopes: Vec<ScopeText<'a>>,
    /// Whether others can read the traffic, because there is no TLS.
    pub(super) is_plaintext_remote: bool,
}

/// The page with the Space widget. It is the only page that contains a token.
#[derive(Template)]
#[template(path = "space.html")]
pub(super) struct SpacePage<'a> {
    pub(super) frame: &'a PageFrame,
    pub(super) widget: &'a SpaceWidget,
    pub(super) space_id: &'a str,
    pub(super) token: &'a str,
    /// The URL of this page, which is the target of its form.
    pub(super) here: &'a str,
    /// Why the bot could not add the person.
    pub(super) trouble: Option<String>,
}
