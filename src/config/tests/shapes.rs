//! Values that are passed incorrectly: with quotes, with white space, by Kubernetes, or under a wrong name.

use super::*;

#[test]
fn a_value_in_quotes_is_an_error_that_explains_it() {
    for value in ["\"s3cr3t\"", "'s3cr3t'", "\"\""] {
        for name in ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID", "TOKEND_STATE_DIR", "PASSPHRASE", "RUST_LOG"] {
            let told = errors(&with([(name, value)]));
            let of_name: Vec<_> = told.iter().filter(|error| error.variable == name).collect();
            assert_eq!(of_name.len(), 1, "{name}={value}: {told:?}");
            assert!(
                of_name[0].found.contains("quotes") && !format!("{told:?}").contains("s3cr3t"),
                "{told:?}"
            );
        }
    }
    read([("MY_APP_SECRET_ID", "one\"two"), ("CLIENT_SECRET", "\"not used\"")]);
}

#[test]
fn a_quoted_state_directory_stops_every_command() {
    let told = with([("TOKEND_STATE_DIR", "\"/data\"")]).check_places().unwrap_err();
    assert_eq!((told.0.len(), told.0[0].variable), (1, "TOKEND_STATE_DIR"));
    with([("MY_APP_SCOPES", "\"a b\"")]).check_places().unwrap();
}

#[test]
fn a_path_that_starts_with_a_tilde_is_an_error() {
    for name in ["TOKEND_STATE_DIR", "TOKEND_KEY_FILE", "TOKEND_CONTROL_SOCKET", "WEBEX_CA_FILE"] {
        for value in ["~/x", "~", "~ada/x"] {
            let told = errors(&with([(name, value)]));
            assert_eq!((told.len(), told[0].variable), (1, name), "{told:?}");
            assert!(told[0].expected.contains("an absolute path"), "{told:?}");
        }
    }
    read([("TOKEND_STATE_DIR", "./~x")]);
}

#[test]
fn an_id_or_secret_with_white_space_or_another_invalid_character_is_an_error() {
    let [bot, space] = [("BOT_TOKEN", "s3cr3t-bot"), ("SPACE_ID", "space")];
    read([bot, space]);
    for (odd, what) in [
        ("s3cr3t two", "white space in it (character 7 of 10)"),
        ("s3cr3t\ttwo", "white space"),
        ("s3cr3t\u{1b}x", "a control character"),
        ("s3cr3t\u{feff}x", "not ASCII"),
        ("\u{feff}s3cr3t", "not ASCII"),
    ] {
        for name in ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID", "BOT_TOKEN"] {
            let told = errors(&with([space, bot, (name, odd)]));
            assert_eq!((told.len(), told[0].variable), (1, name), "{told:?}");
            assert!(told[0].found.contains(what) && !format!("{told:?}").contains("s3cr3t"), "{told:?}");
        }
    }
}

fn real(pairs: &[(&str, &str)]) -> SettingsSource {
    let required = [("MY_APP_CLIENT_ID", "C0ffee"), ("MY_APP_SECRET_ID", SECRET), ("HOME", "/home/ada")];
    let all = required.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SettingsSource::layered(all, EnvFile::In(Path::new("/nowhere"))).unwrap()
}

#[test]
fn service_links_of_kubernetes_are_not_settings() {
    let config = Config::read(&real(&[
        ("MY_APP_PORT", "tcp://10.96.0.1:80"),
        ("MY_APP_SERVICE_HOST", "10.96.0.1"),
        ("MY_APP_SERVICE_PORT", "80"),
        ("MY_APP_PORT_80_TCP", "tcp://10.96.0.1:80"),
        ("MY_APP_PORT_80_TCP_PROTO", "tcp"),
        ("MY_APP_PORT_80_TCP_PORT", "80"),
        ("MY_APP_PORT_80_TCP_ADDR", "10.96.0.1"),
        ("TOKEND_PORT", "tcp://10.96.0.2:8000"),
        ("TOKEND_SERVICE_HOST", "10.96.0.2"),
        ("TOKEND_SERVICE_PORT", "8000"),
        ("TOKEND_SERVICE_PORT_HTTPS", "8000"),
        ("TOKEND_PORT_8000_TCP", "tcp://10.96.0.2:8000"),
        ("TOKEND_PORT_8000_TCP_PROTO", "tcp"),
        ("TOKEND_PORT_8000_TCP_PORT", "8000"),
        ("TOKEND_PORT_8000_TCP_ADDR", "10.96.0.2"),
    ]))
    .unwrap();
    assert_eq!(addresses(&config)[0], "127.0.0.1:8000", "the default");
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(
        config.warnings[0].contains("MY_APP_PORT is not used") && config.warnings[0].contains("Kubernetes")
    );
}

#[test]
fn a_misspelt_name_is_reported_even_if_the_start_fails() {
    let mut source =
        SettingsSource::from([("HOME", "/home/ada"), ("MY_APP_CLIENTID", "s3cr3t"), ("MY_APP_PORT", "x")]);
    let told = Config::read(&source).map(|_| ()).unwrap_err().to_string();
    for part in ["MY_APP_CLIENT_ID: found nothing", "MY_APP_PORT: found \"x\"", "MY_APP_CLIENTID is set, but"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("s3cr3t"), "{told}");
    source.extend([("MY_APP_CLIENTID".to_owned(), String::new())]);
    assert!(!Config::read(&source).map(|_| ()).unwrap_err().to_string().contains("CLIENTID"));
}

#[test]
fn the_default_person_is_an_id_or_an_email_address() {
    read([("TOKEND_DEFAULT_PERSON", "ada@example.com")]);
    assert_eq!(wrong([("TOKEND_DEFAULT_PERSON", "a@b@c")]), ["TOKEND_DEFAULT_PERSON"]);
}

#[test]
fn a_state_directory_in_the_environment_decides_on_all_paths() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let text = "TOKEND_STATE_DIR=/file\nTOKEND_CONTROL_SOCKET=/evil/s\nTOKEND_STORE_URL=sqlite:/evil/db\nTOKEND_KEY_FILE=/evil/key\nHOME=/evil\nXDG_STATE_HOME=/evil\n";
    for place in [&dir, &own] {
        std::fs::write(place.path().join(".env"), text).unwrap();
    }
    let path = own.path().to_str().unwrap();
    let env = |pairs: &[(&str, &str)], file| {
        SettingsSource::layered(
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
            file,
        )
        .unwrap()
    };
    let real = [("TOKEND_STATE_DIR", path), ("HOME", "/home/ada")];
    let source = env(&real, EnvFile::In(dir.path()));
    assert_eq!(source.control_socket(), Some(own.path().join("control.sock")));
    for name in ["TOKEND_CONTROL_SOCKET", "TOKEND_STORE_URL", "TOKEND_KEY_FILE"] {
        assert_eq!(source.get(name), None, "{name}");
    }
    assert_eq!(source.get("HOME"), Some("/home/ada"));
    let told: Vec<&str> = source.left_out().collect();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("TOKEND_KEY_FILE in ")), "{told:?}");

    // The file in the directory itself may name the paths.
    let source = env(&real, EnvFile::InStateDirectory);
    assert_eq!(source.control_socket(), Some(PathBuf::from("/evil/s")));
    let source = env(&[("HOME", "/home/ada")], EnvFile::In(dir.path()));
    assert_eq!(source.state_dir(), Some(PathBuf::from("/file")));
    assert_eq!(source.get("TOKEND_KEY_FILE"), Some("/evil/key"));
    assert_eq!((source.get("HOME"), source.get("XDG_STATE_HOME")), (Some("/home/ada"), None));
}

#[test]
fn a_proxy_is_an_http_url_and_an_invalid_one_is_an_error() {
    for (text, shown) in [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("https://ada:s3cr3t@proxy.example.com/", "https://proxy.example.com:443"),
        ("ada:s3cr3t@10.0.0.1:3128", "http://10.0.0.1:3128"),
    ] {
        let config = read([("HTTPS_PROXY", text), ("ALL_PROXY", "http://not.used"), ("NO_PROXY", "x")]);
        assert!(!format!("{config:?}").contains("s3cr3t"));
        let proxy = config.proxy.unwrap();
        assert_eq!((proxy.to_string().as_str(), proxy.except.as_deref()), (shown, Some("x")));
        assert!(read([("ALL_PROXY", text)]).proxy.is_some());
    }
    for text in [
        "socks5://ada:s3cr3t@proxy.example.com:1080",
        "http://",
        "http://ada:s3cr3t@proxy.example.com:port",
        "proxy example",
        "http://proxy.example.com/path",
        "http://proxy.example.com?x",
    ] {
        for name in ["HTTPS_PROXY", "ALL_PROXY"] {
            let told = errors(&with([(name, text)]));
            assert_eq!((told.len(), told[0].variable), (1, name), "{text}: {told:?}");
            assert!(
                told[0].expected.contains("SOCKS") && !format!("{told:?}").contains("s3cr3t"),
                "{told:?}"
            );
        }
    }
    assert_eq!(read([("NO_PROXY", "x")]).proxy, None);
    let lower =
        Config::read(&real(&[("https_proxy", "http://lower:1"), ("no_proxy", "x")])).unwrap().proxy.unwrap();
    assert_eq!((lower.to_string().as_str(), lower.except.as_deref()), ("http://lower:1", Some("x")));
    let both = real(&[("https_proxy", "http://lower:1"), ("HTTPS_PROXY", "http://upper:1")]);
    assert_eq!(Config::read(&both).unwrap().proxy.unwrap().to_string(), "http://upper:1");
}
