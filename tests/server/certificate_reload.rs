//! The operator's certificate files change while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::time::timeout;
use webex_tokend::clock::SystemClock;
use webex_tokend::http::server::limits::Limits;
use webex_tokend::http::server::tls::ExpiryWarning;
use webex_tokend::http::server::tls::Reloaded;
use webex_tokend::http::server::tls::Reloader;
use webex_tokend::tasks::Wake;

use super::certificates::made;
use super::harness::TestServer;
use super::harness::client_config;
use super::harness::connect_tls_to;
use super::harness::echo;
use super::harness::send_request;
use crate::support::time::SHORT_LIMITS_TIMEOUT;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/// A server with a pair of certificate files.
struct Files {
    folder: TempDir,
    pem: String,
    server: TestServer,
}

impl Files {
    async fn open() -> (Self, Reloader) {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key, _) = made();
        std::fs::write(folder.path().join("cert.pem"), &certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        let (reloader, feed) =
            Reloader::open(folder.path().join("cert.pem"), folder.path().join("key.pem")).unwrap();
        let server =
            TestServer::with_certificate_feed(Some(feed), certificate.clone(), Limits::default(), echo).await;
        (Self { folder, pem: certificate, server }, reloader)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn serves(&self, pem: &str) -> bool {
        connect_tls_to(self.server.addr, "localhost", client_config(pem, None)).await.is_ok()
    }
}

#[tokio::test]
async fn unchanged_certificate_files_are_not_reloaded() {
    let (_files, mut reloader) = Files::open().await;
    for _ in 0..3 {
        assert!(matches!(reloader.reload_if_changed().await, Reloaded::Unchanged));
    }
}

#[tokio::test]
async fn after_a_reload_open_connections_continue_and_new_ones_get_the_new_certificate() {
    let (files, mut reloader) = Files::open().await;
    let mut open = files.server.connect_tls(None).await;
    send_request(&mut open, REQUEST).await;
    let (certificate, key, _) = made();
    files.write("cert.pem", &certificate);
    files.write("key.pem", &key);
    let Reloaded::Reloaded { fingerprint } = reloader.reload_if_changed().await else {
        panic!("not reloaded")
    };
    assert_eq!(&fingerprint, reloader.served().fingerprint());
    assert!(files.serves(&certificate).await && !files.serves(&files.pem).await);
    send_request(&mut open, REQUEST).await;
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Unchanged));
}

#[tokio::test]
async fn a_replaced_file_is_noticed_like_a_rewritten_one() {
    let (files, mut reloader) = Files::open().await;
    while !matches!(reloader.reload_if_changed().await, Reloaded::Unchanged) {}
    let (certificate, key, _) = made();
    for (name, text) in [("cert.pem", &certificate), ("key.pem", &key)] {
        files.write("new", text);
        std::fs::rename(files.path("new"), files.path(name)).unwrap();
    }
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Reloaded { .. }));
    assert!(files.serves(&certificate).await);
}

#[tokio::test]
async fn a_bad_new_file_keeps_the_old_certificate_and_is_logged_once() {
    let (files, mut reloader) = Files::open().await;
    files.write("cert.pem", "nonsense");
    let Reloaded::Kept { error } = reloader.reload_if_changed().await else { panic!("not refused") };
    assert!(error.to_string().contains("cert.pem: found no PEM section"), "{error}");
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Unchanged));
    assert!(files.serves(&files.pem).await);

    std::fs::remove_file(files.path("cert.pem")).unwrap();
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Kept { .. }));
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Unchanged));

    files.write("cert.pem", &files.pem);
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Unchanged));
    assert!(files.serves(&files.pem).await);
}

#[tokio::test]
async fn a_certificate_and_a_key_written_separately_are_loaded_in_the_end() {
    for order in [["cert.pem", "key.pem"], ["key.pem", "cert.pem"]] {
        let (files, mut reloader) = Files::open().await;
        let (certificate, key, _) = made();
        let text = |name| if name == "cert.pem" { &certificate } else { &key };
        files.write(order[0], text(order[0]));
        assert!(matches!(reloader.reload_if_changed().await, Reloaded::Kept { .. }), "{order:?}");
        assert!(files.serves(&files.pem).await);
        files.write(order[1], text(order[1]));
        assert!(matches!(reloader.reload_if_changed().await, Reloaded::Reloaded { .. }), "{order:?}");
        assert!(files.serves(&certificate).await);
    }
}

#[tokio::test]
async fn a_session_is_resumed_across_a_reload() {
    let (files, mut reloader) = Files::open().await;
    let config = client_config(&files.pem, None);
    let mut before = connect_tls_to(files.server.addr, "localhost", Arc::clone(&config)).await.unwrap();
    send_request(&mut before, REQUEST).await;
    let (certificate, key, _) = made();
    files.write("cert.pem", &certificate);
    files.write("key.pem", &key);
    assert!(matches!(reloader.reload_if_changed().await, Reloaded::Reloaded { .. }));
    let mut after = connect_tls_to(files.server.addr, "localhost", config).await.unwrap();
    send_request(&mut after, REQUEST).await;
    assert_eq!(after.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn the_file_watch_notices_changes_and_ends_at_shutdown() {
    let (files, reloader) = Files::open().await;
    let tasks = files.server.tasks.clone();
    let alarm = ExpiryWarning::new("localhost", Arc::new(SystemClock));
    tasks.spawn("tls reload", reloader.watch(alarm, tasks.clone(), Duration::from_millis(10), Wake::new()));
    let (certificate, key, _) = made();
    files.write("cert.pem", &certificate);
    files.write("key.pem", &key);
    let noticed = async { while !files.serves(&certificate).await {} };
    timeout(SHORT_LIMITS_TIMEOUT, noticed).await.expect("the new files are not noticed");
    files.server.shut_down().await;
}

#[tokio::test]
async fn a_notification_makes_the_file_watch_reload_at_once() {
    let (files, reloader) = Files::open().await;
    let (tasks, reload) = (files.server.tasks.clone(), Wake::new());
    let alarm = ExpiryWarning::new("localhost", Arc::new(SystemClock));
    tasks.spawn(
        "tls reload",
        reloader.watch(alarm, tasks.clone(), 100 * SHORT_LIMITS_TIMEOUT, reload.clone()),
    );
    let (certificate, key, _) = made();
    files.write("cert.pem", &certificate);
    files.write("key.pem", &key);
    assert!(!files.serves(&certificate).await, "the watch would check by itself only later");
    reload.notify();
    let noticed = async { while !files.serves(&certificate).await {} };
    timeout(SHORT_LIMITS_TIMEOUT, noticed).await.expect("the new files are not read");
    files.server.shut_down().await;
}
