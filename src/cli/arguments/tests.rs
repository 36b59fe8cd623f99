//! Tests of the command line's arguments.

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn serve_is_the_default_command() {
    let typed = Arguments::try_parse_from(["webex-tokend", "--debug"]).unwrap();
    assert!(typed.command.is_none() && typed.serve.debug && !typed.serve.refresh_at_start);
    let typed = Arguments::try_parse_from(["webex-tokend", "serve", "--refresh-at-start"]).unwrap();
    let Some(Command::Serve(serve)) = typed.command else { panic!("not serve") };
    assert!(!serve.debug && serve.refresh_at_start);
}

#[test]
fn the_settings_file_may_be_named_before_or_after_the_command() {
    for typed in [
        "--env-file f",
        "--env-file f serve",
        "serve --env-file f",
        "--env-file f token",
        "key list --env-file f",
    ] {
        let words = std::iter::once("webex-tokend").chain(typed.split(' '));
        let typed = Arguments::try_parse_from(words).unwrap().checked().unwrap();
        assert_eq!(typed.env_file, Some(PathBuf::from("f")));
    }
}

#[test]
fn options_of_serve_before_a_command_are_refused() {
    for typed in ["--debug token", "--refresh-at-start serve"] {
        let words = std::iter::once("webex-tokend").chain(typed.split(' '));
        assert!(Arguments::try_parse_from(words).unwrap().checked().is_err(), "{typed}");
    }
}

#[test]
fn durations_are_seconds_or_have_a_unit() {
    let right = [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800), ("0", 0)];
    for (text, expected) in right {
        let typed = Arguments::try_parse_from(["webex-tokend", "token", "--min-ttl", text]).unwrap();
        let Some(Command::Ask(ApiCommand::Token(asked))) = typed.command else { panic!("no token") };
        assert_eq!(asked.life.min_ttl, Some(expected), "{text}");
    }
    for text in [
        "",
        "m",
        "1.5h",
        "-1",
        "+1",
        "15 m",
        "15min",
        "1w",
        "15M",
        "99999999999999999999",
        "999999999999999999d",
    ] {
        for option in ["--min-ttl", "--daemon-timeout"] {
            let option = format!("{option}={text}");
            let wrong =
                Arguments::try_parse_from(["webex-tokend", "token", &option]).unwrap_err().to_string();
            assert!(wrong.contains("such as 90, 15m, 12h or 7d"), "{text}: {wrong}");
        }
    }
    let patience = |option: &str, text: &str| {
        let typed = Arguments::try_parse_from(["webex-tokend", "login", option, text]).ok()?;
        let Some(Command::Ask(ApiCommand::Login(login))) = typed.command else { panic!("no login") };
        Some((login.timeout, login.daemon.daemon_timeout))
    };
    assert_eq!(patience("-t", "5m"), Some((Some(300), 90)));
    assert_eq!(patience("--daemon-timeout", "1d"), Some((None, 86_400)));
    for text in ["0", "2d"] {
        assert_eq!((patience("-t", text), patience("--daemon-timeout", text)), (None, None), "{text}");
    }
}

#[test]
fn every_documented_command_line_is_accepted() {
    for typed in [
        "login --device --no-browser -t 5 -o",
        "retrieve -j -d",
        "refresh --all --force",
        "refresh ada@example.com -o",
        "token ada@example.com --min-ttl 600 --format header",
        "token",
        "exec ada@example.com --env MY_TOKEN -- curl -s x",
        "exec -- true",
        "people -j",
        "people --state consent_needed --missing-scope --limit 5",
        "status",
        "why x",
        "plan --days 30 -j",
        "forget x --yes",
        "import --from token-app db.sqlite",
        "import -",
        "key create ci --person a@b.c --person d --can read,refresh --days 3",
        "key list",
        "key revoke ci",
        "doctor",
        "completions bash",
        "man",
    ] {
        let words = std::iter::once("webex-tokend").chain(typed.split(' '));
        assert!(Arguments::try_parse_from(words).is_ok(), "{typed}");
    }
    for typed in [
        "exec x",
        "refresh x --all",
        "key create x --can write",
        "login -t 0",
        "people --state odd",
        "people --limit 0",
        "import --from csv x",
    ] {
        let words = std::iter::once("webex-tokend").chain(typed.split(' '));
        assert!(Arguments::try_parse_from(words).is_err(), "{typed}");
    }
}
