//! A proxy between the daemon and Webex.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::copy_bidirectional;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::tasks::Tasks;

use crate::support::Daemon;
use crate::support::Visitor;

type Heads = Arc<Mutex<Vec<String>>>;

/// A proxy that does what it is asked for, and keeps how it was asked.
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

/// Webex at an `https` address: only such calls go through a proxy.
async fn sim() -> Sim {
    Sim::start_on("127.0.0.1:0".parse().unwrap(), true, Settings::default()).await.unwrap()
}

#[tokio::test]
async fn webex_is_reached_through_the_proxy_that_is_set() {
    let (sim, (address, heads)) = (sim().await, proxy().await);
    for (name, value) in [
        ("HTTPS_PROXY", format!("http://ada:s3cr3t@{address}")),
        ("https_proxy", address.to_string()),
        ("ALL_PROXY", format!("http://{address}/")),
    ] {
        let daemon = Daemon::start(&sim, &[(name, value.as_str())]).await;
        assert_eq!(Visitor::new().consent(&daemon, 0).await.status, 200, "{name}");
        let seen = std::mem::take(&mut *heads.lock().unwrap());
        assert!(
            !seen.is_empty() && seen.iter().all(|head| head.starts_with("CONNECT 127.0.0.1:")),
            "{seen:?}"
        );
        // "ada:s3cr3t" in base64.
        let asked_as_ada = seen.iter().all(|head| head.contains("Basic YWRhOnMzY3IzdA=="));
        assert_eq!(asked_as_ada, value.contains('@'), "{seen:?}");
        daemon.wait_for_line(&format!("Webex is reached through the proxy http://{address}")).await;
        assert!(!daemon.log().concat().contains("s3cr3t"));
    }
}

#[tokio::test]
async fn webex_is_reached_without_the_proxy_where_none_is_wanted() {
    let (sim, (address, heads)) = (sim().await, proxy().await);
    let settings = [("HTTPS_PROXY", &*format!("http://{address}")), ("NO_PROXY", "example.com,127.0.0.1")];
    let daemon = Daemon::start(&sim, &settings).await;
    assert_eq!(Visitor::new().consent(&daemon, 0).await.status, 200);
    assert_eq!(heads.lock().unwrap().len(), 0);
}
