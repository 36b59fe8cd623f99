//! What the daemon has in memory is in no file and for no other program to read.

use std::fs;
use std::process::Command;

use crate::support::Daemon;
use crate::support::sim;

/// Core files of any size are allowed, as some systems do it, as far as this one lets us.
#[tokio::test]
async fn a_daemon_that_crashes_leaves_no_memory_behind() {
    let sim = sim().await;
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
