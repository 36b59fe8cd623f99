//! The real daemon when the reader of its log stalls, for example a log collector with a full disk.

use std::time::Duration;

use reqwest::Client;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::start_sim;
use crate::support::time::HANG_TIMEOUT;

/// More lines than a pipe and the daemon's queue can hold.
const LINES: usize = 6500;

fn control(daemon: &Daemon) -> Client {
    let socket = daemon.state_dir().join("control.sock");
    Client::builder().unix_socket(socket).no_proxy().timeout(HANG_TIMEOUT).build().unwrap()
}

async fn status(client: &Client, path: &str) -> u16 {
    client.get(format!("http://localhost{path}")).send().await.unwrap().status().as_u16()
}

/// Each request writes a line to the log.
async fn fill_the_log(daemon: &Daemon) {
    let client = control(daemon);
    for _ in 0..LINES {
        assert_eq!(status(&client, "/api/v1/people?limit=1").await, 200, "the daemon answers");
    }
}

#[tokio::test]
async fn a_stalled_log_reader_blocks_nothing_and_dropped_lines_are_reported() {
    let sim = start_sim().await;
    let mut daemon = Daemon::start(&sim, &[]).await;
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    {
        let _stalled = daemon.stall_log_reader();
        fill_the_log(&daemon).await;
        assert_eq!(BrowserClient::new().get(daemon.url("/healthz")).await.status, 200);
        assert_eq!(status(&control(&daemon), "/api/v1/people/ada@example.com/token").await, 200);
        assert_eq!(BrowserClient::new().consent(&daemon, 1).await.status, 200, "consents still work");
    }
    let told = daemon.wait_for_line("log lines were dropped").await;
    assert!(told.contains(" WARN "), "{told}");

    let _stalled = daemon.stall_log_reader();
    fill_the_log(&daemon).await;
    daemon.signal("TERM");
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while !daemon.has_ended() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(ended.await.is_ok(), "SIGTERM is obeyed");
}
