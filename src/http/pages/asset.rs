//! The embedded files that all pages load: the style sheet and the icon.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// An embedded file that pages load. Its path contains a hash of its content, so that it can be cached
/// forever.
#[derive(Debug)]
pub(in crate::http) struct Asset {
    pub(in crate::http) path: String,
    pub(in crate::http) content_type: &'static str,
    pub(in crate::http) text: &'static str,
}

impl Asset {
    /// Name and extension of the file, its type and its content.
    pub(in crate::http) fn new(
        name: &str,
        ending: &str,
        content_type: &'static str,
        text: &'static str,
    ) -> Self {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash = URL_SAFE_NO_PAD.encode(hash.as_ref().get(..9).unwrap_or_default());
        Self { path: format!("/assets/{name}.{hash}.{ending}"), content_type, text }
    }
}

/// The style sheet of all pages.
pub(in crate::http) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// The icon in a browser's tab. Without it, browsers request `/favicon.ico`.
pub(in crate::http) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The asset with this path.
pub(in crate::http) fn find(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*ICON].into_iter().find(|asset| asset.path == path)
}
