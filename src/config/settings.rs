//! The table of all settings: what each one is, and which are secrets.

use crate::config::aliases::ALIASES;
use crate::config::aliases::ours;

/// What a variable holds, which decides how its value may be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Neither a path nor a secret.
    Plain,
    /// The path of a file or directory.
    Path,
    /// A secret itself, not the name of a file that holds one. Taken away from every program that is started.
    Secret,
    /// Set by the system, and never taken from a file.
    System,
}

macro_rules! settings {
    ($($kind:ident $name:literal,)+) => {
        /// Every variable that is read, in the order of the tables in docs/configuration.md.
        pub const VARIABLES: [&str; [$($name),+].len()] = [$($name),+];

        const KINDS: [(&str, Kind); VARIABLES.len()] = [$(($name, Kind::$kind)),+];
    };
}

settings! {
    Plain "MY_APP_PORT",
    Plain "MY_APP_CLIENT_ID",
    Secret "MY_APP_SECRET_ID",
    Path "MY_APP_SECRET_ID_FILE",
    Plain "MY_APP_REDIRECT_URI",
    Plain "MY_APP_SCOPES",
    Plain "MY_USER_AGENT",
    Plain "EVENT_LOOP_SLEEP_SECONDS",
    Plain "EVENT_LOOP_DAYS",
    Plain "EVENT_LOOP_NOOP_WINDOW_SECONDS",
    Plain "EVENT_LOOP_FLOOR_SECONDS",
    Plain "EVENT_LOOP_CONCURRENCY",
    Plain "EVENT_LOOP_MAX_PER_SECOND",
    Plain "WEBEX_API_BASE_URL",
    Path "WEBEX_CA_FILE",
    Plain "HTTPS_PROXY",
    Plain "ALL_PROXY",
    Plain "NO_PROXY",
    Path "TOKEND_STATE_DIR",
    Plain "TOKEND_STORE_URL",
    Path "TOKEND_KEY_FILE",
    Plain "TOKEND_BIND",
    Plain "TOKEND_TLS",
    Path "TOKEND_TLS_CERT",
    Path "TOKEND_TLS_KEY",
    Path "TOKEND_CONTROL_SOCKET",
    Plain "TOKEND_SOCKET_GROUP",
    Plain "TOKEND_ALLOW",
    Plain "TOKEND_OPERATOR",
    Plain "TOKEND_CONTACT",
    Plain "TOKEND_PURPOSE",
    Plain "TOKEND_DEFAULT_PERSON",
    Secret "PASSPHRASE",
    Plain "ORG_ID",
    Plain "FROM",
    Plain "SOURCE_IP",
    Secret "BOT_TOKEN",
    Path "BOT_TOKEN_FILE",
    Plain "SPACE_ID",
    Plain "TEST_PERSON_ID",
    Secret "TEST_ACCESS_TOKEN",
    Secret "TEST_REFRESH_TOKEN",
    Plain "RUST_LOG",
    System "STATE_DIRECTORY",
    System "XDG_STATE_HOME",
    System "HOME",
}

/// What `name` holds, one of ours or another sample's. `None` if no setting has this name.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let name = ours(name).unwrap_or(name);
    KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// `name` as the tables have it, ours or another sample's, if it is a setting.
pub(super) fn known(name: &str) -> Option<&'static str> {
    VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other)).find(|known| *known == name)
}

/// Every variable that may hold a secret of ours, other samples' names included. No program that is started here gets
/// any of them.
pub fn secrets() -> impl Iterator<Item = &'static str> {
    let all = VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other));
    all.filter(|name| kind(name) == Some(Kind::Secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_a_secret_is_one() {
        for name in VARIABLES.into_iter().chain(ALIASES.map(|(_, other)| other)) {
            let words = ["SECRET", "TOKEN_", "_TOKEN", "PASS"];
            let like_a_secret = words.iter().any(|word| name.contains(word))
                && !name.ends_with("_FILE")
                && !name.starts_with("TOKEND_");
            assert_eq!(kind(name) == Some(Kind::Secret), like_a_secret, "{name}");
        }
    }

    #[test]
    fn what_is_read_as_a_secret_is_in_the_table_as_one() {
        let sources = [
            include_str!("mod.rs"),
            include_str!("space.rs"),
            include_str!("token_service.rs"),
            include_str!("parse.rs"),
        ];
        let mut read = 0;
        for text in sources {
            for call in text.split("reader.secret(").skip(1) {
                let name = call.split('"').nth(1).unwrap();
                assert_eq!(kind(name), Some(Kind::Secret), "{name}");
                read += 1;
            }
        }
        assert_eq!(read, 2, "the calls are found");
    }
}
