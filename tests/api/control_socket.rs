//! The control socket: its file, its path, its clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use webex_tokend::config::Config;
use webex_tokend::config::SettingsSource;
use webex_tokend::http::server::control_error::ControlError;
use webex_tokend::http::server::control_socket::ControlSocket;

use super::harness::ApiServer;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn only_the_owner_can_use_the_socket_and_its_directory() {
    let server = ApiServer::new().await;
    let dir = server.socket.parent().unwrap();
    assert_eq!((mode(&server.socket), mode(dir)), (0o600, 0o700));
    assert_eq!(names(dir), ["control.sock"]);
}

#[tokio::test]
async fn the_socket_is_removed_when_the_daemon_ends() {
    let server = ApiServer::new().await;
    assert_eq!(server.get("/people").await.status, 200);
    server.services.tasks.stop();
    tokio::time::timeout(Duration::from_secs(20), server.services.tasks.drained())
        .await
        .expect("the shutdown hangs");
    assert!(!server.socket.exists());
}

#[tokio::test]
async fn a_socket_in_use_is_kept_and_a_stale_one_is_replaced() {
    let server = ApiServer::new().await;
    let error = ControlSocket::open(&server.socket, None).await.unwrap_err();
    assert!(matches!(error, ControlError::Live(_)), "{error}");
    assert!(error.to_string().contains("another webex-tokend answers"));
    assert_eq!(server.get("/people").await.status, 200);

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let opened = ControlSocket::open(&path, None).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    // Ending this daemon does not remove another daemon's socket.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(opened);
    assert!(path.exists());
}

#[tokio::test]
async fn a_file_at_the_sockets_path_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("control.sock");
    fs::write(&path, "mine").unwrap();
    let error = ControlSocket::open(&path, None).await.unwrap_err();
    assert!(matches!(error, ControlError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_path_too_long_for_a_socket_is_a_settings_error() {
    let long = format!("/tmp/{}/control.sock", "x".repeat(100));
    let source = SettingsSource::from([
        ("MY_APP_CLIENT_ID", "id"),
        ("MY_APP_SECRET_ID", "secret"),
        ("TOKEND_STORE_URL", "memory:"),
        ("TOKEND_CONTROL_SOCKET", &long),
    ]);
    let mistakes = Config::read(&source).unwrap_err();
    assert_eq!(mistakes.0.len(), 1);
    assert_eq!(mistakes.0[0].variable, "TOKEND_CONTROL_SOCKET");
    assert!(mistakes.to_string().contains("at most 90 bytes"), "{mistakes}");
}

#[tokio::test]
async fn stuck_clients_do_not_affect_other_clients() {
    let server = ApiServer::new().await;
    for index in 0..100 {
        server.store_fresh_grant(index).await;
    }
    let mut stuck = Vec::new();
    for n in 0..60 {
        let mut client = UnixStream::connect(&server.socket).await.unwrap();
        match n % 3 {
            0 => {}
            1 => client.write_all(b"POST /api/v1/keys HTTP/1.1\r\nHost: x\r\nContent-Le").await.unwrap(),
            _ => {
                // Far more responses than the socket buffers, and the client does not read.
                let asked = "GET /api/v1/people HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40);
                let write = client.write_all(asked.as_bytes());
                let _ = tokio::time::timeout(Duration::from_millis(200), write).await;
            }
        }
        stuck.push(client);
    }
    for _ in 0..20 {
        let get = tokio::time::timeout(Duration::from_secs(5), server.get("/people?limit=5"));
        assert_eq!(get.await.expect("a stuck client blocks others").status, 200);
    }
}

#[tokio::test]
async fn a_socket_client_that_shuts_its_write_side_still_gets_its_response() {
    let server = ApiServer::new().await;
    let mut client = UnixStream::connect(&server.socket).await.unwrap();
    client.write_all(b"GET /api/v1/people HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
