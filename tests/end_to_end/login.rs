//! `login` in a terminal, by a browser elsewhere and by the device grant.

use std::process::Stdio;

use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use url::Url;

use super::CommandOutput;
use super::DaemonFixture;
use super::program;
use crate::support::BrowserClient;

/// Starts a login and reads its output until a line matches.
async fn begun(fixture: &DaemonFixture, words: &str, is_it: impl Fn(&str) -> bool) -> (Child, String) {
    let mut command = program(&fixture.daemon.state_dir());
    command.args(words.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while let Some(line) = lines.next_line().await.unwrap() {
        if is_it(line.trim()) {
            return (child, line.trim().to_owned());
        }
    }
    panic!("{words} ended without the line");
}

async fn output(child: Child) -> CommandOutput {
    tokio::time::timeout(crate::support::time::HANG_TIMEOUT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
        .into()
}

#[tokio::test]
async fn a_login_by_link_completes_in_the_terminal() {
    let fixture = DaemonFixture::new().await;
    let (child, line) =
        begun(&fixture, "login --no-browser -t 20 -j", |line| line.contains("/oauth?login=")).await;
    let url = line.split_whitespace().find(|word| word.contains("/oauth?login=")).unwrap();
    let (visitor, begin) = (BrowserClient::new(), Url::parse(url).unwrap());
    let to_webex = visitor.get(begin).await;
    let decided = format!("{}&decision=accept&person=2", to_webex.header("location").unwrap());
    let back = visitor.get(Url::parse(&decided).unwrap()).await;
    let page = visitor.get(Url::parse(back.header("location").unwrap()).unwrap()).await;
    assert!(page.says("Access Granted"));
    let out = output(child).await.expect_success();
    let token: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(fixture.is_live(token["access_token"].as_str().unwrap()));
}

#[tokio::test]
async fn a_login_by_device_code_completes() {
    let fixture = DaemonFixture::new().await;
    let is_code = |line: &str| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
    let (child, code) = begun(&fixture, "login --device -t 30", is_code).await;
    assert!(fixture.sim.with(|webex| webex.approve_device(&code, 3)));
    let out = output(child).await.expect_success();
    assert!(out.contains('@'), "{out}");
    assert_eq!(fixture.json("people -j").await["people"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_decline_ends_the_login_with_code_4() {
    let fixture = DaemonFixture::new().await;
    let is_code = |line: &str| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit());
    let (child, code) = begun(&fixture, "login --device -t 30", is_code).await;
    assert!(fixture.sim.with(|webex| webex.decline_device(&code)));
    assert_eq!(output(child).await.code, 4);
}

#[tokio::test]
async fn a_consent_of_another_person_is_an_error_and_is_stored() {
    let fixture = DaemonFixture::new().await;
    let words = "login --no-browser -t 20 --email ada@example.com";
    let (child, line) = begun(&fixture, words, |line| line.contains("/oauth?login=")).await;
    let url = line.split_whitespace().find(|word| word.contains("/oauth?login=")).unwrap();
    let visitor = BrowserClient::new();
    let to_webex = visitor.get(Url::parse(url).unwrap()).await;
    let decided = format!("{}&decision=accept&person=2", to_webex.header("location").unwrap());
    let back = visitor.get(Url::parse(&decided).unwrap()).await;
    assert!(visitor.get(Url::parse(back.header("location").unwrap()).unwrap()).await.says("Access Granted"));
    assert_eq!(output(child).await.code, 1);
    assert_eq!(fixture.json("people -j").await["people"].as_array().unwrap().len(), 3);
}
