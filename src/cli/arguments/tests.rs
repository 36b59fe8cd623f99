//! Tests of what may be typed.

use clap::CommandFactory;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn serving_is_what_happens_without_a_command() {
    let typed = Arguments::try_parse_from(["webex-tokend", "--debug"]).unwrap();
    assert!(typed.command.is_none() && typed.serve.debug && !typed.serve.refresh_at_start);
    let typed = Arguments::try_parse_from(["webex-tokend", "serve", "--refresh-at-start"]).unwrap();
    let Some(Command::Serve(serve)) = typed.command else { panic!("not serve") };
    assert!(!serve.debug && serve.refresh_at_start);
}

#[test]
fn what_the_contract_promises_is_understood() {
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
    for typed in
        ["exec x", "refresh x --all", "key create x --can write", "login -t 0", "import --from csv x"]
    {
        let words = std::iter::once("webex-tokend").chain(typed.split(' '));
        assert!(Arguments::try_parse_from(words).is_err(), "{typed}");
    }
}
