//! `TOKEND_SOCKET_GROUP`: the daemon and its commands as different users of one machine, like a unit with
//! `DynamicUser=yes` and a cron job. All but the first tests need root.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use tempfile::TempDir;
use webex_sim::Sim;

use super::settings::run;
use crate::support::BrowserClient;
use crate::support::CommandOutput;
use crate::support::Daemon;
use crate::support::Setup;
use crate::support::start_sim;

/// No user or group of a machine has these numbers.
const DAEMON: u32 = 61_234;
const MEMBER: u32 = 61_235;
const OUTSIDER: u32 = 61_236;
const GROUP: u32 = 60_991;

/// The daemon as systemd starts it with `DynamicUser=yes`, `SupplementaryGroups=` and no capabilities.
const AS_DAEMON: Setup = Setup::Shell(
    "chown 61234:61234 \"$0\"; chmod 0711 \"$0\"
     exec setpriv --reuid 61234 --regid 61234 --groups 60991 --no-new-privs --bounding-set=-all --inh-caps=-all \"$@\"",
);

const GROUP_TEXT: &str = "60991";

/// `setpriv` for a user, in the group or not in it.
fn as_user(uid: u32, groups: &str) -> Command {
    let id = uid.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &id, "--regid", &id, "--bounding-set=-all", "--inh-caps=-all"]);
    match groups {
        "" => command.arg("--clear-groups"),
        groups => command.args(["--groups", groups]),
    };
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent");
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// Whether tests can run as several users here. Prints a note if they cannot.
fn other_users() -> bool {
    let mut probe = as_user(MEMBER, GROUP_TEXT);
    probe.args([env!("CARGO_BIN_EXE_webex-tokend"), "--version"]);
    let works = rustix::process::geteuid().is_root()
        && probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: only root can start programs of other users (and setpriv must be there)");
    }
    works
}

/// `webex-tokend` as this user, with the words separated by spaces.
fn command(uid: u32, groups: &str, place: (&str, &Path), words: &str) -> CommandOutput {
    let mut command = as_user(uid, groups);
    command.env(place.0, place.1).arg(env!("CARGO_BIN_EXE_webex-tokend")).args(words.split(' '));
    command.output().unwrap().into()
}

/// Whether this `test` of the path succeeds for this user.
fn can(uid: u32, groups: &str, test: &str, path: &Path) -> bool {
    as_user(uid, groups).args(["test", test]).arg(path).status().unwrap().success()
}

fn mode_and_owners(path: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.mode() & 0o7777, found.uid(), found.gid())
}

/// A directory as systemd makes it below `/run` by `RuntimeDirectory=` and `RuntimeDirectoryMode=0750`.
fn runtime_directory() -> (TempDir, PathBuf) {
    let dir = tempfile::Builder::new().prefix("webex-tokend-").tempdir_in("/run").unwrap();
    chown(dir.path(), Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
    let socket = dir.path().join("control.sock");
    (dir, socket)
}

async fn daemon_with(sim: &Sim, socket: Option<&Path>) -> Daemon {
    let mut settings = vec![("TOKEND_SOCKET_GROUP", GROUP_TEXT)];
    settings.extend(socket.map(|socket| ("TOKEND_CONTROL_SOCKET", socket.to_str().unwrap())));
    let daemon = Daemon::start_with_setup(sim, &settings, AS_DAEMON).await;
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    daemon
}

#[tokio::test]
async fn an_unknown_socket_group_is_reported_with_all_other_settings_errors() {
    let sim = start_sim().await;
    for (group, told) in [
        (
            "no-such-group",
            "TOKEND_SOCKET_GROUP: found \"no-such-group\", expected the name or number of a group",
        ),
        ("4294967295", "TOKEND_SOCKET_GROUP: found \"4294967295\", expected"),
        ("a:b", "TOKEND_SOCKET_GROUP: found \"a:b\", expected"),
    ] {
        let output = run(&sim, &[("TOKEND_SOCKET_GROUP", group), ("MY_APP_PORT", "http")]);
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(output.stderr.contains("MY_APP_PORT: found \"http\""), "{}", output.stderr);
    }
}

#[tokio::test]
async fn the_configured_group_can_use_the_socket() {
    let sim = start_sim().await;
    // Every user may do this with their own group.
    let gid = rustix::process::getegid().as_raw();
    let group = Command::new("id").arg("-gn").output().unwrap().stdout;
    let names = [String::from_utf8(group).unwrap().trim().to_owned(), gid.to_string()];
    for name in &names {
        let daemon = Daemon::start(&sim, &[("TOKEND_SOCKET_GROUP", name)]).await;
        let socket = daemon.state_dir().join("control.sock");
        let us = rustix::process::geteuid().as_raw();
        assert_eq!(mode_and_owners(&socket), (0o660, us, gid), "{name}");
        assert_eq!(mode_and_owners(&daemon.state_dir()), (0o710, us, gid), "{name}");
        daemon.wait_for_line("may use it, with all rights of the operator").await;
    }
}

#[tokio::test]
async fn only_members_of_the_group_can_use_the_socket_in_the_runtime_directory() {
    if !other_users() {
        return;
    }
    let sim = start_sim().await;
    let (_dir, socket) = runtime_directory();
    let daemon = daemon_with(&sim, Some(&socket)).await;
    assert_eq!(mode_and_owners(&socket), (0o660, DAEMON, GROUP));
    assert_eq!(mode_and_owners(socket.parent().unwrap()), (0o710, DAEMON, GROUP));
    assert!(!daemon.log().iter().any(|line| line.contains("TOKEND_SOCKET_GROUP")), "{:?}", daemon.log());

    let place = ("TOKEND_CONTROL_SOCKET", socket.as_path());
    let token = command(MEMBER, GROUP_TEXT, place, "token ada@example.com").expect_success();
    let now_ms = sim.now_ms();
    assert!(sim.with(|webex| webex.is_live(token.trim_end(), now_ms)));
    let people = command(MEMBER, GROUP_TEXT, place, "people").expect_success();
    assert!(people.contains("ada@example.com"), "{people}");
    let mut root = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    let people = root.env_clear().env(place.0, place.1).arg("people").output().unwrap();
    assert!(CommandOutput::from(people).expect_success().contains("ada@example.com"));

    command(OUTSIDER, "", place, "people")
        .expect_failure(5, "as a member of the group that TOKEND_SOCKET_GROUP names");
    // The group can reach only the socket.
    assert!(!can(MEMBER, GROUP_TEXT, "-r", socket.parent().unwrap()), "the directory cannot be listed");
    for name in ["tokend.db", "key", "."] {
        assert!(!can(MEMBER, GROUP_TEXT, "-r", &daemon.state_dir().join(name)), "{name}");
    }
}

#[tokio::test]
async fn the_group_reaches_only_the_socket_in_the_state_directory() {
    if !other_users() {
        return;
    }
    let sim = start_sim().await;
    let mut daemon = daemon_with(&sim, None).await;
    let state = daemon.state_dir();
    assert_eq!(mode_and_owners(&state), (0o710, DAEMON, GROUP));
    assert_eq!(mode_and_owners(&state.join("control.sock")), (0o660, DAEMON, GROUP));
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let is_socket = path.ends_with("control.sock");
        assert_eq!(can(MEMBER, GROUP_TEXT, "-r", &path), is_socket, "{}", path.display());
        assert!(!can(OUTSIDER, "", "-r", &path), "{}", path.display());
    }
    // The daemon's settings are not readable for members of the group, and not needed by them.
    let settings = state.join(".env");
    fs::write(&settings, "MY_APP_SECRET_ID=s3cr3t\n").unwrap();
    chown(&settings, Some(DAEMON), None).unwrap();
    fs::set_permissions(&settings, Permissions::from_mode(0o600)).unwrap();
    let people = command(MEMBER, GROUP_TEXT, ("TOKEND_STATE_DIR", &state), "people").expect_success();
    assert!(people.contains("ada@example.com"), "{people}");

    // A copy that relied on the mode of its directory.
    fs::write(state.join("copy.db"), "").unwrap();
    fs::set_permissions(state.join("copy.db"), Permissions::from_mode(0o644)).unwrap();
    daemon.terminate().await;
    daemon.restart(&[]).await;
    let told = daemon.wait_for_line("the group id 60991 can also use these files").await;
    assert!(told.contains("copy.db (0644);") && !told.contains("tokend.db"), "{told}");
}

#[tokio::test]
async fn a_daemon_that_is_no_member_of_the_group_does_not_start() {
    if !other_users() {
        return;
    }
    let sim = start_sim().await;
    let home = tempfile::tempdir().unwrap();
    chown(home.path(), Some(DAEMON), Some(DAEMON)).unwrap();
    let (id, secret) = sim.with(|webex| {
        let settings = webex.settings();
        (settings.client_id.clone(), settings.client_secret.clone())
    });
    let state = home.path().join("state");
    let start = |socket: &Path, groups: &str| -> CommandOutput {
        let mut command = as_user(DAEMON, groups);
        command.env("MY_APP_CLIENT_ID", &id).env("MY_APP_SECRET_ID", &secret).env("TOKEND_STATE_DIR", &state);
        command.env("TOKEND_CONTROL_SOCKET", socket).env("TOKEND_SOCKET_GROUP", GROUP_TEXT);
        command.arg(env!("CARGO_BIN_EXE_webex-tokend")).output().unwrap().into()
    };
    let (_dir, socket) = runtime_directory();
    let output = start(&socket, "60990");
    assert_eq!(output.code, 2, "{output:?}");
    for part in ["found the group id 60991", "user 61234, groups 60990, 61234", "SupplementaryGroups=60991"] {
        assert!(output.stderr.lines().last().unwrap().contains(part), "{part}: {output:?}");
    }

    // The directory belongs to another user: the error says what was found and what to do.
    chown(socket.parent().unwrap(), Some(OUTSIDER), Some(OUTSIDER)).unwrap();
    let output = start(&socket, GROUP_TEXT);
    assert_eq!(output.code, 2, "{output:?}");
    for part in
        ["cannot pass through", "mode 0750, user 61236, group 61236", "chgrp 60991", "TOKEND_CONTROL_SOCKET"]
    {
        assert!(output.stderr.lines().last().unwrap().contains(part), "{part}: {output:?}");
    }
    assert!(!state.exists(), "nothing is opened");
    assert_eq!(mode_and_owners(socket.parent().unwrap()), (0o750, OUTSIDER, OUTSIDER));
}

#[tokio::test]
async fn a_command_sends_nothing_to_a_socket_in_a_directory_that_any_user_could_create() {
    if !other_users() {
        return;
    }
    let sim = start_sim().await;
    // Below /tmp.
    let daemon = daemon_with(&sim, None).await;
    let socket = daemon.state_dir().join("control.sock");
    let told = "is served by a process of uid 61234, and nothing was sent to it";
    command(MEMBER, GROUP_TEXT, ("TOKEND_CONTROL_SOCKET", &socket), "people").expect_failure(5, told);
}
