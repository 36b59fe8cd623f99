//! The table of all settings: their types, and which of them are secrets.

use crate::config::aliases::ALIASES;
use crate::config::aliases::ours;

/// The type of a variable, which decides how its value is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingKind {
    /// Neither a path nor a secret.
    Plain,
    /// The path of a file or directory.
    Path,
    /// A secret, as opposed to the name of a file that contains one. No child process inherits it.
    Secret,
    /// Set by the system, and never read from a file.
    System,
}

/// One setting, as the manual page tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// What counts where it is not set.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($kind:ident $name:literal [$default:literal] $meaning:literal,)+) => {
        /// Every variable that is read, in the order of the tables in docs/configuration.md.
        pub const VARIABLES: [&str; [$($name),+].len()] = [$($name),+];

        /// The same with default and meaning.
        pub const SETTINGS: [Setting; VARIABLES.len()] =
            [$(Setting { name: $name, default: $default, meaning: $meaning }),+];

        const KINDS: [(&str, SettingKind); VARIABLES.len()] = [$(($name, SettingKind::$kind)),+];
    };
}

settings! {
    Plain "MY_APP_PORT" ["8000"] "the port to listen on",
    Plain "MY_APP_CLIENT_ID" ["required"] "the integration's client id",
    Secret "MY_APP_SECRET_ID" ["required"] "its client secret",
    Path "MY_APP_SECRET_ID_FILE" ["none"] "a file that holds the client secret, instead of MY_APP_SECRET_ID",
    Plain "MY_APP_REDIRECT_URI" ["https://localhost:8000/oauth"]
        "the registered redirect URI, to the letter; https makes the port speak TLS",
    Plain "MY_APP_SCOPES" ["spark:all"] "the scopes that consents ask for, separated by spaces",
    Plain "MY_USER_AGENT" ["webex-tokend/VERSION"] "the User-Agent of calls to Webex",
    Plain "EVENT_LOOP_SLEEP_SECONDS" ["3600"] "how often the daemon looks for tokens to refresh",
    Plain "EVENT_LOOP_DAYS" ["1"] "a token older than this is refreshed; decimals allowed",
    Plain "EVENT_LOOP_NOOP_WINDOW_SECONDS" ["86400"]
        "no token is refreshed for its age sooner than this after Webex's last answer; 0: off",
    Plain "EVENT_LOOP_FLOOR_SECONDS" ["300"]
        "the least distance of two refreshes of one person for a short life; forced ones: a sixtieth",
    Plain "EVENT_LOOP_CONCURRENCY" ["16"] "refreshes at once, 1 to 1024",
    Plain "EVENT_LOOP_MAX_PER_SECOND" ["20"] "refreshes that start in a second; 0: no limit",
    Plain "EVENT_LOOP_CATCH_UP_PER_SECOND" ["200"]
        "maximum refreshes per second while tokens are expired or about to expire; 0: never above EVENT_LOOP_MAX_PER_SECOND",
    Plain "WEBEX_API_BASE_URL" ["https://webexapis.com/v1"] "where Webex is; plain http on loopback only",
    Path "WEBEX_CA_FILE" ["none"] "PEM certificates to trust in calls to Webex, beside the system's",
    Plain "HTTPS_PROXY" ["none"]
        "an HTTP proxy for calls to Webex: http://[USER:PASSWORD@]HOST:PORT, or https to the proxy itself",
    Plain "ALL_PROXY" ["none"] "the same, where HTTPS_PROXY is not set",
    Plain "NO_PROXY" ["none"]
        "hosts that are reached without the proxy: names, addresses, networks or *, separated by commas",
    Path "TOKEND_STATE_DIR" ["$STATE_DIRECTORY, $XDG_STATE_HOME/webex-tokend or ~/.local/state/webex-tokend"]
        "the directory of store, key and control socket",
    Plain "TOKEND_STORE_URL" ["sqlite:"]
        "where grants are stored: sqlite: is tokend.db in the state directory, sqlite:PATH another file; memory: forgets everything at the end",
    Path "TOKEND_KEY_FILE" ["key in the state directory"] "the key that seals the tokens; made with a new store",
    Plain "TOKEND_BIND" ["loopback if the redirect URI's host is, else all interfaces"]
        "IP addresses to listen on, separated by commas, with :PORT where it differs",
    Plain "TOKEND_TLS" ["own"]
        "who ends TLS; proxy: a proxy on this machine, so that the port speaks plain HTTP on loopback",
    Path "TOKEND_TLS_CERT" ["none"] "a PEM certificate chain to serve instead of the self-signed one",
    Path "TOKEND_TLS_KEY" ["none"] "its PEM key",
    Path "TOKEND_CONTROL_SOCKET" ["control.sock in the state directory"] "the control socket of the commands",
    Plain "TOKEND_SOCKET_GROUP" ["none"] "a group whose members may use the control socket, too",
    Plain "TOKEND_ALLOW" ["every person"]
        "who may consent: e-mail addresses, @domains and organization ids, separated by commas",
    Plain "TOKEND_OPERATOR" ["none"] "who runs the service, as the consent pages say it",
    Plain "TOKEND_CONTACT" ["none"] "where persons ask questions, on the same pages: an e-mail address or a URL",
    Plain "TOKEND_PURPOSE" ["none"] "what the access is for, on the same pages",
    Plain "TOKEND_DEFAULT_PERSON" ["none"] "the person that a command means when none is named",
    Secret "PASSPHRASE" ["none"] "what X-Api-Phrase must be at /api/token; the endpoint is off without it",
    Plain "ORG_ID" ["required with PASSPHRASE"] "what X-Organization-Id must be there, and whose token is given",
    Plain "FROM" ["required with PASSPHRASE"]
        "what X-From must be there; an e-mail address chooses that person's token",
    Plain "SOURCE_IP" ["required with PASSPHRASE"] "addresses or networks that may ask there, separated by commas",
    Secret "BOT_TOKEN" ["none"] "the token of a bot that adds people to SPACE_ID and sends notices",
    Path "BOT_TOKEN_FILE" ["none"] "a file that holds it, instead of BOT_TOKEN",
    Plain "SPACE_ID" ["required with BOT_TOKEN, unless the bot only sends notices"] "Webex's id of the space",
    Secret "NOTIFY_WEBHOOK_URL" ["none"] "a Standard Webhooks receiver that is told notices: https, or http on loopback",
    Secret "NOTIFY_WEBHOOK_SECRET" ["required with NOTIFY_WEBHOOK_URL"]
        "whsec_..., which signs what the receiver is told; two of them with a space between while it is changed",
    Path "NOTIFY_WEBHOOK_SECRET_FILE" ["none"] "a file that holds it, instead of NOTIFY_WEBHOOK_SECRET",
    Plain "NOTIFY_COMMAND" ["none"] "a program with its arguments that gets each notice as JSON on its standard input",
    Plain "NOTIFY_WEBEX_TO" ["none"]
        "e-mail addresses, or ids of spaces that the bot is in, that get operators' notices as Webex messages",
    Plain "NOTIFY_PEOPLE" ["no"] "yes: the bot sends each person their own consent link when they must consent again",
    Secret "NOTIFY_SMTP_URL" ["none"] "a mail server for notices to operators, smtps://USER:PASSWORD@HOST:465",
    Path "NOTIFY_SMTP_URL_FILE" ["none"] "a file that holds it, instead of NOTIFY_SMTP_URL",
    Plain "NOTIFY_MAIL_FROM" ["required with NOTIFY_SMTP_URL"] "the sender's address of e-mail notices",
    Plain "NOTIFY_MAIL_TO" ["required with NOTIFY_SMTP_URL"] "the operators' addresses, separated by commas",
    Plain "TEST_PERSON_ID" ["none"] "test hook: a person id that is put into the store",
    Secret "TEST_ACCESS_TOKEN" ["none"] "test hook: an access token of theirs",
    Secret "TEST_REFRESH_TOKEN" ["none"] "test hook: their refresh token",
    Plain "RUST_LOG" ["info for webex_tokend, warn for others"]
        "which log lines are written: LEVEL or TARGET=LEVEL, separated by commas",
    System "STATE_DIRECTORY" ["none"] "set by systemd; see TOKEND_STATE_DIR",
    System "XDG_STATE_HOME" ["~/.local/state"] "see TOKEND_STATE_DIR",
    System "HOME" ["none"] "where ~ is; set by the system",
}

/// The type of the setting `name`, which may be another sample's name. `None` if there is no such setting.
pub(super) fn kind(name: &str) -> Option<SettingKind> {
    let name = ours(name).unwrap_or(name);
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The name as it is in the tables; `None` if there is no such setting.
pub(super) fn known(name: &str) -> Option<&'static str> {
    VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other)).find(|known| *known == name)
}

/// All variables that may contain a secret, including those of other samples. No child process inherits any
/// of them.
pub fn secrets() -> impl Iterator<Item = &'static str> {
    let all = VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other));
    all.filter(|name| kind(name) == Some(SettingKind::Secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_named_like_a_secret_are_secrets() {
        for name in VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other)) {
            let words = ["SECRET", "TOKEN_", "_TOKEN", "PASS", "NOTIFY_WEBHOOK_URL", "NOTIFY_SMTP_URL"];
            let like_a_secret = words.iter().any(|word| name.contains(word))
                && !name.ends_with("_FILE")
                && !name.starts_with("TOKEND_");
            assert_eq!(kind(name) == Some(SettingKind::Secret), like_a_secret, "{name}");
        }
    }

    #[test]
    fn settings_read_as_a_secret_are_secrets_in_the_table() {
        let sources = [
            include_str!("mod.rs"),
            include_str!("space.rs"),
            include_str!("token_service.rs"),
            include_str!("notices.rs"),
            include_str!("parse.rs"),
        ];
        let mut read = 0;
        for text in sources {
            for call in text.split("reader.secret(").skip(1) {
                let name = call.split('"').nth(1).unwrap();
                assert_eq!(kind(name), Some(SettingKind::Secret), "{name}");
                read += 1;
            }
        }
        assert_eq!(read, 4, "the calls are found");
    }
}
