//! What people see: templates, checked when compiled, the one style sheet and the icon.

mod granted;
pub(super) mod problem;

use std::sync::Arc;
use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::consent::Widget;
use crate::domain::operator::Operator;
use crate::domain::scope;
pub(super) use crate::http::pages::granted::GrantedPage;
pub(super) use crate::http::pages::problem::Problem;
pub(super) use crate::http::pages::problem::ProblemPage;

/// A file that pages load, embedded. Its path holds a hash of it, so that it may be cached for ever.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) text: &'static str,
}

impl Asset {
    /// `name` and `ending` of the file, its type, and what is in it.
    pub(super) fn new(name: &str, ending: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default());
        Self { path: format!("/assets/{name}.{hash}.{ending}"), content_type, text }
    }
}

/// The visual language and all that follows from it.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// What a browser's tab shows; without it browsers ask for `/favicon.ico`.
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The asset at this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*ICON].into_iter().find(|asset| asset.path == path)
}

/// What every page has in common: paths as the browser sees them, and who runs the service.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// Of the style sheet.
    pub(super) style: String,
    /// Of the icon.
    pub(super) icon: String,
    /// Of the home page.
    pub(super) home: String,
    /// Of the start of a consent.
    pub(super) start: String,
    /// Of the Space widget, if there is one.
    pub(super) space: Option<String>,
    /// Of Webex's page where persons end what they granted.
    pub(super) accesses: Option<&'static str>,
    /// Who runs the service.
    pub(super) operator: Arc<Operator>,
}

impl Frame {
    /// Of a daemon whose pages are below `prefix`, whose consents start at `start`, and which may have a space.
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

    /// The same with Webex's page where persons end what they granted.
    pub(super) fn with_accesses(self, address: &'static str) -> Self {
        Self { accesses: Some(address), ..self }
    }

    /// The same with who runs the service.
    pub(super) fn run_by(self, operator: Operator) -> Self {
        Self { operator: Arc::new(operator), ..self }
    }
}

/// A scope, as a page lists it.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    name: &'a str,
    words: Option<&'static str>,
}

impl Scope<'_> {
    /// What the scope allows. Of one that is not known, its name says all.
    fn words(&self) -> &'static str {
        self.words.unwrap_or("Permission")
    }
}

/// Scopes, as a page lists them.
pub(super) fn scopes(names: &[String]) -> Vec<Scope<'_>> {
    names.iter().map(|name| Scope { name, words: scope::in_words(name) }).collect()
}

#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct Home<'a> {
    pub(super) frame: &'a Frame,
    pub(super) scopes: Vec<Scope<'a>>,
    /// Others may listen: there is no TLS.
    pub(super) is_overheard: bool,
}

/// The space, as a person sees it. The only page that holds a token.
#[derive(Template)]
#[template(path = "space.html")]
pub(super) struct SpacePage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) widget: &'a Widget,
    pub(super) space_id: &'a str,
    pub(super) token: &'a str,
    /// Of this page: where its form goes.
    pub(super) here: &'a str,
    /// Why the bot could not add the person.
    pub(super) trouble: Option<String>,
}
