//! The dashboard's own style sheet and script, embedded.

use std::sync::LazyLock;

use crate::http::pages::asset::Asset;

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("dashboard", "css", "text/css; charset=utf-8", include_str!("dashboard.css"))
});

static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("dashboard", "js", "text/javascript; charset=utf-8", include_str!("dashboard.js"))
});

/// The asset with this path.
pub(in crate::http) fn find(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.path == path)
}

/// The URLs of both, as browsers see them.
#[derive(Clone, Debug)]
pub(super) struct AssetUrls {
    pub(super) style: String,
    pub(super) script: String,
}

impl AssetUrls {
    pub(super) fn below(prefix: &str) -> Self {
        Self { style: format!("{prefix}{}", STYLE.path), script: format!("{prefix}{}", SCRIPT.path) }
    }
}
