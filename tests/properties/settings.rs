//! A `.env` file, and the settings read from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;
use webex_tokend::config::ALIASES;
use webex_tokend::config::Config;
use webex_tokend::config::ConfigErrors;
use webex_tokend::config::EnvFile;
use webex_tokend::config::SettingsSource;
use webex_tokend::config::VARIABLES;
use webex_tokend::config::secrets;

use super::harness::SECRET_MARK;

/// Variables with a URL; a login may be before the host or in the query.
const URLS: [&str; 7] = [
    "MY_APP_REDIRECT_URI",
    "REDIRECT_URI",
    "REDIRECT_URL",
    "WEBEX_API_BASE_URL",
    "TOKEND_STORE_URL",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// All errors are reported at once, and none quotes a secret.
pub(super) fn holds(data: &[u8]) -> String {
    let dir = dir();
    fs::write(dir.join(".env"), data).unwrap();
    let source = match SettingsSource::environment(EnvFile::In(dir)) {
        Ok(source) => source,
        Err(mistakes) => return told(&mistakes),
    };
    let words = |text: &str| text.to_owned();
    if VARIABLES.iter().any(|name| may_be_told(&source, name)) || reads_a_device(&source) {
        return words("not looked at");
    }
    let Err(mistakes) = Config::read(&source) else {
        let config = Config::read(&source).unwrap();
        let shown = format!(
            "{:?}",
            (&config.warnings, &config.hook, &config.token_service, &config.integration.client_secret)
        );
        assert!(!shown.contains(SECRET_MARK), "{shown}");
        return words("settings");
    };
    assert!(!mistakes.0.is_empty());
    let came = told(&mistakes);
    let mended = mended(source, &mistakes);
    if let Err(later) = Config::read(&mended) {
        panic!("{later}\nwas reported only after these were fixed:\n{mistakes}");
    }
    came
}

/// Whether the mark is in a place that is not secret.
fn may_be_told(source: &SettingsSource, name: &str) -> bool {
    let others = ALIASES.iter().filter(|(ours, _)| *ours == name).map(|(_, other)| *other);
    others.chain([name]).filter(|name| !secrets().any(|secret| secret == *name)).any(|name| {
        let text = source.get(name).unwrap_or_default();
        let address = text.split('?').next().unwrap_or_default();
        let host = address.rsplit_once('@').map_or(address, |(_, host)| host);
        if URLS.contains(&name) { host.contains(SECRET_MARK) } else { text.contains(SECRET_MARK) }
    })
}

fn told(mistakes: &ConfigErrors) -> String {
    let told = mistakes.to_string();
    assert!(!told.contains(SECRET_MARK), "{told}");
    for mistake in &mistakes.0 {
        let known = VARIABLES.contains(&mistake.variable)
            || ALIASES.iter().any(|(_, other)| *other == mistake.variable);
        assert!(known || mistake.variable == ".env", "{mistake}");
        assert!(!mistake.expected.is_empty() && mistake.found.chars().count() < 1000, "{mistake}");
    }
    let names: Vec<&str> = mistakes.0.iter().map(|mistake| mistake.variable).collect();
    format!("mistakes in {}", names.join(" "))
}

/// The settings with a valid value for each reported error.
fn mended(mut source: SettingsSource, mistakes: &ConfigErrors) -> SettingsSource {
    let right = BTreeMap::from([
        ("MY_APP_CLIENT_ID", "C1"),
        ("MY_APP_SECRET_ID", "secret"),
        ("MY_APP_SECRET_ID_FILE", ""),
        ("ORG_ID", "org"),
        ("FROM", "ada"),
        ("SOURCE_IP", "127.0.0.1"),
        ("TOKEND_STATE_DIR", "/nonexistent"),
        ("TOKEND_CONTROL_SOCKET", "/nonexistent/control.sock"),
    ]);
    let mut set = |name: &str, value: &str| source.extend([(name.to_owned(), value.to_owned())]);
    for mistake in &mistakes.0 {
        let ours = ALIASES.iter().find(|(_, other)| *other == mistake.variable);
        let ours = ours.map_or(mistake.variable, |(ours, _)| *ours);
        set(mistake.variable, "");
        set(ours, right.get(ours).unwrap_or(&""));
        ALIASES.iter().filter(|(name, _)| *name == ours).for_each(|(_, other)| set(other, ""));
        match ours {
            "MY_APP_SECRET_ID_FILE" => set("MY_APP_SECRET_ID", "secret"),
            // Each of them requires the others.
            "BOT_TOKEN" | "BOT_TOKEN_FILE" | "SPACE_ID" => {
                ["BOT_TOKEN", "BOT_TOKEN_FILE", "SPACE_ID"].into_iter().for_each(|name| set(name, ""));
            }
            "TOKEND_TLS_CERT" => set("TOKEND_TLS_KEY", ""),
            "TOKEND_TLS_KEY" => set("TOKEND_TLS_CERT", ""),
            _ => {}
        }
    }
    source
}

/// Files that are endless or block on reading: an operator who names one of these gets what was asked for.
fn reads_a_device(source: &SettingsSource) -> bool {
    let files = ["MY_APP_SECRET_ID_FILE", "WEBEX_CA_FILE", "TOKEND_TLS_CERT", "TOKEND_TLS_KEY"];
    files.iter().any(|name| {
        source.get(name).is_some_and(|path| path.starts_with("/dev") || path.starts_with("/proc"))
    })
}

fn dir() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    DIR.get_or_init(|| tempfile::tempdir().unwrap()).path()
}
