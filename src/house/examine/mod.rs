//! What must be right for the daemon to do its work: one finding for each thing, and what to do where it is not. The
//! running daemon examines itself; a command without one examines its own settings.

mod files;
mod webex;

use std::path::Path;

use crate::api_types::Finding;
use crate::api_types::Mark;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::DoorConfig;
use crate::config::StoreConfig;
use crate::health::Health;
use crate::http::certificate::Pair;
use crate::http::certificate::Trouble;

pub use crate::house::examine::files::store_to_be;

/// What the findings on certificates are called.
pub const CERTIFICATE: &str = "certificate";

/// Any of these lets Webex say who consented.
const IDENTIFYING: [&str; 3] = ["spark:people_read", "spark:all", "openid"];

/// Settings, files that they name, and Webex. The store is not opened.
pub async fn settings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::new(Mark::Ok, "settings", "all are understood")];
    findings.extend(config.remarks.iter().map(|remark| Finding::new(Mark::Warn, "settings", remark)));
    findings.push(redirect_uri(&config.door));
    findings.push(scopes(&config.integration.scopes));
    if let Some(proxy) = &config.proxy {
        findings.push(Finding::new(Mark::Ok, "proxy", format!("Webex is reached through {proxy}")));
    }
    findings.push(certificate(&config.door));
    findings.extend(files::key(&config.store));
    findings.extend(webex::findings(config).await);
    findings
}

/// The same by the daemon itself, with the store that it has open.
pub(super) async fn daemon(config: &Config, health: &Health) -> Vec<Finding> {
    let mut findings = settings(config).await;
    findings.push(open_store(config.store.path(), health).await);
    findings
}

async fn open_store(path: Option<&Path>, health: &Health) -> Finding {
    let Some(path) = path else { return in_memory() };
    let name = path.display();
    match health.ready().await {
        Ok(()) => Finding::new(Mark::Ok, "store", format!("{name} is open and can be written")),
        Err(why) => {
            let says =
                format!("{name}: {why}; the log has more, and the daemon goes on when it is well again");
            Finding::new(Mark::Bad, "store", says)
        }
    }
}

/// A store that outlives nothing.
#[must_use]
pub fn in_memory() -> Finding {
    Finding::new(Mark::Warn, "store", "in memory: everything is forgotten when the daemon ends")
}

fn redirect_uri(door: &DoorConfig) -> Finding {
    let finding = |mark, says| Finding::new(mark, "redirect URI", says);
    let url = &door.redirect_uri;
    let host = url.host_str().unwrap_or_default();
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if url.scheme() == "http" && !loopback {
        let says =
            format!("{url} is plain HTTP: consents can be read on the way; use https, or TLS in a proxy");
        return finding(Mark::Warn, says);
    }
    let port = url.port_or_known_default().unwrap_or(0);
    let first = door.addresses.first().map(|listen| listen.address);
    let is_ours = door.addresses.iter().any(|listen| listen.address.port() == port);
    // From elsewhere only a proxy reaches this machine's own addresses.
    let proxied = url.scheme() == "https"
        && (!door.secure
            || (!loopback && door.addresses.iter().all(|listen| listen.address.ip().is_loopback())));
    if let Some(address) = first.filter(|_| proxied) {
        let speaks = if door.secure { "HTTPS" } else { "plain HTTP" };
        let says = format!(
            "{url}, by a proxy that speaks {speaks} to {address}; it must be registered at Webex to the letter"
        );
        return finding(Mark::Ok, says);
    }
    if !is_ours {
        let says = format!(
            "people come back to port {port} of {url}, the daemon listens on {}; set MY_APP_PORT={port}, unless a proxy stands between",
            first.map(|address| address.port()).unwrap_or(0)
        );
        return finding(Mark::Warn, says);
    }
    finding(Mark::Ok, format!("{url}; it must be registered at Webex to the letter"))
}

fn scopes(scopes: &[String]) -> Finding {
    if scopes.iter().any(|scope| IDENTIFYING.contains(&scope.as_str())) {
        return Finding::new(Mark::Ok, "scopes", scopes.join(" "));
    }
    let says = format!(
        "Webex will not say who consented; add spark:people_read to MY_APP_SCOPES ({})",
        scopes.join(" ")
    );
    Finding::new(Mark::Bad, "scopes", says)
}

/// What the files hold that the settings name.
fn certificate(door: &DoorConfig) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, CERTIFICATE, says);
    match door.pem.as_ref().filter(|_| door.secure) {
        Some((certificate, key)) => match Pair::read(certificate, key) {
            Ok(pair) => {
                let host = door.redirect_uri.host_str().unwrap_or_default().trim_matches(['[', ']']);
                let file = certificate.display();
                match pair.trouble(host, SystemClock.now().seconds()) {
                    None => finding(Mark::Ok, format!("{file}, {pair}")),
                    Some(Trouble { is_error: true, says }) => finding(Mark::Bad, format!("{file}: {says}")),
                    Some(Trouble { says, .. }) => finding(Mark::Warn, format!("{file}: {says}")),
                }
            }
            Err(e) => finding(Mark::Bad, e.to_string()),
        },
        None if door.secure => {
            let says = "self-signed, made at each start: browsers ask once; TOKEND_TLS_CERT and TOKEND_TLS_KEY name another";
            finding(Mark::Ok, says.to_owned())
        }
        None if door.redirect_uri.scheme() == "https" => {
            finding(Mark::Ok, "the proxy's: the port speaks plain HTTP (TOKEND_TLS)".to_owned())
        }
        None => finding(Mark::Ok, "none: the port speaks plain HTTP".to_owned()),
    }
}

/// Where grants are kept, if that outlives the daemon.
fn kept(store: &StoreConfig) -> Option<(&Path, &Path)> {
    match store {
        StoreConfig::Sqlite { path, key_file } => Some((path, key_file)),
        StoreConfig::Memory => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_must_let_webex_say_who_consented() {
        let mark = |text: &str| scopes(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).mark;
        assert_eq!(mark("spark:kms spark:people_read"), Mark::Ok);
        assert_eq!(mark("spark:all"), Mark::Ok);
        assert_eq!(mark("spark:kms"), Mark::Bad);
    }
}
