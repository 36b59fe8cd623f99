//! Wrong settings: all errors at once, by name, exit code 2, and nothing is opened.

use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use webex_sim::Sim;

/// The result of a start that fails.
pub(super) struct FailedStart {
    pub(super) code: i32,
    pub(super) stderr: String,
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    command.current_dir(home).env_clear().env("HOME", home).stdin(Stdio::null());
    command
}

fn ended(mut command: Command) -> FailedStart {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "only results go to stdout");
    FailedStart { code: output.status.code().unwrap(), stderr: String::from_utf8(output.stderr).unwrap() }
}

/// Starts a daemon with valid settings except these, and waits for its end.
pub(super) fn run(sim: &Sim, settings: &[(&str, &str)]) -> FailedStart {
    let home = tempfile::tempdir().unwrap();
    let (id, secret) = sim.with(|webex| {
        let settings = webex.settings();
        (settings.client_id.clone(), settings.client_secret.clone())
    });
    let mut command = command(home.path());
    command
        .env("MY_APP_CLIENT_ID", id)
        .env("MY_APP_SECRET_ID", secret)
        .env("WEBEX_API_BASE_URL", sim.base_url());
    ended({
        command.envs(settings.iter().copied());
        command
    })
}

#[test]
fn every_kind_of_wrong_setting_is_reported_at_once_and_nothing_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let wrong = [
        ("MY_APP_PORT", "http"),
        ("MY_APP_REDIRECT_URI", "https://localhost:8000/callback"),
        ("MY_APP_SCOPES", "\"quoted\""),
        ("EVENT_LOOP_SLEEP_SECONDS", "0"),
        ("EVENT_LOOP_DAYS", "a day"),
        ("EVENT_LOOP_NOOP_WINDOW_SECONDS", "-1"),
        ("EVENT_LOOP_FLOOR_SECONDS", "1.5"),
        ("EVENT_LOOP_CONCURRENCY", "0"),
        ("EVENT_LOOP_MAX_PER_SECOND", "NaN"),
        ("EVENT_LOOP_CATCH_UP_PER_SECOND", "-1"),
        ("WEBEX_API_BASE_URL", "http://webexapis.com/v1"),
        ("WEBEX_CA_FILE", "/nowhere/roots.pem"),
        ("TOKEND_STORE_URL", "mysql:tokend"),
        ("TOKEND_BIND", "localhost"),
        ("TOKEND_TLS_CERT", "/nowhere/cert.pem"),
    ];
    let mut command = command(home.path());
    command.envs(wrong).env("MY_APP_SECRET_ID_FILE", "/nowhere/secret");
    let run = ended(command);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for (variable, _) in wrong {
        assert!(
            run.stderr.contains(&format!("{variable}: found ")),
            "{variable} is missing in:\n{}",
            run.stderr
        );
    }
    for variable in ["MY_APP_CLIENT_ID: found nothing", "MY_APP_SECRET_ID_FILE: found "] {
        assert!(run.stderr.contains(variable), "{variable} is missing in:\n{}", run.stderr);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "no file was created");
}

#[test]
fn errors_in_certificate_files_are_reported_with_all_other_settings_errors() {
    let home = tempfile::tempdir().unwrap();
    let [cert, key, roots] = ["cert.pem", "key.pem", "ca.pem"].map(|name| home.path().join(name));
    let (good, stranger) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&good).unwrap().pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let run_with = |contents: [&str; 3], more: &[(&str, &str)]| {
        for (file, content) in [&cert, &key, &roots].into_iter().zip(contents) {
            std::fs::write(file, content).unwrap();
        }
        let mut command = command(home.path());
        command.env("MY_APP_CLIENT_ID", "C1").env("MY_APP_SECRET_ID", "s3cr3t");
        command.env("TOKEND_TLS_CERT", &cert).env("TOKEND_TLS_KEY", &key).env("WEBEX_CA_FILE", &roots);
        command.envs(more.iter().copied());
        ended(command)
    };
    let (key_pem, other_pem) = (good.serialize_pem(), stranger.serialize_pem());
    let wrong_roots = format!("WEBEX_CA_FILE: found {} (", roots.display());
    let wrong_cert = format!("TOKEND_TLS_CERT: found {} (", cert.display());
    let wrong_key = format!("TOKEND_TLS_KEY: found {} (", key.display());
    let all = [wrong_roots.as_str(), &wrong_cert, &wrong_key];
    let table: [([&str; 3], &[&str]); 5] = [
        (["", "", ""], &all),
        ([broken, "nonsense", broken], &all),
        ([&key_pem, &certificate, &key_pem], &all),
        ([&certificate, &other_pem, &certificate], &[&wrong_key]),
        ([&certificate, &key_pem, broken], &[&wrong_roots]),
    ];
    for (contents, expected) in table {
        let run = run_with(contents, &[("MY_APP_SCOPES", "\"quoted\"")]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains("MY_APP_SCOPES: found "), "{}", run.stderr);
        for line in all {
            assert_eq!(run.stderr.contains(line), expected.contains(&line), "{line}:\n{}", run.stderr);
        }
        assert!(!run.stderr.contains("PRIVATE KEY-----") && !run.stderr.contains("AAAA"), "{}", run.stderr);
    }
    let run = run_with([&certificate, &other_pem, &certificate], &[]);
    assert!(run.code == 2 && run.stderr.contains(", expected "), "{}", run.stderr);
    let unused = [("MY_APP_REDIRECT_URI", "http://localhost:8000/oauth"), ("EVENT_LOOP_DAYS", "soon")];
    let run = run_with(["", "", &certificate], &unused);
    assert!(!run.stderr.contains("TOKEND_TLS_CERT: found"), "the daemon does not start: {}", run.stderr);
    let names: Vec<_> =
        std::fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "files were created: {names:?}");
}

/// A daemon without log output reports no problem, least of all this one.
#[tokio::test]
async fn an_invalid_rust_log_is_reported_and_the_default_levels_apply() {
    let sim = crate::support::start_sim().await;
    for (rust_log, named) in [
        ("inof", "\"inof\""),
        ("webex_tokend=debgu", "\"webex_tokend=debgu\""),
        ("webex-tokend=debug", "\"webex-tokend=debug\""),
        ("hyper=off,info=debug=x", "\"info=debug=x\""),
        ("off/a/b", "\"off/a/b\""),
    ] {
        // No machine has this address, so the start fails.
        let run = run(&sim, &[("RUST_LOG", rust_log), ("TOKEND_BIND", "192.0.2.1")]);
        assert_eq!(run.code, 1, "{}", run.stderr);
        let warned = run.stderr.lines().find(|line| line.contains(" WARN ") && line.contains("RUST_LOG"));
        assert!(warned.is_some_and(|line| line.contains(named)), "{rust_log}: {}", run.stderr);
        assert!(run.stderr.contains(" INFO  webex-tokend "), "{rust_log}: {}", run.stderr);
    }
    for (rust_log, level) in
        [("hyper=debug", " INFO  webex-tokend "), ("error", ""), ("webex_tokend=off", "")]
    {
        let run = run(&sim, &[("RUST_LOG", rust_log), ("TOKEND_BIND", "192.0.2.1")]);
        assert!(!run.stderr.contains("RUST_LOG"), "{rust_log}: {}", run.stderr);
        let line = run.stderr.lines().next().unwrap();
        assert!(
            if level.is_empty() { !line.contains("INFO") } else { line.contains(level) },
            "{}",
            run.stderr
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2_with_the_right_usage() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command(home.path());
    command.arg("--frobnicate");
    let run = ended(command);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--frobnicate") && run.stderr.contains("--help"), "{}", run.stderr);
}

#[test]
fn a_dotenv_file_is_read_and_errors_in_it_are_reported_without_values() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".env"), "EVENT_LOOP_DAYS=soon\n").unwrap();
    let run_it = || ended(command(home.path()));
    assert!(run_it().stderr.contains("EVENT_LOOP_DAYS: found \"soon\""));
    std::fs::write(home.path().join(".env"), "MY_APP_SECRET_ID='s3cr3t\n").unwrap();
    let run = run_it();
    assert_eq!(run.code, 2);
    for told in ["MY_APP_SECRET_ID: found line 1 of ./.env", "MY_APP_CLIENT_ID: found nothing"] {
        assert!(run.stderr.contains(told) && !run.stderr.contains("s3cr3t"), "{told}: {}", run.stderr);
    }
    std::fs::write(home.path().join(".env"), "MY_APP_CLIENT_ID=C1\n").unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(home.path().join(".env"), open).unwrap();
    let run = run_it();
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("the settings file: found ./.env, but its mode is 0666"), "{}", run.stderr);
}

#[test]
fn a_named_dotenv_file_replaces_the_one_of_the_working_directory() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(".env"), "EVENT_LOOP_DAYS=soon\n").unwrap();
    std::fs::write(home.path().join("named"), "EVENT_LOOP_SLEEP_SECONDS=now\n").unwrap();
    for words in [["--env-file", "named"].as_slice(), &["serve", "--env-file", "named"]] {
        let mut command = command(home.path());
        command.args(words);
        let run = ended(command);
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains("EVENT_LOOP_SLEEP_SECONDS: found"), "{}", run.stderr);
        assert!(!run.stderr.contains("EVENT_LOOP_DAYS"), "{}", run.stderr);
    }
}
