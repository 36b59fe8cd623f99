//! A daemon whose file descriptor limit is lower than the number of connections.

use std::process::Command;
use std::time::Duration;

use tokio::time::sleep;

use super::client::hold_many;
use super::client::open_many;
use super::client::tcp;
use super::harness::AttackHarness;
use super::harness::attack_duration;

/// The limit is lowered under a running daemon, so that accepting fails, and other operations may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_out_of_file_descriptors_closes_idle_connections_and_continues() {
    let harness = AttackHarness::new().await;
    let (port, pid) = (harness.daemon.port(), harness.daemon.pid().to_string());
    let most = harness.open_files() + 60;
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
    if !limited.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: prlimit is not installed");
    }
    let attack = hold_many(400, attack_duration(), |_| tcp(port));
    harness.run_attack("400 connections, 60 descriptors", attack).await;
    harness.daemon.wait_for_line("cannot accept connections, retrying").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_low_file_descriptor_limit_is_logged_and_lowers_the_connection_limit() {
    let mut harness = AttackHarness::with_few_files().await;
    harness.daemon.wait_for_line("this process may open only 400 files").await;
    let port = harness.daemon.port();
    let attack = async {
        let held = open_many(600, |_| tcp(port)).await;
        sleep(Duration::from_millis(500)).await;
        assert!(harness.open_files() < 300, "{} files", harness.open_files());
        held.len() as u64
    };
    harness.run_attack("600 connections, 400 descriptors", attack).await;
    harness.daemon.terminate().await;
    let log = harness.daemon.final_log().await;
    assert!(!log.iter().any(|line| line.contains("cannot accept")), "it ran out of file descriptors");
}
