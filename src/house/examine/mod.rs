//! The checks of `doctor`: one finding for each requirement, with the remedy if it is not met. The running
//! daemon checks itself; a command without a daemon checks its own settings.

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
use crate::house::door::host;
use crate::http::certificate::Pair;
use crate::http::certificate::Trouble;

pub use crate::house::examine::files::store_to_be;

/// The `what` of the findings about certificates.
pub const CERTIFICATE: &str = "certificate";

/// With any of these scopes, Webex answers `people/me`, which reports who consented.
const IDENTIFYING: [&str; 2] = ["spark:people_read", "spark:all"];

/// Checks the settings, the files that they name, and Webex. The store is not opened.
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

/// Checks the same from inside the daemon, including its open store.
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
            let says = format!(
                "{name}: {why}; the log has the details, and the daemon continues once this is fixed"
            );
            Finding::new(Mark::Bad, "store", says)
        }
    }
}

/// The finding for a store in memory.
#[must_use]
pub fn in_memory() -> Finding {
    Finding::new(Mark::Warn, "store", "in memory: all grants are lost when the daemon stops")
}

fn redirect_uri(door: &DoorConfig) -> Finding {
    let finding = |mark, says| Finding::new(mark, "redirect URI", says);
    let url = &door.redirect_uri;
    let host = url.host_str().unwrap_or_default();
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if url.scheme() == "http" && !loopback {
        let says =
            format!("{url} is plain HTTP: consents can be read in transit; use https, or TLS in a proxy");
        return finding(Mark::Warn, says);
    }
    let port = url.port_or_known_default().unwrap_or(0);
    let first = door.addresses.first().map(|listen| listen.address);
    let is_ours = door.addresses.iter().any(|listen| listen.address.port() == port);
    // From another machine, only a proxy reaches loopback addresses.
    let proxied = url.scheme() == "https"
        && (!door.secure
            || (!loopback && door.addresses.iter().all(|listen| listen.address.ip().is_loopback())));
    if let Some(address) = first.filter(|_| proxied) {
        let speaks = if door.secure { "HTTPS" } else { "plain HTTP" };
        let says = format!(
            "{url}, through a proxy that speaks {speaks} to {address}; register exactly this URI at Webex"
        );
        return finding(Mark::Ok, says);
    }
    if !is_ours {
        let says = format!(
            "browsers return to port {port} of {url}, but the daemon listens on {}; set MY_APP_PORT={port}, unless a proxy is in between",
            first.map(|address| address.port()).unwrap_or(0)
        );
        return finding(Mark::Warn, says);
    }
    finding(Mark::Ok, format!("{url}; register exactly this URI at Webex"))
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

/// Checks the certificate's files that the settings name.
fn certificate(door: &DoorConfig) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, CERTIFICATE, says);
    match door.pem.as_ref().filter(|_| door.secure) {
        Some((certificate, key)) => match Pair::read(certificate, key) {
            Ok(pair) => {
                let file = certificate.display();
                match pair.trouble(host(door), SystemClock.now().seconds()) {
                    None => finding(Mark::Ok, format!("{file}, {pair}")),
                    Some(Trouble { is_error: true, says }) => finding(Mark::Bad, format!("{file}: {says}")),
                    Some(Trouble { says, .. }) => finding(Mark::Warn, format!("{file}: {says}")),
                }
            }
            Err(e) => finding(Mark::Bad, e.to_string()),
        },
        None if door.secure => {
            let says = "self-signed, created at each start: browsers show a warning; TOKEND_TLS_CERT and TOKEND_TLS_KEY name another";
            finding(Mark::Ok, says.to_owned())
        }
        None if door.redirect_uri.scheme() == "https" => {
            finding(Mark::Ok, "the proxy has it: the port speaks plain HTTP (TOKEND_TLS)".to_owned())
        }
        None => finding(Mark::Ok, "none: the port speaks plain HTTP".to_owned()),
    }
}

/// The paths of the store and its key file; `None` for a store in memory.
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
    fn a_scope_must_let_webex_report_who_consented() {
        let mark = |text: &str| scopes(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).mark;
        assert_eq!(mark("spark:kms spark:people_read"), Mark::Ok);
        assert_eq!(mark("spark:all"), Mark::Ok);
        assert_eq!(mark("spark:kms"), Mark::Bad);
        // It permits only `userinfo`, which the daemon does not ask.
        assert_eq!(mark("openid email"), Mark::Bad);
    }
}
