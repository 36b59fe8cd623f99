//! The recipes of docs/notices.md, run as written: the settings give the sinks that the document promises, and its program does
//! what its comment says.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use strum::VariantArray;

use webex_tokend::config::Config;
use webex_tokend::config::SettingsSource;
use webex_tokend::domain::notice::NoticeType;

/// The shell blocks of docs/notices.md.
fn blocks() -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join("notices.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn block(part: &str) -> String {
    blocks().into_iter().find(|block| block.contains(part)).unwrap_or_else(|| panic!("no recipe with {part}"))
}

/// The `NOTIFY_` and `BOT_` variables that a shell has after the block. The files of `/etc/webex-tokend` are in `dir`.
fn settings_after(block: &str, dir: &Path) -> BTreeMap<String, String> {
    let script = block.replace("/etc/webex-tokend", dir.to_str().unwrap()) + "\nenv";
    let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let is_ours = |name: &str| name.starts_with("NOTIFY_") || name.starts_with("BOT_");
    variables
        .filter(|(name, _)| is_ours(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_settings_of_each_recipe_are_accepted_and_set_its_sink() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bot.token"), "bot-token\n").unwrap();
    fs::write(dir.path().join("smtp.url"), "smtps://user:password@mail.example.com:465\n").unwrap();
    let read = |part: &str| {
        let state = ("TOKEND_STATE_DIR", dir.path().to_str().unwrap());
        let mut source =
            SettingsSource::from([("MY_APP_CLIENT_ID", "C0ffee"), ("MY_APP_SECRET_ID", "secret"), state]);
        source.extend(settings_after(&block(part), dir.path()));
        Config::read(&source).unwrap().notices
    };
    assert!(read("NOTIFY_WEBHOOK_URL").webhook.is_some());
    let (program, arguments) = read("NOTIFY_COMMAND").command.unwrap();
    assert_eq!((program.as_str(), arguments.len()), ("/usr/local/bin/on-notice", 2));
    let messages = read("NOTIFY_WEBEX_TO");
    assert_eq!((messages.webex_to.len(), messages.bot_token.is_some()), (1, true));
    assert_eq!(read("NOTIFY_MAIL_TO").mail.unwrap().to.len(), 1);
}

#[test]
fn the_documented_program_mails_what_needs_an_operator_and_ignores_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let executable = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    let program = executable("on-notice", &block("#!/bin/sh"));
    executable("mail", "#!/bin/sh\nprintf '%s|' \"$@\"\ncat\n");
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    for kind in NoticeType::VARIANTS.iter().copied() {
        let mut command = Command::new(&program);
        command.env_clear().env("PATH", &path).env("TOKEND_EVENT", kind.as_str());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"{\"id\":\"evt_1\"}\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{kind:?}");
        let word = kind.as_str();
        let is_mailed =
            word.starts_with("consent.") || ["token.at_risk", "app.paused", "digest", "test"].contains(&word);
        let mailed = format!("-s|webex-tokend: {word}|ops@example.com|{{\"id\":\"evt_1\"}}\n");
        let expected = if is_mailed { mailed } else { String::new() };
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{word}");
    }
}
