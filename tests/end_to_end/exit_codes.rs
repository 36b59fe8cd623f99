//! Commands that fail, and the exit codes that say why.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::ADA;
use super::DaemonFixture;
use super::GRACE;
use super::always_new;
use super::end;
use super::program;
use super::run;
use crate::support::BrowserClient;
use crate::support::http;
use crate::support::inject_fault;
use crate::support::time::DAY;
use crate::support::time::HANG_TIMEOUT;

/// The lifetime of an access token, long enough for the steps before its expiry.
const LIFE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn an_unknown_person_is_exit_code_3() {
    let fixture = DaemonFixture::new().await;
    for words in ["token", "refresh", "why", "exec", "forget --yes"] {
        let rest = if words == "exec" { " -- true" } else { "" };
        fixture.run(&format!("{words} eve@example.com{rest}")).await.expect_failure(3, "webex-tokend people");
    }
    fixture.run("key create k --person eve@example.com").await.expect_failure(3, "webex-tokend people");
}

#[tokio::test]
async fn an_omitted_person_among_several_is_exit_code_2() {
    let fixture = DaemonFixture::new().await;
    fixture.run("token").await.expect_failure(2, "several persons");
    fixture.run("token a@b@c").await.expect_failure(2, "PERSON");
    fixture.run("token ada@example.com --min-ttl 99999999999").await.expect_failure(2, "min_ttl");
}

#[tokio::test]
async fn a_revoked_grant_is_retried_and_its_live_token_is_served() {
    let fixture = DaemonFixture::without_refresh_floor(Settings::default()).await;
    fixture.sim.with(|webex| webex.revoke_person(0));
    // Consent is reported as needed only after a second refusal ten minutes later.
    fixture.run(&format!("refresh {ADA} --force")).await.expect_failure(1, "refused");
    assert!(fixture.is_live(&fixture.token(ADA).await));
    let output = fixture.run("people").await;
    assert!(
        output.stdout.contains("retrying") && !output.stderr.contains("must consent again"),
        "{output:?}"
    );
    // More than Webex will ever issue.
    fixture.run(&format!("token {ADA} --min-ttl {}", DAY.as_secs() * 30)).await.expect_success();
    let all = fixture.run("refresh --all --force").await;
    assert_eq!((all.code, all.stdout.lines().count()), (1, 2), "{all:?}");
    assert_eq!(fixture.run(&format!("token {GRACE}")).await.code, 0);
}

#[tokio::test]
async fn an_unreachable_webex_is_exit_code_6() {
    let fixture = DaemonFixture::new().await;
    inject_fault(&fixture.sim, Endpoint::AccessToken, 1, FaultKind::ResetBefore);
    fixture.run(&format!("refresh {ADA} --force")).await.expect_failure(6, "webex-tokend why");
    assert!(fixture.is_live(&fixture.token(ADA).await), "its token is still valid");
}

#[tokio::test]
async fn no_daemon_and_no_settings_is_exit_code_5() {
    let home = tempfile::tempdir().unwrap();
    let state_dir = home.path().join("state");
    for words in ["token", "people -j", "refresh --all", "key list", "plan", "why", "exec -- true"] {
        let words: Vec<&str> = words.split(' ').collect();
        run(&state_dir, &words).await.expect_failure(5, "webex-tokend serve");
    }
    assert!(!state_dir.exists(), "a command without effect creates no file");
}

#[tokio::test]
async fn a_daemon_that_ended_is_exit_code_5() {
    let mut fixture = DaemonFixture::new().await;
    assert_eq!(fixture.daemon.terminate().await.code, Some(0));
    fixture.run("people").await.expect_failure(5, "no daemon answers");
    fixture.daemon.restart(&[]).await;
    assert!(fixture.is_live(&fixture.token(ADA).await));
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_exit_code_5() {
    let fixture = DaemonFixture::new().await;
    let settings = [("MY_APP_CLIENT_ID", "C1"), ("MY_APP_SECRET_ID", "s")];
    let output = end(program(&fixture.daemon.state_dir()).arg("serve").envs(settings)).await;
    assert_eq!(output.code, 5, "{output:?}");
    assert!(output.stderr.contains("in use by another webex-tokend"), "{output:?}");
}

/// A daemon and two persons whose tokens have expired. `then` sets what Webex does from then on.
async fn with_dead_tokens(then: impl FnOnce(&DaemonFixture)) -> DaemonFixture {
    let fixture = DaemonFixture::with_sim_settings(Settings { access_lifetime: LIFE, ..always_new() }).await;
    assert!(fixture.is_live(&fixture.token(ADA).await));
    then(&fixture);
    let output = async {
        while fixture.run(&format!("token {ADA}")).await.code == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(HANG_TIMEOUT, output).await.expect("the token does not expire");
    fixture
}

#[tokio::test]
async fn a_dead_token_and_a_dead_grant_is_exit_code_4_for_every_caller() {
    let fixture = with_dead_tokens(|fixture| fixture.sim.with(|webex| webex.revoke_person(0))).await;
    fixture.run(&format!("token {ADA}")).await.expect_failure(4, "/oauth?person=ada%40example.com");
    fixture.run(&format!("exec {ADA} -- true")).await.expect_failure(4, "/oauth?person=ada%40example.com");
    let key = fixture.run("key create any").await.expect_success();
    let url = fixture.daemon.url(&format!("/api/v1/people/{ADA}/token"));
    let answer = http().get(url).bearer_auth(key.trim_end()).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    let problem: Value = answer.json().await.unwrap();
    assert!(problem["consent_url"].as_str().unwrap().ends_with("/oauth?person=ada%40example.com"));
    // The person consents again.
    BrowserClient::new().consent(&fixture.daemon, 0).await;
    assert!(fixture.is_live(&fixture.token(ADA).await));
}

#[tokio::test]
async fn a_dead_token_during_an_outage_is_exit_code_6_with_a_retry_time() {
    let away = |fixture: &DaemonFixture| {
        inject_fault(&fixture.sim, Endpoint::AccessToken, u32::MAX, FaultKind::ResetBefore)
    };
    let fixture = with_dead_tokens(away).await;
    fixture.run(&format!("token {ADA}")).await.expect_failure(6, "try again later");
    let key = fixture.run("key create any").await.expect_success();
    let url = fixture.daemon.url(&format!("/api/v1/people/{ADA}/token"));
    let answer = http().get(url).bearer_auth(key.trim_end()).send().await.unwrap();
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(answer.status() == 503 && wait > 0, "{wait}");
}
