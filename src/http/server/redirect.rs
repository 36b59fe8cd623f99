//! Redirects plain HTTP on the TLS port to https. The response's text repeats nothing of the request.

use std::fmt;

use hyper::Request;
use hyper::Response;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header;
use hyper::header::HeaderValue;

use crate::domain::host::is_host;
use crate::http::response::response_body::ResponseBody;

/// `host` or `host:port`, safe to put into a URL: a DNS name, an IPv4 address or a bracketed IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority(String);

impl Authority {
    /// The host without its port.
    fn host(&self) -> &str {
        match self.0.rfind(':') {
            Some(colon) if !self.0.ends_with(']') => self.0.get(..colon).unwrap_or_default(),
            _ => &self.0,
        }
    }

    /// Whether requests for this host are meant for a daemon whose redirect URI has the host of `registered`.
    fn is_served_by(&self, registered: &Self) -> bool {
        let is = |name: &str| self.host().eq_ignore_ascii_case(name);
        is(registered.host()) || LOOPBACK.into_iter().any(is)
    }

    /// Accepts only what needs no interpretation: no user name, no escapes, no zone, port 1 to 65535. `None`
    /// for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rfind(':') {
            Some(colon) if !text.ends_with(']') => (text.get(..colon)?, text.get(colon + 1..)),
            _ => (text, None),
        };
        let port_holds = port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        (port_holds && is_host(host)).then(|| Self(text.to_owned()))
    }
}

/// Names of this machine that the self-signed certificate contains in addition to the redirect URI's host.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl fmt::Display for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Redirects with 308 (the client repeats the method and the body) to the same path and query on https. The
/// target is the `registered` host, or the loopback name in the request's `Host`; no other host.
pub(in crate::http) fn redirect_to_https<B>(
    request: &Request<B>,
    registered: &Authority,
) -> Response<ResponseBody> {
    let asked = asked_host(request).filter(|asked| asked.is_served_by(registered));
    let authority = asked.unwrap_or_else(|| registered.clone());
    // `OPTIONS *` and `CONNECT` name no path.
    let path = request.uri().path_and_query().map(|path| path.as_str()).filter(|path| path.starts_with('/'));
    let location = format!("https://{authority}{}", path.unwrap_or("/"));
    let mut answer = Response::new(ResponseBody::new(TEXT));
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // No HSTS: it must not be sent over plain HTTP, and with a self-signed certificate it would lock people
    // out.
    match HeaderValue::from_maybe_shared(Bytes::from(location)) {
        Ok(location) => _ = headers.insert(header::LOCATION, location),
        Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
    }
    answer
}

/// The response to a proxy that received HTTPS from its client and speaks plain HTTP here. A redirect would
/// loop, because the client's next request would take the same way.
pub(in crate::http) fn proxy_misconfigured() -> Response<ResponseBody> {
    let mut answer = Response::new(ResponseBody::new(PROXY_TEXT));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Whether a proxy states that its client used HTTPS (RFC 7239, or the older header).
pub(in crate::http) fn forwarded_as_https<B>(request: &Request<B>) -> bool {
    let says = |name: &str, word: &str| {
        let values = request.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split([',', ';'])).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    says("x-forwarded-proto", "https") || says("forwarded", "proto=https")
}

const PROXY_TEXT: &[u8] = b"This service expects HTTPS, but the proxy in front of it sends plain HTTP.\n\
    The operator must configure the proxy to use HTTPS to this port, or set TOKEND_TLS=proxy; see\n\
    docs/operations.md, \"Behind a proxy\".\n";

const TEXT: &[u8] = b"This port speaks HTTPS: put https:// in front of the address.\n";

fn asked_host<B>(request: &Request<B>) -> Option<Authority> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next()?;
    // If there are two hosts, a proxy between us and the client may have used the other one.
    if hosts.next().is_some() {
        return None;
    }
    Authority::parse(host.to_str().ok()?)
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn an_authority_is_a_host_with_or_without_a_port_and_nothing_else() {
        for good in
            ["localhost", "localhost:8000", "a.example.", "127.0.0.1:1", "[::1]", "[::1]:8443", "a_b-c"]
        {
            assert!(Authority::parse(good).is_some(), "{good}");
        }
        for bad in [
            "", ":8000", "a:", "a:0", "a:65536", "a:+1", "a:1:2", "::1", "[::1", "[::1]x", "[::1]:", "[a]",
            "[]:1", "user@a", "a/b", "a?b", "a#b", "a b", "a\\b", "a%2eb", "a..b", ".a", "<a>", "a,b", "é",
        ] {
            assert!(Authority::parse(bad).is_none(), "{bad}");
        }
    }
}
