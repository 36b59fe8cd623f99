//! A daemon that may open fewer files than there are connections.

use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::client::crowd;
use super::client::tcp;
use super::harness::Siege;
use super::harness::lasting;

/// The limit falls under a running daemon, which has counted on more; so accepting fails, and other things may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_without_descriptors_sheds_silent_connections_and_goes_on() {
    let siege = Siege::new().await;
    let (port, pid) = (siege.daemon.port(), siege.daemon.pid().to_string());
    let most = siege.files() + 60;
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
    if !limited.is_ok_and(|status| status.success()) {
        return eprintln!("not tested: there is no prlimit here");
    }
    let attack = async {
        let held = crowd(400, |_| tcp(port)).await;
        sleep(lasting()).await;
        held.len() as u64
    };
    siege.under("400 connections, 60 descriptors", attack).await;
    siege.daemon.wait_for_line("cannot accept connections, retrying").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_may_open_few_files_says_so_and_takes_fewer_connections() {
    let siege = Siege::with_few_files().await;
    siege.daemon.wait_for_line("this process may open only 400 files").await;
    let port = siege.daemon.port();
    let attack = async {
        let held = crowd(600, |_| tcp(port)).await;
        sleep(Duration::from_millis(500)).await;
        assert!(siege.files() < 300, "{} files", siege.files());
        held.len() as u64
    };
    siege.under("600 connections, 400 descriptors", attack).await;
    let log = siege.daemon.log();
    assert!(!log.iter().any(|line| line.contains("cannot accept")), "it ran out of descriptors");
}
