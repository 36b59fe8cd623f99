//! The proxy between here and Webex.

use std::fmt;

use url::Url;

/// An HTTP proxy. It sees the name of Webex's host and nothing of what is said to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, `http` or `https`; a login may stand in it.
    pub url: Url,
    /// Hosts that are reached without it, separated by commas.
    pub except: Option<String>,
}

/// Without the login.
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
