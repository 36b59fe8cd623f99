//! What a browser sends to other ports of the daemon's host name, and what that gives access to.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use url::Url;
use webex_sim::Settings;
use webex_sim::Sim;
use webex_tokend::tasks::Tasks;

use super::consent;
use super::operators::operator_key;
use super::webdriver::Browser;
use crate::support::Daemon;
use crate::support::PLAIN;
use crate::support::http;

/// Another program on this machine that serves pages and records the requests of browsers.
struct OtherServer {
    port: u16,
    heard: Arc<Mutex<String>>,
}

impl OtherServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(String::new())));
        let (kept, tasks) = (heard.clone(), Tasks::default());
        let each = tasks.clone();
        tasks.spawn("neighbour", async move {
            while let Ok((stream, _)) = listener.accept().await {
                each.spawn("neighbour's page", serve(stream, kept.clone()));
            }
        });
        Self { port, heard }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://localhost:{}{path}", self.port)).unwrap()
    }

    /// Every cookie that it received.
    fn cookies(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let lines = heard.lines().filter_map(|line| line.split_once(": "));
        let of_cookies = lines.filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        of_cookies.flat_map(|(_, cookies)| cookies.split("; ")).map(str::to_owned).collect()
    }
}

async fn serve(mut stream: TcpStream, heard: Arc<Mutex<String>>) {
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    heard.lock().unwrap().push_str(&String::from_utf8_lossy(&head));
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 19\r\nConnection: close\r\n\r\n<h1 id=here>Hi</h1>";
    let _ = stream.write_all(page.as_bytes()).await;
}

async fn daemon(sim: &Sim, secure: bool) -> Daemon {
    let settings = Settings::default();
    let mut variables =
        vec![("BOT_TOKEN", settings.bot_token.as_str()), ("SPACE_ID", settings.space_id.as_str())];
    if !secure {
        variables.push(PLAIN);
    }
    Daemon::start(sim, &variables).await
}

async fn opens_nothing(daemon: &Daemon, cookie: &str) {
    for (path, page) in [("/dashboard", "id=\"live\""), ("/space", "data-access-token")] {
        let answer = http().get(daemon.url(path)).header("cookie", cookie).send().await.unwrap();
        assert!(!answer.text().await.unwrap().contains(page), "{cookie} opens {path}");
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromedriver; bash tests/run.sh installs them"]
async fn cookies_that_a_browser_sends_to_another_port_open_nothing() {
    for secure in [true, false] {
        let sim = Sim::start(Settings::default()).await.unwrap();
        let (daemon, other_server) = (daemon(&sim, secure).await, OtherServer::start().await);
        let browser = Browser::start().await;
        // A person consents and opens the space, and an operator signs in.
        consent(&browser, &daemon, 0).await;
        browser.click("#space").await;
        browser.text("#widget").await;
        let space = browser.url().await;
        browser.open(&daemon.url("/dashboard")).await;
        browser.write("#key", &operator_key(&daemon)).await;
        browser.click("#sign-in").await;
        browser.text("#name").await;
        let dashboard = browser.url().await;
        for path in ["/", "/dashboard", "/dashboard/", "/dashboard/person", "/space", "/oauth", "/assets/x"] {
            browser.open(&other_server.url(path)).await;
            browser.text("#here").await;
        }
        let heard = other_server.heard.lock().unwrap().clone();
        assert!(heard.matches("GET /").count() >= 7, "{heard}");
        for cookie in other_server.cookies() {
            opens_nothing(&daemon, &cookie).await;
        }
        for secret in [space, dashboard].map(|url| url.path().rsplit('/').next().unwrap().to_owned()) {
            assert!(secret.len() == 43 && !heard.contains(&secret), "{secret} is in {heard}");
        }
    }
}
