//! `doctor`: prints one line for each requirement, with the remedy if it is not met. Prints no secret.

use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;

use crate::api_types::BreakerView;
use crate::api_types::CertificateView;
use crate::api_types::DoctorReport;
use crate::api_types::Finding;
use crate::api_types::FindingStatus;
use crate::api_types::Status;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CallError;
use crate::cli::api_client::CommandContext;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::commands::people::MissingScopes;
use crate::cli::commands::people::pause_line;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::printable;
use crate::cli::table::Color;
use crate::config::Config;
use crate::config::ConfigErrors;
use crate::config::StoreConfig;
use crate::domain::breaker::Cause;
use crate::http::api;
use crate::services::Services;
use crate::services::doctor;
use crate::services::doctor::CERTIFICATE;

/// Maximum number of grants checked for missing scopes.
const LOOKED_AT: usize = 10_000;

/// Maximum number of named persons whose grants lack scopes.
const NAMED: usize = 20;

pub(super) fn run(context: &CommandContext) -> Result<(), CommandError> {
    let socket = &context.socket;
    let place = socket.path().display();
    let findings = match socket.connect() {
        Ok(Some(stream)) => ask_daemon(context, stream),
        Ok(None) => {
            let says = format!(
                "no daemon answers at {place}; start it with `webex-tokend serve`, or set TOKEND_STATE_DIR or \
                 TOKEND_CONTROL_SOCKET as the daemon has them. The following checks use this command's own settings"
            );
            check_environment(context, Finding::new(FindingStatus::Warn, "daemon", says))?
        }
        // The state of the daemon is unknown, and this command need not have the daemon's settings.
        Err(e) if context.source.setting("MY_APP_CLIENT_ID").is_none() => {
            let says = "not checked: the daemon's settings are unknown, and this command has none of its own";
            vec![
                Finding::new(FindingStatus::Bad, "daemon", e.to_string()),
                Finding::new(FindingStatus::Warn, "settings", says),
            ]
        }
        Err(e) => check_environment(context, Finding::new(FindingStatus::Bad, "daemon", e.to_string()))?,
    };
    let terminal = Terminal::for_stdout(&context.source);
    let lines: Vec<String> = findings.iter().map(|finding| line(finding, terminal)).collect();
    output::write_line(&lines.join("\n"))?;
    let any = |mark| findings.iter().any(|finding| finding.mark == mark);
    match (any(FindingStatus::Bad), any(FindingStatus::Unreachable)) {
        (true, _) => Err(CommandError::Silent(Exit::Failed)),
        (false, true) => Err(CommandError::Silent(Exit::WebexUnreachable)),
        (false, false) => Ok(()),
    }
}

fn line(finding: &Finding, terminal: Terminal) -> String {
    let (word, color) = match finding.mark {
        FindingStatus::Ok => ("ok", Color::Good),
        FindingStatus::Warn => ("warn", Color::Attention),
        FindingStatus::Bad | FindingStatus::Unreachable => ("bad", Color::Bad),
    };
    let word = color.paint(&format!("{word:<4}"), terminal);
    format!("{word}  {:<12}  {}", printable(&finding.what), printable(&finding.says))
}

/// The checks of a running daemon: its settings, its certificate, its store.
fn ask_daemon(context: &CommandContext, stream: UnixStream) -> Vec<Finding> {
    let socket = &context.socket;
    let place = socket.path().display();
    let mut handle = ApiClient::Daemon(socket.clone(), Some(stream));
    let status = match handle.get::<Status>(&format!("{API}/status")) {
        Ok(status) => status,
        Err(CommandError::Told(_, why)) => return vec![Finding::new(FindingStatus::Bad, "daemon", why)],
        Err(_) => {
            let says = format!("does not answer correctly at {place}; look at its log");
            return vec![Finding::new(FindingStatus::Bad, "daemon", says)];
        }
    };
    let now = format::now();
    let mut findings = vec![
        Finding::new(FindingStatus::Ok, "daemon", format!("version {} answers at {place}", status.version)),
        refreshes(&status.breaker, now),
    ];
    findings
        .extend(status.backlog.map(|backlog| Finding::new(FindingStatus::Warn, "refreshes", backlog.says)));
    let served = status.certificate.map(|certificate| served(&certificate, now));
    match handle.get::<DoctorReport>(&format!("{API}/doctor")) {
        Ok(examined) => {
            // The served certificate is what matters. But files that cannot be read now will fail at the next
            // start.
            let counts = |finding: &Finding| {
                served.is_none() || finding.what != CERTIFICATE || finding.mark == FindingStatus::Bad
            };
            findings.extend(examined.findings.into_iter().filter(counts));
        }
        Err(CommandError::Told(_, why)) => {
            let says = format!("the daemon cannot check them: {why}");
            findings.push(Finding::new(FindingStatus::Bad, "settings", says));
        }
        Err(_) => {}
    }
    findings.extend(served);
    findings.extend(grants(context));
    findings
}

/// The checks with the settings of this command.
fn check_environment(context: &CommandContext, daemon: Finding) -> Result<Vec<Finding>, CommandError> {
    let config = match Config::read(&context.source) {
        Ok(config) => config,
        Err(ConfigErrors(mistakes, hints)) => {
            let mut findings = vec![daemon];
            findings.extend(
                mistakes.iter().map(|wrong| Finding::new(FindingStatus::Bad, "settings", wrong.to_string())),
            );
            findings.extend(hints.iter().map(|hint| Finding::new(FindingStatus::Warn, "settings", hint)));
            let says = "not checked: correct the settings first";
            findings.push(Finding::new(FindingStatus::Warn, "webex", says));
            return Ok(findings);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| CommandError::new(Exit::Failed, format!("cannot start the async runtime: {e}")))?;
    let mut findings = vec![daemon];
    findings.extend(runtime.block_on(doctor::settings(&config)));
    findings.extend(runtime.block_on(store(&config)));
    findings.extend(grants(context));
    Ok(findings)
}

/// Checks whether the store opens, and whether refreshes paused when the last daemon stopped.
async fn store(config: &Config) -> Vec<Finding> {
    let finding = |mark, says: String| vec![Finding::new(mark, "store", says)];
    let StoreConfig::Sqlite { path, .. } = &config.store else { return vec![doctor::in_memory()] };
    if let Some(to_be) = doctor::store_to_be(path) {
        return vec![to_be];
    }
    match Services::build(config).await {
        Ok(services) => {
            let left = refreshes(&api::breaker(services.api.refresher.pause()), format::now());
            let mut findings = finding(FindingStatus::Ok, format!("{} opens", path.display()));
            findings.extend(Some(left).filter(|left| left.mark != FindingStatus::Ok));
            findings
        }
        Err(e) if e.is_in_use() => finding(FindingStatus::Bad, CallError::InUse(path.clone()).to_string()),
        Err(e) => finding(FindingStatus::Bad, e.to_string()),
    }
}

/// Whether all refreshes pause; the cause says what to do.
fn refreshes(breaker: &BreakerView, now: i64) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, "refreshes", says);
    match pause_line(breaker, now) {
        None => finding(FindingStatus::Ok, "go on".to_owned()),
        Some(line) if breaker.cause.as_deref() == Some(Cause::ClientRefused.as_str()) => {
            finding(FindingStatus::Bad, line)
        }
        Some(line) => finding(
            FindingStatus::Warn,
            format!("{line}; live tokens are still served, and refreshes continue automatically"),
        ),
    }
}

/// The certificate that the daemon serves.
fn served(certificate: &CertificateView, now: i64) -> Finding {
    let seconds = |text: &Option<String>| Some(text.as_ref()?.parse::<jiff::Timestamp>().ok()?.as_second());
    let (begins, ends) = (seconds(&certificate.begins_at), seconds(&certificate.ends_at));
    let good = begins.is_none_or(|begins| begins <= now) && ends.is_none_or(|ends| now < ends);
    let mark = match &certificate.trouble {
        None => FindingStatus::Ok,
        Some(_) if good => FindingStatus::Warn,
        Some(_) => FindingStatus::Bad,
    };
    let whose = if certificate.self_signed { "self-signed" } else { "from the operator's files" };
    let (names, end) =
        (certificate.names.join(", "), certificate.ends_at.as_deref().unwrap_or("an unknown time"));
    let trouble = certificate.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    let says = format!(
        "served: {whose}, for {names}, valid until {end}, key fingerprint {}{trouble}",
        certificate.fingerprint
    );
    Finding::new(mark, CERTIFICATE, says)
}

/// Finds grants that lack configured scopes. If the list is not available, other findings explain why.
fn grants(context: &CommandContext) -> Vec<Finding> {
    let mut lines = Vec::new();
    let (mut lacking, mut looked_at) = (MissingScopes::default(), 0);
    let looked =
        ApiClient::open(context, StoreAccess::Existing).map_err(CommandError::from).and_then(|mut handle| {
            person::among(&mut handle, "", |_, person| {
                lacking.count(&person);
                if !person.missing_scopes.is_empty() && lines.len() < NAMED {
                    lines.push(format!(
                        "{} lacks {}",
                        format::person_name(&person),
                        person.missing_scopes.join(" ")
                    ));
                }
                looked_at += 1;
                Ok(if looked_at < LOOKED_AT { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })
        });
    if looked.is_err() {
        return Vec::new();
    }
    let says = match lacking.persons {
        0 => format!("{looked_at} checked, all have every scope of MY_APP_SCOPES"),
        _ => format!("{looked_at} checked, {}", lacking.line()),
    };
    let mark = if lacking.persons == 0 { FindingStatus::Ok } else { FindingStatus::Warn };
    [says].into_iter().chain(lines).map(|says| Finding::new(mark, "grants", says)).collect()
}
