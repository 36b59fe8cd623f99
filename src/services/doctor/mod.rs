//! The checks of `doctor`: one finding for each requirement, with the remedy if it is not met. The running
//! daemon checks itself; a command without a daemon checks its own settings.

mod files;
mod webex;

use std::path::Path;

use crate::api_types::Finding;
use crate::api_types::FindingStatus;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::config::HttpConfig;
use crate::domain::host::is_loopback;
use crate::health::Health;
use crate::http::server::certificate::CertificatePair;
use crate::http::server::certificate::CertificateProblem;
use crate::services::http_server::host;

pub use crate::services::doctor::files::store_to_be;

/// The `what` of the findings about certificates.
pub const CERTIFICATE: &str = "certificate";

/// With any of these scopes, Webex answers `people/me`, which reports who consented.
const IDENTIFYING: [&str; 2] = ["spark:people_read", "spark:all"];

/// Checks the settings, the files that they name, and Webex. The store is not opened.
pub async fn settings(config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::new(FindingStatus::Ok, "settings", "all are understood")];
    findings
        .extend(config.warnings.iter().map(|warning| Finding::new(FindingStatus::Warn, "settings", warning)));
    findings.push(redirect_uri(&config.http));
    findings.push(scopes(&config.integration.scopes));
    if let Some(proxy) = &config.proxy {
        findings.push(Finding::new(FindingStatus::Ok, "proxy", format!("Webex is reached through {proxy}")));
    }
    findings.push(certificate(&config.http));
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
        Ok(()) => Finding::new(FindingStatus::Ok, "store", format!("{name} is open and can be written")),
        Err(why) => {
            let says = format!(
                "{name}: {why}; the log has the details, and the daemon continues once this is fixed"
            );
            Finding::new(FindingStatus::Bad, "store", says)
        }
    }
}

/// The finding for a store in memory.
#[must_use]
pub fn in_memory() -> Finding {
    Finding::new(FindingStatus::Warn, "store", "in memory: all grants are lost when the daemon stops")
}

fn redirect_uri(http: &HttpConfig) -> Finding {
    let finding = |mark, says| Finding::new(mark, "redirect URI", says);
    let url = &http.redirect_uri;
    let loopback = is_loopback(url);
    if url.scheme() == "http" && !loopback {
        let says =
            format!("{url} is plain HTTP: consents can be read in transit; use https, or TLS in a proxy");
        return finding(FindingStatus::Warn, says);
    }
    let port = url.port_or_known_default().unwrap_or(0);
    let first = http.addresses.first().map(|listen| listen.address);
    let is_ours = http.addresses.iter().any(|listen| listen.address.port() == port);
    // From another machine, only a proxy reaches loopback addresses.
    let proxied = url.scheme() == "https"
        && (!http.secure
            || (!loopback && http.addresses.iter().all(|listen| listen.address.ip().is_loopback())));
    if let Some(address) = first.filter(|_| proxied) {
        let speaks = if http.secure { "HTTPS" } else { "plain HTTP" };
        let says = format!(
            "{url}, through a proxy that speaks {speaks} to {address}; register exactly this URI at Webex"
        );
        return finding(FindingStatus::Ok, says);
    }
    if !is_ours {
        let says = format!(
            "browsers return to port {port} of {url}, but the daemon listens on {}; set MY_APP_PORT={port}, unless a proxy is in between",
            first.map(|address| address.port()).unwrap_or(0)
        );
        return finding(FindingStatus::Warn, says);
    }
    finding(FindingStatus::Ok, format!("{url}; register exactly this URI at Webex"))
}

fn scopes(scopes: &[String]) -> Finding {
    if scopes.iter().any(|scope| IDENTIFYING.contains(&scope.as_str())) {
        return Finding::new(FindingStatus::Ok, "scopes", scopes.join(" "));
    }
    let says = format!(
        "Webex will not say who consented; add spark:people_read to MY_APP_SCOPES ({})",
        scopes.join(" ")
    );
    Finding::new(FindingStatus::Bad, "scopes", says)
}

/// Checks the certificate's files that the settings name.
fn certificate(http: &HttpConfig) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, CERTIFICATE, says);
    match http.pem.as_ref().filter(|_| http.secure) {
        Some((certificate, key)) => match CertificatePair::read(certificate, key) {
            Ok(pair) => {
                let file = certificate.display();
                match pair.problem(host(http), SystemClock.now().seconds()) {
                    None => finding(FindingStatus::Ok, format!("{file}, {pair}")),
                    Some(CertificateProblem { is_error: true, text: says }) => {
                        finding(FindingStatus::Bad, format!("{file}: {says}"))
                    }
                    Some(CertificateProblem { text: says, .. }) => {
                        finding(FindingStatus::Warn, format!("{file}: {says}"))
                    }
                }
            }
            Err(e) => finding(FindingStatus::Bad, e.to_string()),
        },
        None if http.secure => {
            let says = "self-signed, created at each start: browsers show a warning; TOKEND_TLS_CERT and TOKEND_TLS_KEY name another";
            finding(FindingStatus::Ok, says.to_owned())
        }
        None if http.redirect_uri.scheme() == "https" => {
            finding(FindingStatus::Ok, "the proxy has it: the port speaks plain HTTP (TOKEND_TLS)".to_owned())
        }
        None => finding(FindingStatus::Ok, "none: the port speaks plain HTTP".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_must_let_webex_report_who_consented() {
        let mark = |text: &str| scopes(&text.split(' ').map(str::to_owned).collect::<Vec<_>>()).mark;
        assert_eq!(mark("spark:kms spark:people_read"), FindingStatus::Ok);
        assert_eq!(mark("spark:all"), FindingStatus::Ok);
        assert_eq!(mark("spark:kms"), FindingStatus::Bad);
        // It permits only `userinfo`, which the daemon does not ask.
        assert_eq!(mark("openid email"), FindingStatus::Bad);
    }
}
