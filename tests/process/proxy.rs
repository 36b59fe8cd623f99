//! A proxy between the daemon and Webex, and one between browsers and the daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::process::Command;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::tasks::Tasks;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::http;

type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that forwards requests and records their heads.
async fn proxy() -> (SocketAddr, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heads) = (listener.local_addr().unwrap(), Heads::default());
    let (kept, tasks) = (heads.clone(), Tasks::new());
    let tunnels = tasks.clone();
    let serve = async move {
        while let Ok((stream, _)) = listener.accept().await {
            tunnels.spawn("tunnel", tunnel(stream, kept.clone()));
        }
    };
    tasks.spawn("proxy", serve);
    (address, heads)
}

async fn tunnel(mut stream: TcpStream, heads: Heads) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.split_whitespace().nth(1).unwrap().to_owned();
    heads.lock().unwrap().push(head);
    let mut webex = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let _ = copy_bidirectional(&mut stream, &mut webex).await;
}

/// Webex at an `https` address: only such requests go through a proxy.
async fn start_sim() -> Sim {
    Sim::start_on("127.0.0.1:0".parse().unwrap(), true, Settings::default()).await.unwrap()
}

#[tokio::test]
async fn webex_is_reached_through_the_configured_proxy() {
    let (sim, (address, heads)) = (start_sim().await, proxy().await);
    for (name, value) in [
        ("HTTPS_PROXY", format!("http://ada:s3cr3t@{address}")),
        ("https_proxy", address.to_string()),
        ("ALL_PROXY", format!("http://{address}/")),
    ] {
        let mut daemon = Daemon::start(&sim, &[(name, value.as_str())]).await;
        assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200, "{name}");
        let seen = std::mem::take(&mut *heads.lock().unwrap());
        assert!(
            !seen.is_empty() && seen.iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")),
            "{seen:?}"
        );
        // "ada:s3cr3t" in base64.
        let asked_as_ada = seen.iter().all(|head| head.contains("Basic YWRhOnMzY3IzdA=="));
        assert_eq!(asked_as_ada, value.contains('@'), "{seen:?}");
        daemon.wait_for_line(&format!("requests to Webex go through the proxy http://{address}")).await;
        daemon.terminate().await;
        assert!(!daemon.final_log().await.concat().contains("s3cr3t"));
    }
}

#[tokio::test]
async fn webex_is_reached_directly_where_no_proxy_applies() {
    let (sim, (address, heads)) = (start_sim().await, proxy().await);
    let settings = [("HTTPS_PROXY", &*format!("http://{address}")), ("NO_PROXY", "example.com,127.0.0.1")];
    let daemon = Daemon::start(&sim, &settings).await;
    assert_eq!(BrowserClient::new().consent(&daemon, 0).await.status, 200);
    assert_eq!(heads.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn behind_a_tls_proxy_the_port_speaks_plain_http_and_cookies_stay_secure() {
    let sim = crate::support::start_sim().await;
    let uri = ("MY_APP_REDIRECT_URI", "https://tokens.example.com/webex/oauth");
    let daemon = Daemon::start_without_health_check(&sim, &[uri, ("TOKEND_TLS", "proxy")]).await;
    daemon.wait_for_line("control socket: ").await;
    let host = [("host", "tokens.example.com"), ("x-forwarded-proto", "https")];
    let asked = http().get(format!("http://127.0.0.1:{}/webex/oauth?person=ada@example.com", daemon.port()));
    let answer =
        host.iter().fold(asked, |asked, (name, value)| asked.header(*name, *value)).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-ticket-") && cookie.contains("; Secure"), "{cookie}");
    let warnings: Vec<String> = daemon.log().into_iter().filter(|line| line.contains(" WARN ")).collect();
    assert!(!warnings.concat().contains("MY_APP_PORT"), "{warnings:?}");
    assert!(
        daemon
            .log()
            .iter()
            .filter(|line| line.contains("listening on"))
            .all(|line| { line.contains("127.0.0.1") || line.contains("[::1]") })
    );
    let doctor = doctor(&daemon).await;
    assert!(doctor.contains("ok    redirect URI") && !doctor.contains("MY_APP_PORT"), "{doctor}");
}

#[tokio::test]
async fn the_documented_proxy_setup_causes_no_port_warning() {
    let sim = crate::support::start_sim().await;
    let uri = ("MY_APP_REDIRECT_URI", "https://tokens.example.com/webex/oauth");
    let daemon = Daemon::start_without_health_check(&sim, &[uri, ("TOKEND_BIND", "127.0.0.1")]).await;
    daemon.wait_for_line("control socket: ").await;
    let warnings: Vec<String> = daemon.log().into_iter().filter(|line| line.contains(" WARN ")).collect();
    assert!(!warnings.concat().contains("MY_APP_PORT"), "{warnings:?}");
    let doctor = doctor(&daemon).await;
    assert!(doctor.contains("ok    redirect URI") && !doctor.contains("MY_APP_PORT"), "{doctor}");
}

async fn doctor(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    let command = command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir()).arg("doctor");
    String::from_utf8(command.output().await.unwrap().stdout).unwrap()
}
