//! Checks of the host of a URL.

use std::net::Ipv6Addr;

use url::Host;
use url::Url;

/// Whether only this machine can reach the URL's host.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Whether a request to the URL may carry a secret: it is encrypted, or does not leave this machine.
#[must_use]
pub fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// Whether `host` is a DNS name (labels of letters, digits, `-` and `_`), an IPv4 address or a bracketed IPv6 address, so
/// that it is safe inside a URL.
#[must_use]
pub fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    // DNS limits a name to 253 characters and a label to 63.
    host.len() <= 253
        && host.strip_suffix('.').unwrap_or(host).split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_encrypted_or_not_beyond_this_machine() {
        let table = [
            ("https://example.com/", false, true),
            ("http://example.com/", false, false),
            ("http://localhost.example.com/", false, false),
            ("http://localhost:8000/", true, true),
            ("http://a.localhost/", true, true),
            ("http://127.0.0.2/", true, true),
            ("http://[::1]:1/", true, true),
            ("http://[::2]/", false, false),
            ("ftp://localhost/", true, false),
        ];
        for (text, loopback, protected) in table {
            let url = Url::parse(text).unwrap();
            assert_eq!((is_loopback(&url), is_protected(&url)), (loopback, protected), "{text}");
        }
    }
}
