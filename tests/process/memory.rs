//! The daemon's memory is written to no file and cannot be read by other programs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

use crate::support::Daemon;
use crate::support::eventually;
use crate::support::free_port;
use crate::support::start_sim;

/// Core files of any size are allowed, as on some systems, as far as this system permits.
#[tokio::test]
async fn a_crashing_daemon_leaves_no_core_dump() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    let pid = daemon.pid().to_string();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let most = line.split_whitespace().nth(1).unwrap();
    let raised = Command::new("prlimit").args(["--pid", &pid, &format!("--core={most}:{most}")]).status();
    assert!(raised.unwrap().success());
    daemon.signal("ABRT");
    assert_eq!(daemon.terminate().await.code, None, "a signal ended it");
    let home = daemon.state_dir().parent().unwrap().to_owned();
    let names =
        |dir| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names(home).filter(|name| name.contains("core")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Where the system pipes core dumps to a program, no file appears beside the daemon. This check works everywhere: the
/// `/proc` files of a process that cannot be dumped belong to root.
#[tokio::test]
async fn other_programs_of_the_daemons_user_cannot_read_its_memory() {
    const OTHER_USER: u32 = 65_534;
    let home = tempfile::tempdir().unwrap();
    let us = fs::metadata(home.path()).unwrap().uid();
    // Processes of root look the same whether they can be dumped or not.
    let user = if us == 0 { OTHER_USER } else { us };
    let start = |program: &str| {
        let mut command = Command::new(program);
        command
            .current_dir(home.path())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if us == 0 {
            command.uid(OTHER_USER).gid(OTHER_USER);
        }
        command
    };
    if us == 0 {
        chown(home.path(), Some(OTHER_USER), Some(OTHER_USER)).unwrap();
    }
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();

    let mut other = start("cat").env("PATH", "/usr/bin:/bin").spawn().unwrap();
    eventually("another program's files belong to its user", || owner(other.id()) == user).await;
    other.kill().unwrap();
    other.wait().unwrap();

    let socket = home.path().join("control.sock");
    let mut daemon = start(env!("CARGO_BIN_EXE_webex-tokend"))
        .env("MY_APP_CLIENT_ID", "C1")
        .env("MY_APP_SECRET_ID", "s3cr3t")
        .env("MY_APP_PORT", free_port().to_string())
        .env("MY_APP_REDIRECT_URI", "https://localhost:8000/oauth")
        .env("TOKEND_STATE_DIR", home.path())
        .spawn()
        .unwrap();
    eventually("the daemon answers", || socket.exists()).await;
    let seen = owner(daemon.id());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(seen, 0, "the daemon's memory can be read by programs of its user");
}
