//! The documented defaults; every error by name; and no secret in either.

mod aliases;
mod consent;
mod files;
mod notices;
mod places;
mod shapes;
mod space;

use std::path::Path;

use super::*;

const SECRET: &str = "s3cr3t-of-the-client";

/// The settings without defaults.
fn required() -> SettingsSource {
    SettingsSource::from([
        ("MY_APP_CLIENT_ID", "C0ffee"),
        ("MY_APP_SECRET_ID", SECRET),
        ("HOME", "/home/ada"),
    ])
}

/// The required settings and these.
fn with<const N: usize>(pairs: [(&str, &str); N]) -> SettingsSource {
    let mut source = required();
    source.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    source
}

fn read<const N: usize>(pairs: [(&str, &str); N]) -> Config {
    Config::read(&with(pairs)).unwrap()
}

fn errors(source: &SettingsSource) -> Vec<ConfigError> {
    Config::read(source).map(|_| ()).unwrap_err().0
}

/// The names of the invalid variables, in order.
fn wrong<const N: usize>(pairs: [(&str, &str); N]) -> Vec<&'static str> {
    errors(&with(pairs)).iter().map(|error| error.variable).collect()
}

fn addresses(config: &Config) -> Vec<String> {
    config.http.addresses.iter().map(|listen| listen.address.to_string()).collect()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = read([]);
    let integration = &config.integration;
    assert_eq!(integration.client_id, "C0ffee");
    assert_eq!(integration.client_secret.expose(), SECRET);
    assert_eq!(integration.redirect_uri, "https://localhost:8000/oauth");
    assert_eq!(integration.scopes, ["spark:all"]);
    assert_eq!(integration.base, "https://webexapis.com/v1");
    assert_eq!(config.user_agent, format!("webex-tokend/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(config.policy.sleep, Duration::from_secs(3600));
    assert_eq!(config.policy.max_age, Duration::from_secs(86_400));
    assert_eq!(config.policy.noop_window, Duration::from_secs(86_400));
    assert_eq!(config.policy.floor, Duration::from_secs(300));
    assert_eq!(config.pace, RateLimits { concurrency: 16, per_second: 20.0 });
    assert!((config.catch_up_per_second - 200.0).abs() < f64::EPSILON);
    assert_eq!(config.ca_file, None);
    assert_eq!(config.http.pem, None);
    assert!(config.http.secure);
    assert_eq!(addresses(&config), ["127.0.0.1:8000", "[::1]:8000"]);
    assert!(config.hook.is_none());
    assert!(config.warnings.is_empty());
    let dir = Path::new("/home/ada/.local/state/webex-tokend");
    let store = StoreConfig::Sqlite { path: dir.join("tokend.db"), key_file: dir.join("key") };
    assert_eq!(config.store, store);
}

#[test]
fn every_setting_is_read() {
    let config = read([
        ("MY_APP_PORT", "8443"),
        ("MY_USER_AGENT", "ada's agent"),
        ("EVENT_LOOP_SLEEP_SECONDS", "1"),
        ("EVENT_LOOP_DAYS", "0.0001"),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "0"),
        ("EVENT_LOOP_FLOOR_SECONDS", "0"),
        ("EVENT_LOOP_CONCURRENCY", "64"),
        ("EVENT_LOOP_MAX_PER_SECOND", "0"),
        ("EVENT_LOOP_CATCH_UP_PER_SECOND", "300.5"),
    ]);
    assert_eq!(addresses(&config), ["127.0.0.1:8443", "[::1]:8443"]);
    assert_eq!(config.user_agent, "ada's agent");
    assert_eq!(config.policy.sleep, Duration::from_secs(1));
    assert_eq!(config.policy.max_age, Duration::from_millis(8640));
    assert_eq!((config.policy.noop_window, config.policy.floor), (Duration::ZERO, Duration::ZERO));
    assert_eq!(config.pace, RateLimits { concurrency: 64, per_second: 0.0 });
    assert!((config.catch_up_per_second - 300.5).abs() < f64::EPSILON);
}

#[test]
fn empty_settings_count_as_not_set_and_white_space_is_removed() {
    let config = read([("MY_APP_PORT", ""), ("EVENT_LOOP_DAYS", "  "), ("MY_APP_CLIENT_ID", " C0ffee\n")]);
    assert_eq!(config.policy.max_age, Duration::from_secs(86_400));
    assert_eq!(addresses(&config)[0], "127.0.0.1:8000");
    assert_eq!(config.integration.client_id, "C0ffee");
}

#[test]
fn missing_required_settings_are_errors() {
    let missing = errors(&SettingsSource::from([("HOME", "/home/ada")]));
    let names: Vec<_> = missing.iter().map(|error| error.variable).collect();
    assert_eq!(names, ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID"]);
    assert!(missing.iter().all(|error| error.found == "nothing"));
    assert!(missing[1].expected.contains("MY_APP_SECRET_ID_FILE"));
}

#[test]
fn invalid_numbers_are_reported_by_name() {
    for (name, values) in [
        ("MY_APP_PORT", &["0", "65536", "-1", "http", "80.5"][..]),
        ("EVENT_LOOP_SLEEP_SECONDS", &["0", "-1", "1.5", "2678401", "1h"]),
        ("EVENT_LOOP_DAYS", &["0", "-1", "NaN", "inf", "3651", "a day"]),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", &["-1", "31536001", "x"]),
        ("EVENT_LOOP_FLOOR_SECONDS", &["-1", "86401", "x"]),
        ("EVENT_LOOP_CONCURRENCY", &["0", "1025", "x"]),
        ("EVENT_LOOP_MAX_PER_SECOND", &["-1", "NaN", "10001", "x"]),
        ("EVENT_LOOP_CATCH_UP_PER_SECOND", &["-1", "NaN", "10001", "x"]),
    ] {
        for value in values {
            let found = errors(&with([(name, value)]));
            assert_eq!(found.len(), 1, "{name}={value}");
            assert_eq!((found[0].variable, found[0].found.as_str()), (name, &*format!("{value:?}")));
            assert!(!found[0].expected.is_empty());
        }
    }
}

#[test]
fn all_errors_are_reported_at_once_with_what_was_found_and_expected() {
    let source = SettingsSource::from([
        ("MY_APP_PORT", "eighty"),
        ("MY_APP_REDIRECT_URI", "ftp://x"),
        ("MY_APP_SCOPES", "\"all\""),
        ("MY_USER_AGENT", "zwei\u{e4}"),
        ("EVENT_LOOP_SLEEP_SECONDS", "0"),
        ("EVENT_LOOP_DAYS", "0"),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "x"),
        ("EVENT_LOOP_FLOOR_SECONDS", "x"),
        ("EVENT_LOOP_CONCURRENCY", "0"),
        ("EVENT_LOOP_MAX_PER_SECOND", "x"),
        ("EVENT_LOOP_CATCH_UP_PER_SECOND", "x"),
        ("WEBEX_API_BASE_URL", "webexapis.com"),
        ("WEBEX_CA_FILE", "/nowhere/ca.pem"),
        ("TOKEND_STORE_URL", "mysql:x"),
        ("TOKEND_BIND", "everywhere"),
        ("TOKEND_TLS_CERT", "/nowhere/cert.pem"),
        ("TOKEND_TLS_KEY", "/nowhere/key.pem"),
        ("TEST_PERSON_ID", "two words"),
        ("TEST_ACCESS_TOKEN", "a"),
        ("TEST_REFRESH_TOKEN", "r"),
    ]);
    let told = Config::read(&source).unwrap_err().to_string();
    let also = ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID"];
    for name in source_names(&source).iter().copied().chain(also) {
        let lines = told.lines().filter(|line| line.starts_with(&format!("{name}: found "))).count();
        let expected = usize::from(!matches!(name, "TEST_ACCESS_TOKEN" | "TEST_REFRESH_TOKEN"));
        assert_eq!(lines, expected, "{name} in:\n{told}");
    }
    assert!(told.lines().all(|line| line.contains(", expected ")), "{told}");
}

fn source_names(source: &SettingsSource) -> Vec<&'static str> {
    VARIABLES.into_iter().filter(|name| source.get(name).is_some()).collect()
}

#[test]
fn no_secret_is_in_an_error_or_in_the_printed_settings() {
    let hook = [
        ("TEST_PERSON_ID", "ada"),
        ("TEST_ACCESS_TOKEN", "s3cr3t-access"),
        ("TEST_REFRESH_TOKEN", "s3cr3t-refresh"),
    ];
    let config = read(hook);
    assert!(config.hook.is_some());
    assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
    let mut source = with(hook);
    source.extend([
        ("MY_APP_PORT".to_owned(), "x".to_owned()),
        ("TEST_PERSON_ID".to_owned(), "two words".to_owned()),
        ("TOKEND_STORE_URL".to_owned(), "postgres://tokend:s3cr3t@db/tokend".to_owned()),
        ("WEBEX_API_BASE_URL".to_owned(), "https://:s3cr3t@webexapis.com/v1".to_owned()),
        ("MY_APP_REDIRECT_URI".to_owned(), "https://ada:s3cr3t@localhost/oauth".to_owned()),
    ]);
    let told = errors(&source);
    assert_eq!(told.len(), 5);
    assert!(!format!("{told:?}").contains("s3cr3t"), "{told:?}");
    assert!(!ConfigErrors::new(told).to_string().contains("s3cr3t"));
}

#[test]
fn scopes_are_accepted_plain_and_percent_encoded() {
    for text in [
        "spark:all spark:kms",
        "  spark:all \t spark:kms ",
        "spark:all spark:kms spark:all",
        "spark%3Aall%20spark%3Akms",
        "spark%3Aall+spark%3Akms",
        "spark%3Aall spark%3akms",
    ] {
        assert_eq!(read([("MY_APP_SCOPES", text)]).integration.scopes, ["spark:all", "spark:kms"], "{text}");
    }
    for text in
        ["\"spark:all\"", "spark:\u{fc}", "back\\slash", "%20", "%22", "spark%00all", "spark:all,spark:kms"]
    {
        assert_eq!(wrong([("MY_APP_SCOPES", text)]), ["MY_APP_SCOPES"], "{text}");
    }
}

#[test]
fn only_an_unknown_name_with_a_prefix_of_this_program_causes_a_warning() {
    let names = ["MY_APP_PROT", "EVENT_LOOP_DAY", "TOKEND_STATEDIR"];
    let warnings = read(names.map(|name| (name, "s3cr3t"))).warnings;
    assert_eq!(warnings.len(), names.len(), "{warnings:?}");
    assert!(
        names.iter().all(|name| warnings.iter().any(|warning| warning.starts_with(name))),
        "{warnings:?}"
    );
    assert!(!warnings.concat().contains("s3cr3t"), "{warnings:?}");
    for name in ["MY_APPLE", "EVENTS", "PATH", "XDG_RUNTIME_DIR"] {
        assert_eq!(read([(name, "1")]).warnings, [""; 0], "{name}");
    }
    assert_eq!(read([("MY_APP_PROT", "")]).warnings, [""; 0], "an empty one counts as not set");
}

#[test]
fn the_redirect_uri_is_not_changed() {
    for text in [
        "https://localhost:443/oauth",
        "https://LocalHost:8000/oauth",
        "https://example.com/webex/oauth",
        "http://127.0.0.1:8000/oauth",
        "https://b\u{fc}cher.example/oauth",
    ] {
        assert_eq!(read([("MY_APP_REDIRECT_URI", text)]).integration.redirect_uri, text);
    }
}

#[test]
fn an_invalid_redirect_uri_is_rejected() {
    for text in [
        "localhost:8000/oauth",
        "/oauth",
        "ftp://localhost/oauth",
        "https://localhost",
        "https://localhost/oauth/",
        "https://localhost/callback",
        "https://localhost/oauth?x=1",
        "https://localhost/oauth#x",
        "https://ada@localhost/oauth",
        "https://:pw@localhost/oauth",
        "https:///oauth?",
        "https://bad_host!/oauth",
        "https://two..dots/oauth",
    ] {
        assert_eq!(wrong([("MY_APP_REDIRECT_URI", text)]), ["MY_APP_REDIRECT_URI"], "{text}");
    }
}

#[test]
fn the_redirect_uri_decides_on_tls_and_on_the_addresses() {
    let loopback = ["127.0.0.1:8000", "[::1]:8000"];
    let everywhere = ["0.0.0.0:8000", "[::]:8000"];
    for (text, secure, expected) in [
        ("https://localhost:8000/oauth", true, loopback),
        ("http://localhost:8000/oauth", false, loopback),
        ("https://127.0.0.7/oauth", true, loopback),
        ("https://[::1]:8000/oauth", true, loopback),
        ("https://tokend.localhost/oauth", true, loopback),
        ("https://example.com/oauth", true, everywhere),
        ("http://10.0.0.1/oauth", false, everywhere),
        ("https://localhost.example.com/oauth", true, everywhere),
        ("https://notlocalhost/oauth", true, everywhere),
    ] {
        let config = read([("MY_APP_REDIRECT_URI", text)]);
        assert_eq!(config.http.secure, secure, "{text}");
        assert_eq!(addresses(&config), expected, "{text}");
        let optional: Vec<_> = config.http.addresses.iter().map(|listen| listen.optional).collect();
        assert_eq!(optional, [false, true], "a machine may be without IPv6");
    }
}

#[test]
fn a_proxy_may_terminate_tls_only_on_this_machine() {
    let uri = ("MY_APP_REDIRECT_URI", "https://tokens.example.com/oauth");
    let proxy = ("TOKEND_TLS", "proxy");
    let config = read([uri, proxy]);
    assert!(!config.http.secure);
    assert_eq!(addresses(&config), ["127.0.0.1:8000", "[::1]:8000"]);
    let warnings = config.warnings.join("\n");
    assert!(!warnings.contains("MY_APP_PORT"), "{warnings}");
    assert!(read([uri, ("TOKEND_TLS", "own")]).http.secure);
    assert_eq!(addresses(&read([uri, proxy, ("TOKEND_BIND", "127.0.0.9:81")])), ["127.0.0.9:81"]);
    assert_eq!(wrong([uri, proxy, ("TOKEND_BIND", "127.0.0.1,0.0.0.0")]), ["TOKEND_BIND"]);
    assert_eq!(wrong([proxy, ("MY_APP_REDIRECT_URI", "http://localhost:8000/oauth")]), ["TOKEND_TLS"]);
    assert_eq!(wrong([uri, ("TOKEND_TLS", "off")]), ["TOKEND_TLS"]);
    let config = read([proxy, ("MY_APP_REDIRECT_URI", "https://localhost/oauth")]);
    assert!(!config.warnings.join("\n").contains("MY_APP_PORT"), "{:?}", config.warnings);
}

#[test]
fn configured_addresses_are_required() {
    for (text, expected) in [
        ("127.0.0.1", &["127.0.0.1:8000"][..]),
        ("127.0.0.1,::1", &["127.0.0.1:8000", "[::1]:8000"]),
        ("0.0.0.0:443, [::]:8443", &["0.0.0.0:443", "[::]:8443"]),
        ("10.0.0.1 10.0.0.2,", &["10.0.0.1:8000", "10.0.0.2:8000"]),
    ] {
        let config = read([("TOKEND_BIND", text)]);
        assert_eq!(addresses(&config), expected, "{text}");
        assert!(
            config.http.addresses.iter().all(|listen| !listen.optional),
            "a configured address is required"
        );
    }
    for text in ["localhost", "127.0.0.1,x", "::1:x", "127.0.0.1:99999", ",", "127.0.0.1/8"] {
        assert_eq!(wrong([("TOKEND_BIND", text)]), ["TOKEND_BIND"], "{text}");
    }
}

#[test]
fn the_client_secret_is_sent_to_https_or_to_this_machine_only() {
    for (text, base) in [
        ("https://webexapis.com/v1/", "https://webexapis.com/v1"),
        ("https://api-usgov.webex.com/v1", "https://api-usgov.webex.com/v1"),
        ("http://127.0.0.1:9000/v1", "http://127.0.0.1:9000/v1"),
        ("http://localhost:9000", "http://localhost:9000"),
        ("http://[::1]:9000/v1", "http://[::1]:9000/v1"),
    ] {
        assert_eq!(read([("WEBEX_API_BASE_URL", text)]).integration.base, base);
    }
    for text in [
        "http://webexapis.com/v1",
        "http://localhost.example.com/v1",
        "http://10.0.0.1/v1",
        "webexapis.com/v1",
        "file:///v1",
        "https://webexapis.com/v1?x",
        "https://webexapis.com/v1#x",
        "https://ada@webexapis.com/v1",
        "https://:pw@webexapis.com/v1",
    ] {
        assert_eq!(wrong([("WEBEX_API_BASE_URL", text)]), ["WEBEX_API_BASE_URL"], "{text}");
    }
}

#[test]
fn the_test_hook_needs_all_three() {
    let all = [("TEST_PERSON_ID", "ada"), ("TEST_ACCESS_TOKEN", "a"), ("TEST_REFRESH_TOKEN", "r")];
    let hook = read(all).hook.unwrap();
    assert_eq!(hook.person.as_str(), "ada");
    assert_eq!((hook.access_token.expose(), hook.refresh_token.expose()), ("a", "r"));
    for missing in 0..3 {
        let mut some = all;
        some[missing].1 = "";
        let config = read(some);
        assert!(config.hook.is_none());
        assert_eq!(config.warnings.len(), 1);
        assert!(all.iter().all(|(name, _)| config.warnings[0].contains(name)));
    }
}
