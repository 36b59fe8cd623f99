//! The paths of the store and its key, and the names of all settings.

use std::fs;
use std::path::Path;

use super::*;

/// Reads these variables without `HOME`.
fn stored_with<const N: usize>(pairs: [(&str, &str); N]) -> Result<StoreConfig, ConfigErrors> {
    let mut source = SettingsSource::from([("MY_APP_CLIENT_ID", "C0ffee"), ("MY_APP_SECRET_ID", SECRET)]);
    source.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Config::read(&source).map(|config| config.store)
}

fn sqlite(path: &str, key_file: &str) -> StoreConfig {
    StoreConfig::Sqlite { path: path.into(), key_file: key_file.into() }
}

#[test]
fn the_first_configured_state_directory_counts() {
    let own = ("TOKEND_STATE_DIR", "/own");
    let systemd = ("STATE_DIRECTORY", "/var/lib/one:/var/lib/two");
    let xdg = ("XDG_STATE_HOME", "/xdg");
    let home = ("HOME", "/home/ada");
    let inside = |dir: &str| sqlite(&format!("{dir}/tokend.db"), &format!("{dir}/key"));
    assert_eq!(stored_with([own, systemd, xdg, home]).unwrap(), inside("/own"));
    assert_eq!(stored_with([systemd, xdg, home]).unwrap(), inside("/var/lib/one"));
    assert_eq!(stored_with([xdg, home]).unwrap(), inside("/xdg/webex-tokend"));
    assert_eq!(stored_with([home]).unwrap(), inside("/home/ada/.local/state/webex-tokend"));
    let relative = ("XDG_STATE_HOME", "xdg");
    assert_eq!(stored_with([relative, home]).unwrap(), inside("/home/ada/.local/state/webex-tokend"));
}

#[test]
fn without_a_path_for_the_store_a_state_directory_is_required() {
    let found = stored_with([]).unwrap_err().0;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].variable, "TOKEND_STATE_DIR");
    let half = stored_with([("TOKEND_STORE_URL", "sqlite:/data/t.db")]).unwrap_err().0;
    assert_eq!(half[0].variable, "TOKEND_STATE_DIR", "its key has no place");
}

#[test]
fn the_paths_of_the_store_and_its_key_can_be_set() {
    let (url, key) = (("TOKEND_STORE_URL", "sqlite:/data/t.db"), ("TOKEND_KEY_FILE", "/keys/k"));
    assert_eq!(stored_with([url, key]).unwrap(), sqlite("/data/t.db", "/keys/k"));
    let dir = ("TOKEND_STATE_DIR", "/own");
    assert_eq!(stored_with([url, dir]).unwrap(), sqlite("/data/t.db", "/own/key"));
    assert_eq!(stored_with([key, dir]).unwrap(), sqlite("/own/tokend.db", "/keys/k"));
    assert_eq!(
        stored_with([dir, ("TOKEND_STORE_URL", "sqlite:")]).unwrap().path(),
        Some(Path::new("/own/tokend.db"))
    );
}

#[test]
fn a_store_in_memory_needs_no_path() {
    let store = stored_with([("TOKEND_STORE_URL", "memory:")]).unwrap();
    assert_eq!((&store, store.path()), (&StoreConfig::Memory, None));
}

#[test]
fn a_store_of_another_kind_is_rejected() {
    for url in [
        "memory",
        "memory:x",
        "mysql:x",
        "/data/t.db",
        "sqlite",
        "redis://db",
        "sqlite://name.db?mode=rwc",
        "sqlite:///data/t.db",
        "sqlite:/data/t.db?mode=rwc",
        "sqlite:~/t.db",
    ] {
        assert_eq!(wrong([("TOKEND_STORE_URL", url)]), ["TOKEND_STORE_URL"], "{url}");
    }
}

const SAMPLE: &str = include_str!("../../../sample_environ_vars.sh");

/// Names and values of the sample's exports, including those in comments.
fn exports(prefix: &str) -> Vec<(&'static str, &'static str)> {
    let lines = SAMPLE.lines().filter_map(|line| line.strip_prefix(prefix));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect()
}

#[test]
fn the_sample_exports_the_first_eight_settings_and_lists_the_hook() {
    let names = |prefix| exports(prefix).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        names("export "),
        [
            "MY_APP_PORT",
            "MY_APP_CLIENT_ID",
            "MY_APP_SECRET_ID",
            "MY_APP_REDIRECT_URI",
            "MY_APP_SCOPES",
            "MY_USER_AGENT",
            "EVENT_LOOP_SLEEP_SECONDS",
            "EVENT_LOOP_DAYS",
        ]
    );
    assert_eq!(names("# export "), hook::VARIABLES);
}

#[test]
fn the_sample_works_unchanged_and_equals_the_defaults() {
    let mut source = SettingsSource::from([("HOME", "/home/ada")]);
    source.extend(exports("export ").into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let (sample, default) = (Config::read(&source).unwrap(), read([]));
    assert_eq!(sample.policy, default.policy);
    assert_eq!(sample.integration.redirect_uri, default.integration.redirect_uri);
    assert_eq!(sample.integration.scopes, default.integration.scopes);
    assert_eq!(addresses(&sample), addresses(&default));
}

#[test]
fn every_variable_that_the_sample_names_is_known() {
    let upper = |c: char| c.is_ascii_uppercase() || c == '_';
    let words = SAMPLE.split(|c: char| !upper(c)).filter(|word| word.len() > 3 && word.contains('_'));
    for word in words {
        assert!(VARIABLES.contains(&word), "{word}");
    }
}

/// All code that reads settings, without the table of settings, the names of other samples, and tests.
fn readers() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let no_reader = ["aliases.rs", "service_links.rs", "settings.rs"];
    let files = files
        .filter(|path| path.is_file() && no_reader.iter().all(|name| !path.ends_with(name)))
        .chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")]);
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_known_variable_is_read_somewhere() {
    let readers = readers();
    for name in VARIABLES {
        let quoted = format!("\"{name}\"");
        assert!(readers.contains(&quoted), "{name} is in the list but is not read");
    }
}

#[test]
fn every_variable_that_is_read_is_known() {
    let readers = readers();
    let basis = ["CARGO_PKG_VERSION"];
    let is_name = |word: &&str| {
        let name = word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        // A text that ends in `_` is a prefix of names.
        name && !word.ends_with('_') && !basis.contains(word)
    };
    for name in readers.split('"').filter(is_name) {
        assert!(VARIABLES.contains(&name), "{name} is read but not in the list");
    }
}

#[test]
fn a_rate_too_slow_for_a_refresh_on_demand_is_an_error() {
    for rate in ["1e-20", "0.0001", "0.009"] {
        let errors = stored_with([("EVENT_LOOP_MAX_PER_SECOND", rate), ("HOME", "/home/ada")]).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        assert!(errors.to_string().starts_with("EVENT_LOOP_MAX_PER_SECOND: found "), "{errors}");
    }
    for rate in ["0", "0.01", "20"] {
        assert!(stored_with([("EVENT_LOOP_MAX_PER_SECOND", rate), ("HOME", "/home/ada")]).is_ok(), "{rate}");
    }
}
