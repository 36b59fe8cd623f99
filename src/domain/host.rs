//! Validation of the host of a URL.

use std::net::Ipv6Addr;

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
