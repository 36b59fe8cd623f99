//! Where the store and its key are, and which variables are ours.

use std::fs;
use std::path::Path;

use super::*;

/// Reads with these variables and no `HOME`.
fn stored_with<const N: usize>(pairs: [(&str, &str); N]) -> Result<StoreConfig, Mistakes> {
    let mut source = Source::from([("MY_APP_CLIENT_ID", "C0ffee"), ("MY_APP_SECRET_ID", SECRET)]);
    source.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Config::read(&source).map(|config| config.store)
}

fn sqlite(path: &str, key_file: &str) -> StoreConfig {
    StoreConfig::Sqlite { path: path.into(), key_file: key_file.into() }
}

#[test]
fn the_state_directory_is_the_first_that_is_told() {
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
fn without_any_place_for_the_store_one_is_asked_for() {
    let found = stored_with([]).unwrap_err().0;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].variable, "TOKEND_STATE_DIR");
    let half = stored_with([("TOKEND_STORE_URL", "sqlite:/data/t.db")]).unwrap_err().0;
    assert_eq!(half[0].variable, "TOKEND_STATE_DIR", "its key has no place");
}

#[test]
fn the_store_and_its_key_go_where_they_are_put() {
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
fn a_store_in_memory_needs_no_place() {
    let store = stored_with([("TOKEND_STORE_URL", "memory:")]).unwrap();
    assert_eq!((&store, store.path()), (&StoreConfig::Memory, None));
}

#[test]
fn a_store_of_another_kind_is_refused() {
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

/// Names and values of the sample's exports, commented out or not.
fn exports(prefix: &str) -> Vec<(&'static str, &'static str)> {
    let lines = SAMPLE.lines().filter_map(|line| line.strip_prefix(prefix));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name, value.trim_matches('"')))
        .collect()
}

#[test]
fn the_sample_exports_the_first_eight_settings_and_mentions_the_hook() {
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
fn the_sample_works_as_it_is_and_says_what_the_defaults_say() {
    let mut source = Source::from([("HOME", "/home/ada")]);
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

/// All that reads settings, without the table of them, without other samples' names, and without tests.
fn readers() -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let no_reader = ["aliases.rs", "dotenv.rs", "service_links.rs", "settings.rs"];
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
        assert!(readers.contains(&quoted), "{name} is in the list but nobody reads it");
    }
}

#[test]
fn every_variable_that_is_read_is_known() {
    let readers = readers();
    let basis = ["CARGO_PKG_VERSION"];
    let is_name = |word: &&str| {
        let name = word.len() > 3 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        // What ends in `_` is what names begin with.
        name && !word.ends_with('_') && !basis.contains(word)
    };
    for name in readers.split('"').filter(is_name) {
        assert!(VARIABLES.contains(&name), "{name} is read but not in the list");
    }
}

#[test]
fn a_pace_too_slow_for_anybody_to_get_a_turn_is_a_mistake() {
    for rate in ["1e-20", "0.0001", "0.009"] {
        let mistakes = stored_with([("EVENT_LOOP_MAX_PER_SECOND", rate), ("HOME", "/home/ada")]).unwrap_err();
        assert_eq!(mistakes.0.len(), 1, "{mistakes}");
        assert!(mistakes.to_string().starts_with("EVENT_LOOP_MAX_PER_SECOND: found "), "{mistakes}");
    }
    for rate in ["0", "0.01", "20"] {
        assert!(stored_with([("EVENT_LOOP_MAX_PER_SECOND", rate), ("HOME", "/home/ada")]).is_ok(), "{rate}");
    }
}
