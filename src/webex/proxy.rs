//! The HTTP proxy for requests to Webex.

use std::fmt;

use url::Url;

/// An HTTP proxy. It sees the name of Webex's host, but not the encrypted requests.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy's URL, `http` or `https`. It may contain a user name and password.
    pub url: Url,
    /// Hosts that are reached without the proxy, separated by commas.
    pub except: Option<String>,
}

/// The URL without user name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.url.port_or_known_default().unwrap_or_default();
        write!(f, "{}://{}:{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self}, except {:?})", self.except)
    }
}
