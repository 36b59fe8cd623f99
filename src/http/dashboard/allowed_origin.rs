//! The origin of this daemon's pages, which browsers report with every form.

use hyper::HeaderMap;
use hyper::Request;
use hyper::body::Incoming;
use url::Url;

/// The origin of this daemon's pages.
pub(super) struct AllowedOrigin {
    scheme: &'static str,
    registered: String,
}

impl AllowedOrigin {
    pub(super) fn new(redirect_uri: &Url) -> Self {
        let scheme = if redirect_uri.scheme() == "https" { "https" } else { "http" };
        Self { scheme, registered: redirect_uri.origin().ascii_serialization() }
    }

    /// Whether the browser reports that one of our pages sent this form. A request without this information
    /// is refused.
    pub(super) fn allows(&self, request: &Request<Incoming>) -> bool {
        let headers = request.headers();
        let (Some(site), Some(origin)) = (one(headers, "sec-fetch-site"), one(headers, "origin")) else {
            return false;
        };
        if site.is_empty() && origin.is_empty() {
            return false;
        }
        // Behind a proxy, the host may be the registered one or, if the proxy forwards it, the requested one.
        let host = request.uri().authority().map(|host| host.as_str()).or_else(|| one(headers, "host"));
        let asked = format!("{}://{}", self.scheme, host.unwrap_or_default());
        matches!(site, "" | "same-origin")
            && (origin.is_empty() || origin == self.registered || origin == asked)
    }
}

/// The value of a header; empty if it is missing, `None` if it is repeated or not text.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let Some(first) = all.next() else { return Some("") };
    if all.next().is_some() { None } else { first.to_str().ok() }
}
