//! The names in other samples, and the settings of the token service sample.

use super::*;

/// A value that each sample would set.
fn value_of(ours: &str) -> &'static str {
    match ours {
        "MY_APP_CLIENT_ID" => "C1234",
        "MY_APP_SECRET_ID" => "s3cr3t-of-another-sample",
        "MY_APP_REDIRECT_URI" => "https://localhost:5000/oauth",
        "MY_APP_SCOPES" => "spark:people_read",
        "MY_APP_PORT" => "5000",
        _ => panic!("{ours} has no value here"),
    }
}

fn told(config: &Config) -> [String; 5] {
    let integration = &config.integration;
    [
        integration.client_id.clone(),
        integration.client_secret.expose().to_owned(),
        integration.redirect_uri.clone(),
        integration.scopes.join(" "),
        config.http.addresses[0].address.port().to_string(),
    ]
}

#[test]
fn names_of_other_samples_count_if_the_setting_itself_is_not_set() {
    for (ours, other) in ALIASES {
        let mut bare = required();
        bare.extend([(ours.to_owned(), String::new()), (other.to_owned(), value_of(ours).to_owned())]);
        let config = Config::read(&bare).unwrap();
        assert!(told(&config).contains(&value_of(ours).to_owned()), "{other}");
        let warning = format!("{other}, the name in another sample, is used because {ours} is not set");
        assert!(config.warnings.contains(&warning), "{other}: {:?}", config.warnings);
        assert!(!config.warnings.concat().contains("s3cr3t"), "{:?}", config.warnings);

        let mut both = bare.clone();
        both.extend([(ours.to_owned(), told(&read([]))[index(ours)].clone())]);
        let config = Config::read(&both).unwrap();
        assert_eq!(told(&config), told(&read([])), "{other}");
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}

fn index(ours: &str) -> usize {
    let order =
        ["MY_APP_CLIENT_ID", "MY_APP_SECRET_ID", "MY_APP_REDIRECT_URI", "MY_APP_SCOPES", "MY_APP_PORT"];
    order.iter().position(|name| *name == ours).unwrap()
}

#[test]
fn the_first_of_two_names_of_other_samples_counts() {
    let config = read([("PORT", "5000"), ("WEBEX_REDIRECTPORT", "6855")]);
    assert_eq!(addresses(&config)[0], "127.0.0.1:5000");
}

#[test]
fn an_error_names_the_variable_that_was_set() {
    assert_eq!(wrong([("PORT", "http")]), ["PORT"]);
    assert_eq!(wrong([("PORT", "http"), ("MY_APP_PORT", "x")]), ["MY_APP_PORT"]);
    assert_eq!(wrong([("WEBEX_SCOPES", "%22")]), ["WEBEX_SCOPES"]);
    let callback = "http://localhost:5000/auth/webex/callback";
    assert_eq!(wrong([("REDIRECT_URI", callback)]), ["REDIRECT_URI"]);
    read([("REDIRECT_URI", callback), ("MY_APP_REDIRECT_URI", DEFAULT_REDIRECT_URI)]);
}

#[test]
fn the_secret_file_takes_precedence_over_the_secret_of_another_sample() {
    let mut source = SettingsSource::from([("MY_APP_CLIENT_ID", "C0ffee"), ("HOME", "/home/ada")]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "s3cr3t-in-a-file\n").unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, private).unwrap();
    let file = path.to_str().unwrap();
    source.extend(
        [("CLIENT_SECRET", "another"), ("MY_APP_SECRET_ID_FILE", file)]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let config = Config::read(&source).unwrap();
    assert_eq!(config.integration.client_secret.expose(), "s3cr3t-in-a-file");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

const SERVICE: [(&str, &str); 4] = [
    ("PASSPHRASE", "s3cr3t-and-long-enough"),
    ("ORG_ID", "org"),
    ("FROM", "admin@webexcc.com"),
    ("SOURCE_IP", "127.0.0.1, 10.0.0.0/8"),
];

#[test]
fn a_passphrase_turns_the_token_service_on_and_requires_its_other_settings() {
    assert!(read([]).token_service.is_none());
    let [_, org, from, source] = SERVICE;
    assert!(read([org, from, source]).token_service.is_none());
    let config = read(SERVICE);
    assert!(!format!("{config:?}").contains("s3cr3t"));
    assert!(config.warnings.is_empty());
    let service = config.token_service.unwrap();
    assert_eq!((service.org_id.as_str(), service.from.as_str()), ("org", "admin@webexcc.com"));
    assert_eq!((service.passphrase.expose(), service.sources.len()), ("s3cr3t-and-long-enough", 2));
    assert_eq!(wrong([SERVICE[0]]), ["ORG_ID", "FROM", "SOURCE_IP"]);
    for missing in 1..4 {
        let mut some = SERVICE;
        some[missing].1 = "";
        assert_eq!(wrong(some), [SERVICE[missing].0]);
    }
    for source in ["localhost", "10.0.0.0/33", "10.0.0.1/8", ",", "127.0.0.1;10.0.0.1"] {
        let mut some = SERVICE;
        some[3].1 = source;
        assert_eq!(wrong(some), ["SOURCE_IP"], "{source}");
    }
    let mut short = SERVICE;
    short[0].1 = "s3cr3t";
    let warnings = read(short).warnings.concat();
    assert!(warnings.contains("PASSPHRASE") && !warnings.contains("s3cr3t"), "{warnings}");
}
