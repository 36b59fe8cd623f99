//! What the connections of one listener share.

use std::sync::Arc;

use crate::http::server::limits::Limits;
use crate::http::server::redirect::Authority;
use crate::http::server::tls::TlsFeed;
use crate::log_throttle::LogThrottle;
use crate::tasks::Tasks;

/// What a port needs to speak TLS.
#[derive(Clone, Debug)]
pub struct TlsContext {
    /// The settings for each new connection.
    pub feed: TlsFeed,
    /// Where plain HTTP is redirected, unless its `Host` header names this host or a loopback name. It is the
    /// redirect URI's host.
    pub authority: Authority,
}

/// The state that all connections of one listener share.
pub(in crate::http) struct ListenerContext {
    pub(in crate::http) tls: Option<TlsContext>,
    pub(in crate::http) limits: Arc<Limits>,
    pub(in crate::http) tasks: Tasks,
    /// Limits the log lines about proxies that speak plain HTTP to a TLS port.
    pub(in crate::http) proxies: LogThrottle,
}
