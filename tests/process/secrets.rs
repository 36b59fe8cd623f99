//! No secret leaves: searches the trace log, every page, and every file beside the key for everything that the
//! simulator issued, the client secret and the key.

use std::path::Path;
use std::time::Duration;

use webex_sim::Settings;
use webex_sim::model::DeadText;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim_with;

/// Texts to search, each with its source.
struct SearchedTexts(Vec<(String, Vec<u8>)>);

impl SearchedTexts {
    fn add_files(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let name = entry.file_name().to_str().unwrap().to_owned();
            if entry.path().is_file() && name != "key" {
                self.0.push((name, std::fs::read(entry.path()).unwrap()));
            }
        }
    }

    fn search(&self, what: &str, secret: &[u8]) {
        for (place, text) in &self.0 {
            let found = text.windows(secret.len()).any(|part| part == secret);
            assert!(!found, "{what} is in {place}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_found_in_logs_pages_or_files() {
    let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    let mut settings = REFRESH_EVERY_SECOND.to_vec();
    settings.push(("RUST_LOG", "trace"));
    let mut daemon = Daemon::start(&sim, &settings).await;
    let mut texts = SearchedTexts(Vec::new());

    let visitor = BrowserClient::new();
    let mut pages = vec![visitor.get(daemon.url("/")).await];
    for person in 0..3 {
        let back = visitor.come_back(&daemon, person).await;
        pages.push(visitor.get(back.clone()).await);
        pages.push(visitor.get(back).await);
    }
    // A response that echoes what was sent, and every other failure with a text.
    let token = sim.with(|webex| webex.mint(0, 5)).refresh_token;
    let echo = format!("{{\"error\":\"invalid_request\",\"error_description\":\"refused: {token}\"}}");
    let kinds = [
        FaultKind::Raw { status: 418, headers: Vec::new(), body: echo.into_bytes() },
        FaultKind::Status400Dead(DeadText::InvalidGrant),
        FaultKind::OkTruncatedJson,
        FaultKind::OkHtml,
        FaultKind::ResetBefore,
        FaultKind::Redirect("https://localhost/elsewhere".to_owned()),
    ];
    for kind in kinds {
        let back = visitor.come_back(&daemon, 3).await;
        inject_fault(&sim, Endpoint::AccessToken, 1, kind);
        pages.push(visitor.get(back).await);
    }
    let before = counters(&sim).refreshes.renewed;
    eventually("some refreshes have run", || counters(&sim).refreshes.renewed >= before + 6).await;
    daemon.wait_for_line("access token renewed").await;

    for page in pages {
        let headers =
            page.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect::<String>();
        // The redirect to Webex must contain the state and the challenge, but never codes, verifiers or tokens.
        texts.0.push(("a page".to_owned(), page.body.into_bytes()));
        texts.0.push(("a header".to_owned(), headers.into_bytes()));
    }
    texts.add_files(&daemon.state_dir());
    let key = std::fs::read(daemon.state_dir().join("key")).unwrap();
    let client_secret = sim.with(|webex| webex.settings().client_secret.clone());
    assert_eq!(daemon.terminate().await.code, Some(0));
    texts.add_files(&daemon.state_dir());
    let log = daemon.final_log().await.join("\n");
    assert!(log.contains("TRACE"), "the log level is trace");
    texts.0.push(("the log".to_owned(), log.into_bytes()));

    let issued = sim.with(|webex| webex.secrets_issued());
    assert!(issued.len() > 20, "{} secrets were issued", issued.len());
    for secret in &issued {
        texts.search("a token or code", secret.as_bytes());
    }
    texts.search("the client secret", client_secret.as_bytes());
    texts.search("the key", &key);
}
