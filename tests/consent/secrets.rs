//! Secrets that only the daemon, the browser's address bar and Webex may see.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::REFRESH_EVERY_SECOND;
use crate::support::counters;
use crate::support::eventually;
use crate::support::inject_fault;
use crate::support::start_sim_with;

#[tokio::test]
async fn no_secret_reaches_a_log_line_or_a_page() {
    let sim = start_sim_with(Settings { noop_window: Duration::ZERO, ..Settings::default() }).await;
    let mut settings = vec![("RUST_LOG", "trace")];
    settings.extend(REFRESH_EVERY_SECOND);
    let (mut daemon, visitor) = (Daemon::start(&sim, &settings).await, BrowserClient::new());
    let mut secrets = vec![sim.with(|webex| webex.settings().client_secret.clone())];
    let mut pages = vec![visitor.get(daemon.url("/")).await];
    for fault in [None, Some(FaultKind::Client401), Some(FaultKind::OkHtml), Some(FaultKind::ResetBefore)] {
        if let Some(kind) = fault {
            inject_fault(&sim, Endpoint::AccessToken, 1, kind);
        }
        let begun = visitor.begin(&daemon).await;
        secrets.push(begun.query["state"].clone());
        let tickets = visitor.cookie_header().unwrap();
        secrets.extend(tickets.split("; ").map(|pair| pair.split_once('=').unwrap().1.to_owned()));
        let back = visitor.accept(&begun, 0).await;
        pages.push(visitor.get(back.clone()).await);
        pages.push(visitor.get(back).await);
    }
    eventually("a refresh has succeeded", || counters(&sim).refreshes.renewed > 1).await;
    secrets.extend(sim.with(|webex| webex.secrets_issued()));
    assert!(secrets.len() > 12, "{}", secrets.len());

    daemon.terminate().await;
    let log = daemon.final_log().await;
    assert!(log.iter().any(|line| line.contains("TRACE")), "the log level is not trace");
    for secret in &secrets {
        let leak = log.iter().find(|line| line.contains(secret.as_str()));
        assert!(leak.is_none(), "{secret} is in: {leak:?}");
        let leak = pages.iter().find(|page| page.says(secret));
        assert!(leak.is_none(), "{secret} is in: {leak:?}");
    }
    let key = std::fs::read(daemon.state_dir().join("key")).unwrap();
    assert_eq!(key.len(), 32, "the file is the key");
    for shape in shapes(&key) {
        let leak = log.iter().find(|line| line.to_lowercase().contains(&shape.to_lowercase()));
        assert!(leak.is_none(), "the key is in: {leak:?}");
    }
}

/// The forms in which programs print bytes.
fn shapes(bytes: &[u8]) -> Vec<String> {
    let hex =
        |separator: &str| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator);
    let numbers = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    vec![
        hex(""),
        hex(" "),
        hex(":"),
        hex(", "),
        numbers.join(", "),
        numbers.join(","),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        String::from_utf8_lossy(bytes).into_owned(),
        format!("{:?}", String::from_utf8_lossy(bytes)).trim_matches('"').to_owned(),
        bytes.escape_ascii().to_string(),
    ]
}

#[tokio::test]
async fn with_a_space_the_token_is_on_its_page_only() {
    let sim = start_sim_with(Settings::default()).await;
    let (bot, space) = sim.with(|webex| {
        let settings = webex.settings();
        (settings.bot_token.clone(), settings.space_id.clone())
    });
    let settings = [("RUST_LOG", "trace"), ("BOT_TOKEN", bot.as_str()), ("SPACE_ID", space.as_str())];
    let (mut daemon, visitor) = (Daemon::start(&sim, &settings).await, BrowserClient::new());
    let begun = visitor.begin(&daemon).await;
    let back = visitor.accept(&begun, 0).await;
    let granted = visitor.get(back.clone()).await;
    let visit = granted.all("set-cookie").find_map(|line| line.strip_prefix("__Secure-visit=")).unwrap();
    let visit = visit.split(';').next().unwrap().to_owned();
    let at = granted.body.split_once("href=\"/space/").unwrap().1.split('"').next().unwrap().to_owned();
    let others = [
        visitor.get(back).await,
        visitor.get(daemon.url("/")).await,
        BrowserClient::new().get(daemon.url("/space")).await,
    ];
    let widget = visitor.get(daemon.url(&format!("/space/{at}"))).await;
    assert_eq!(widget.status, 200, "{}", widget.body);

    let issued = sim.with(|webex| webex.secrets_issued());
    let on_it: Vec<_> = issued.iter().filter(|secret| widget.says(secret)).collect();
    assert_eq!(on_it.len(), 1, "the access token alone");
    assert_eq!(widget.body.matches(on_it[0].as_str()).count(), 1);
    assert!(!widget.says(&bot) && !widget.says(&visit));
    daemon.terminate().await;
    let log = daemon.final_log().await;
    assert!(issued.iter().chain([&bot, &visit]).all(|secret| !granted.says(secret)));
    for secret in issued.iter().chain([&bot, &visit, &at]) {
        let leak = log.iter().find(|line| line.contains(secret.as_str()));
        assert!(leak.is_none(), "{secret} is in: {leak:?}");
        assert!(!others.iter().any(|page| page.says(secret)), "{secret} is on a page");
    }
}
