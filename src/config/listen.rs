//! The settings of the HTTP server: port, addresses, certificate.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use url::Url;

use crate::config::parse::SettingsReader;
use crate::domain::host::is_loopback;
use crate::domain::operator::Operator;
use crate::http::server::certificate::CertificatePair;
use crate::http::server::certificate::WrongFiles;

/// The settings of the HTTP server.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The addresses to listen on.
    pub addresses: Vec<ListenAddress>,
    /// Whether the port speaks TLS. It does not if the redirect URI is plain http, or if a proxy on this
    /// machine terminates TLS.
    pub secure: bool,
    /// The redirect URI, parsed.
    pub redirect_uri: Url,
    /// The operator's certificate and key files.
    pub pem: Option<(PathBuf, PathBuf)>,
    /// The operator, as the pages name it.
    pub operator: Operator,
}

impl HttpConfig {
    /// Whether only this machine can reach the server: by the redirect URI's host, and by every address to
    /// listen on.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_loopback(&self.redirect_uri) && self.wide_address().is_none()
    }

    /// The first address that other machines can reach.
    pub(super) fn wide_address(&self) -> Option<SocketAddr> {
        let mut addresses = self.addresses.iter().map(|listen| listen.address);
        addresses.find(|address| !address.ip().to_canonical().is_loopback())
    }
}

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address.
    pub address: SocketAddr,
    /// Whether the daemon starts without it if the machine does not have it (::1 without IPv6).
    pub optional: bool,
}

pub(super) fn http(
    reader: &mut SettingsReader<'_>,
    redirect_uri: Option<Url>,
    operator: Operator,
) -> Option<HttpConfig> {
    let port =
        reader.whole("MY_APP_PORT", 8000, 1..=65_535, "a port").and_then(|port| u16::try_from(port).ok());
    let pem = match (reader.pem("TOKEND_TLS_CERT"), reader.pem("TOKEND_TLS_KEY")) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(_), None) => {
            reader.missing_beside("TOKEND_TLS_KEY", "TOKEND_TLS_CERT");
            None
        }
        (None, Some(_)) => {
            reader.missing_beside("TOKEND_TLS_CERT", "TOKEND_TLS_KEY");
            None
        }
        (None, None) => None,
    };
    let by_proxy = by_proxy(reader, redirect_uri.as_ref());
    let is_plain = by_proxy || redirect_uri.as_ref().is_some_and(|url| url.scheme() == "http");
    if let Some((certificate, key)) = pem.as_ref().filter(|_| reader.serves && !is_plain) {
        check_pair(reader, certificate, key);
    }
    let loopback = by_proxy || redirect_uri.as_ref().is_none_or(is_loopback);
    let addresses = addresses(reader, loopback, port.unwrap_or(0));
    if by_proxy && addresses.iter().flatten().any(|listen| !listen.address.ip().is_loopback()) {
        reader.wrong(
            "TOKEND_BIND",
            "loopback addresses, such as 127.0.0.1: with TOKEND_TLS=proxy the port speaks plain HTTP",
        );
        return None;
    }
    let redirect_uri = redirect_uri?;
    port?;
    let secure = redirect_uri.scheme() == "https" && !by_proxy;
    Some(HttpConfig { addresses: addresses?, secure, redirect_uri, pem, operator })
}

/// Collects the errors in the content of the operator's certificate and key files.
fn check_pair(reader: &mut SettingsReader<'_>, certificate: &Path, key: &Path) {
    let Err(wrong) = CertificatePair::check(certificate, key) else { return };
    let (wrong_certificate, wrong_key) = match *wrong {
        WrongFiles::Certificate(why) => (Some(why), None),
        WrongFiles::Key(why) => (None, Some(why)),
        WrongFiles::Both(certificate, key) => (Some(certificate), Some(key)),
    };
    for (variable, wrong) in [("TOKEND_TLS_CERT", wrong_certificate), ("TOKEND_TLS_KEY", wrong_key)] {
        let Some(wrong) = wrong else { continue };
        let (found, expected) = wrong.found_and_expected();
        reader.add_error(variable, found, expected);
    }
}

/// Whether a proxy on this machine terminates TLS and forwards plain HTTP to the daemon.
fn by_proxy(reader: &mut SettingsReader<'_>, redirect_uri: Option<&Url>) -> bool {
    match reader.text("TOKEND_TLS") {
        Some("proxy") if redirect_uri.is_none_or(|url| url.scheme() == "https") => true,
        Some("proxy") => {
            reader.wrong(
                "TOKEND_TLS",
                "nothing, or an https address in MY_APP_REDIRECT_URI: browsers speak TLS with the proxy",
            );
            false
        }
        None | Some("own") => false,
        Some(_) => {
            reader.wrong("TOKEND_TLS", "own, or proxy if a proxy on this machine terminates TLS");
            false
        }
    }
}

fn addresses(reader: &mut SettingsReader<'_>, loopback: bool, port: u16) -> Option<Vec<ListenAddress>> {
    let Some(text) = reader.text("TOKEND_BIND") else {
        let (v4, v6) = if loopback {
            (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)
        } else {
            (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)
        };
        let listen = |ip: IpAddr, optional| ListenAddress { address: SocketAddr::new(ip, port), optional };
        return Some(vec![listen(v4.into(), false), listen(v6.into(), true)]);
    };
    let listen = |word: &str| {
        let address = word.parse().or_else(|_| word.parse().map(|ip: IpAddr| SocketAddr::new(ip, port)));
        address.ok().map(|address| ListenAddress { address, optional: false })
    };
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let addresses: Option<Vec<ListenAddress>> = words.map(listen).collect();
    let addresses = addresses.filter(|list| !list.is_empty());
    if addresses.is_none() {
        reader.wrong(
            "TOKEND_BIND",
            "IP addresses separated by commas, such as 127.0.0.1,::1 (with :PORT if it differs)",
        );
    }
    addresses
}
