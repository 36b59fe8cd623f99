//! `doctor`: one line for everything that must be right, and what to do where it is not. Prints no secret.

mod webex;

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::api_types::Breaker;
use crate::api_types::Certificate;
use crate::api_types::People;
use crate::api_types::Status;
use crate::cli::client::CallError;
use crate::cli::client::Handle;
use crate::cli::client::Surroundings;
use crate::cli::commands::API;
use crate::cli::commands::people::Lacking;
use crate::cli::commands::people::pause_line;
use crate::cli::commands::person;
use crate::cli::exit::Exit;
use crate::cli::exit::Failure;
use crate::cli::local::Needs;
use crate::cli::print;
use crate::cli::print::Paper;
use crate::cli::print::printable;
use crate::cli::show;
use crate::cli::table::Ink;
use crate::config::Config;
use crate::config::DoorConfig;
use crate::config::StoreConfig;
use crate::domain::breaker::Cause;
use crate::house::House;
use crate::http::api;
use crate::http::certificate::Pair;
use crate::http::certificate::Trouble;

/// Any of these lets Webex say who consented.
const IDENTIFYING: [&str; 3] = ["spark:people_read", "spark:all", "openid"];

const CERTIFICATE: &str = "certificate";

/// Grants looked at for missing scopes.
const LOOKED_AT: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ok,
    Warn,
    Bad,
    /// Bad, and by Webex's absence alone.
    Unreachable,
}

struct Finding {
    mark: Mark,
    what: &'static str,
    says: String,
}

impl Finding {
    fn new(mark: Mark, what: &'static str, says: impl Into<String>) -> Self {
        Self { mark, what, says: says.into() }
    }

    fn line(&self, paper: Paper) -> String {
        let (word, ink) = match self.mark {
            Mark::Ok => ("ok", Ink::Good),
            Mark::Warn => ("warn", Ink::Attention),
            Mark::Bad | Mark::Unreachable => ("bad", Ink::Bad),
        };
        format!("{}  {:<12}  {}", ink.paint(&format!("{word:<4}"), paper), self.what, printable(&self.says))
    }
}

pub(super) fn run(surroundings: &Surroundings) -> Result<(), Failure> {
    let (daemon, daemon_runs) = daemon(surroundings);
    let mut findings = Vec::new();
    match Config::read(&surroundings.source) {
        Err(mistakes) => {
            findings.extend(
                mistakes.0.iter().map(|wrong| Finding::new(Mark::Bad, "settings", wrong.to_string())),
            );
            let hints = mistakes.1.iter().map(|hint| Finding::new(Mark::Warn, "settings", hint));
            findings.extend(hints);
            findings.extend(daemon);
            let says = "not asked: put the settings right first";
            findings.push(Finding::new(Mark::Warn, "webex", says));
        }
        Ok(config) => {
            findings.push(Finding::new(Mark::Ok, "settings", "all are understood"));
            findings.extend(config.remarks.iter().map(|remark| Finding::new(Mark::Warn, "settings", remark)));
            findings.push(redirect_uri(&config.door));
            findings.push(scopes(&config.integration.scopes));
            if let Some(proxy) = &config.proxy {
                findings.push(Finding::new(Mark::Ok, "proxy", format!("Webex is reached through {proxy}")));
            }
            let files = certificate(&config.door);
            let served = daemon.iter().any(|finding| finding.what == CERTIFICATE);
            // What the daemon serves counts; but what it cannot read now, it cannot read at the next start.
            if !served || files.mark == Mark::Bad {
                findings.push(files);
            }
            findings.extend(key(&config.store));
            findings.extend(daemon);
            findings.extend(with_runtime(&config, daemon_runs)?);
            findings.extend(grants(surroundings));
        }
    }
    let paper = Paper::of_stdout(&surroundings.source);
    let lines: Vec<String> = findings.iter().map(|finding| finding.line(paper)).collect();
    print::line(&lines.join("\n"))?;
    let any = |mark| findings.iter().any(|finding| finding.mark == mark);
    match (any(Mark::Bad), any(Mark::Unreachable)) {
        (true, _) => Err(Failure::Silent(Exit::Failed)),
        (false, true) => Err(Failure::Silent(Exit::WebexUnreachable)),
        (false, false) => Ok(()),
    }
}

/// Also says whether one runs.
fn daemon(surroundings: &Surroundings) -> (Vec<Finding>, bool) {
    let socket = &surroundings.socket;
    let place = socket.path().display();
    let finding = |mark, says: String| Finding::new(mark, "daemon", says);
    let stream = match socket.connect() {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            let says = format!(
                "none answers at {place}; commands work on the store themselves until one is started"
            );
            return (vec![finding(Mark::Warn, says)], false);
        }
        Err(e) => return (vec![finding(Mark::Bad, e.to_string())], false),
    };
    let mut handle = Handle::Daemon(socket.clone(), Some(stream));
    let answers = match handle.get::<People>(&format!("{API}/people?limit=1")) {
        Ok(_) => finding(Mark::Ok, format!("answers at {place}")),
        Err(Failure::Told(_, why)) => finding(Mark::Bad, why),
        Err(_) => finding(Mark::Bad, format!("does not answer well at {place}")),
    };
    // A daemon of another version may not know.
    let status: Option<Status> = handle.get(&format!("{API}/status")).ok();
    let (now, mut findings) = (show::now(), vec![answers]);
    if let Some(status) = status {
        findings.push(refreshes(&status.breaker, now));
        findings.extend(status.certificate.map(|certificate| served(&certificate, now)));
    }
    (findings, true)
}

/// Whether refreshes of everybody pause; the cause says what to do.
fn refreshes(breaker: &Breaker, now: i64) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, "refreshes", says);
    match pause_line(breaker, now) {
        None => finding(Mark::Ok, "go on".to_owned()),
        Some(line) if breaker.cause.as_deref() == Some(Cause::ClientRefused.word()) => {
            finding(Mark::Bad, line)
        }
        Some(line) => finding(
            Mark::Warn,
            format!("{line}; live tokens are given all the same, and refreshes go on by themselves"),
        ),
    }
}

fn redirect_uri(door: &DoorConfig) -> Finding {
    let finding = |mark, says| Finding::new(mark, "redirect URI", says);
    let url = &door.redirect_uri;
    let port = url.port_or_known_default().unwrap_or(0);
    let ours: Vec<u16> = door.addresses.iter().map(|listen| listen.address.port()).collect();
    if !ours.contains(&port) {
        let says = format!(
            "people come back to port {port} of {url}, the daemon listens on {}; set MY_APP_PORT={port}, unless a proxy stands between",
            ours.first().copied().unwrap_or(0)
        );
        return finding(Mark::Warn, says);
    }
    let host = url.host_str().unwrap_or_default();
    let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if !door.secure && !loopback {
        let says =
            format!("{url} is plain HTTP: consents can be read on the way; use https, or TLS in a proxy");
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

/// The one that the daemon serves, by its own word.
fn served(certificate: &Certificate, now: i64) -> Finding {
    let seconds = |text: &Option<String>| Some(text.as_ref()?.parse::<jiff::Timestamp>().ok()?.as_second());
    let (begins, ends) = (seconds(&certificate.begins_at), seconds(&certificate.ends_at));
    let good = begins.is_none_or(|begins| begins <= now) && ends.is_none_or(|ends| now < ends);
    let mark = match &certificate.trouble {
        None => Mark::Ok,
        Some(_) if good => Mark::Warn,
        Some(_) => Mark::Bad,
    };
    let whose = if certificate.self_signed { "self-signed" } else { "the operator's" };
    let (names, end) =
        (certificate.names.join(", "), certificate.ends_at.as_deref().unwrap_or("an unknown time"));
    let trouble = certificate.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    let says = format!(
        "served: {whose}, for {names}, good until {end}, key fingerprint {}{trouble}",
        certificate.fingerprint
    );
    Finding::new(mark, CERTIFICATE, says)
}

/// Whether grants lack scopes that consents ask for. Where nobody can say, other findings tell why.
fn grants(surroundings: &Surroundings) -> Option<Finding> {
    let mut handle = Handle::open(surroundings, Needs::Kept).ok()?;
    let (mut lacking, mut looked_at) = (Lacking::default(), 0);
    let looked = person::among(&mut handle, "", |_, person| {
        lacking.count(&person);
        looked_at += 1;
        Ok(if looked_at < LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    looked.ok()?;
    let finding = |mark, says: String| Some(Finding::new(mark, "grants", says));
    match lacking.persons {
        0 => finding(Mark::Ok, format!("{looked_at} checked, all have every scope of MY_APP_SCOPES")),
        _ => finding(Mark::Warn, format!("{looked_at} checked, {}", lacking.line())),
    }
}

/// What the files hold that the settings name.
fn certificate(door: &DoorConfig) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, CERTIFICATE, says);
    match &door.pem {
        Some((certificate, key)) => match Pair::read(certificate, key) {
            Ok(pair) => {
                let host = door.redirect_uri.host_str().unwrap_or_default().trim_matches(['[', ']']);
                let file = certificate.display();
                match pair.trouble(host, show::now()) {
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
        None => finding(Mark::Ok, "none: the port speaks plain HTTP".to_owned()),
    }
}

fn key(store: &StoreConfig) -> Option<Finding> {
    let StoreConfig::Sqlite { path, key_file } = store else { return None };
    let (mark, says) = match fs::metadata(key_file) {
        Ok(found) => key_found(key_file, found.len(), found.permissions().mode() & 0o777),
        Err(_) if !has_store(path) => {
            (Mark::Ok, format!("{} will be made with the store", key_file.display()))
        }
        Err(e) => {
            let says = format!(
                "{}: {e}; the store cannot be opened without it, restore it from your backup",
                key_file.display()
            );
            (Mark::Bad, says)
        }
    };
    Some(Finding::new(mark, "key file", says))
}

fn key_found(path: &Path, length: u64, mode: u32) -> (Mark, String) {
    let name = path.display();
    if length != 32 {
        return (Mark::Bad, format!("{name} has {length} bytes, not 32; restore it from your backup"));
    }
    if mode & 0o077 != 0 {
        return (Mark::Bad, format!("{name} has mode {mode:04o}, others may use it; chmod 600 it"));
    }
    (Mark::Ok, format!("{name}; back it up apart from the store"))
}

fn has_store(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() > 0)
}

/// The store and Webex: what needs the daemon's own parts.
fn with_runtime(config: &Config, daemon_runs: bool) -> Result<Vec<Finding>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("no runtime: {e}")))?;
    Ok(runtime.block_on(async {
        let mut findings = store(config, daemon_runs).await;
        findings.extend(webex::findings(config).await);
        findings
    }))
}

/// With nobody else at the store, also whether refreshes paused when its daemon ended.
async fn store(config: &Config, daemon_runs: bool) -> Vec<Finding> {
    let finding = |mark, says: String| vec![Finding::new(mark, "store", says)];
    let StoreConfig::Sqlite { path, .. } = &config.store else {
        return finding(Mark::Warn, "in memory: everything is forgotten when the daemon ends".to_owned());
    };
    let name = path.display();
    if !has_store(path) {
        return finding(Mark::Ok, format!("{name} will be made at the first start"));
    }
    match House::build(config).await {
        Ok(house) => {
            let left = refreshes(&api::breaker(house.refresher.pause()), show::now());
            let mut findings = finding(Mark::Ok, format!("{name} opens"));
            findings.extend(Some(left).filter(|left| left.mark != Mark::Ok));
            findings
        }
        Err(e) if e.is_in_use() && daemon_runs => {
            finding(Mark::Ok, format!("{name} is in use by the daemon"))
        }
        Err(e) if e.is_in_use() => {
            let says = CallError::InUse(path.clone()).to_string();
            finding(Mark::Bad, says)
        }
        Err(e) => finding(Mark::Bad, e.to_string()),
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

    #[test]
    fn keys_that_others_can_read_are_bad() {
        let mark = |length, mode| key_found(Path::new("key"), length, mode).0;
        assert_eq!([mark(32, 0o600), mark(32, 0o640), mark(31, 0o600)], [Mark::Ok, Mark::Bad, Mark::Bad]);
    }
}
