//! Commands that cannot do what they were asked for, and the exit code that says why.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use webex_sim::Settings;
use webex_sim::model::Endpoint;
use webex_sim::model::FaultKind;

use super::ADA;
use super::GRACE;
use super::Town;
use super::always_new;
use super::end;
use super::program;
use super::run;
use crate::support::Visitor;
use crate::support::http;
use crate::support::spoil;
use crate::support::time::DAY;
use crate::support::time::HANG_TIMEOUT;

/// Of an access token: long enough for what comes before its end.
const LIFE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn nobody_of_this_name_is_code_3() {
    let town = Town::new().await;
    for words in ["token", "refresh", "why", "exec", "forget --yes"] {
        let rest = if words == "exec" { " -- true" } else { "" };
        town.run(&format!("{words} eve@example.com{rest}")).await.failed(3, "webex-tokend people");
    }
    town.run("key create k --person eve@example.com").await.failed(3, "webex-tokend people");
}

#[tokio::test]
async fn somebody_who_must_be_named_and_is_not_is_code_2() {
    let town = Town::new().await;
    town.run("token").await.failed(2, "several persons");
    town.run("token a@b@c").await.failed(2, "PERSON");
    town.run("token ada@example.com --min-ttl 99999999999").await.failed(2, "min_ttl");
}

#[tokio::test]
async fn a_grant_that_webex_took_back_is_retried_and_the_token_is_given_while_it_lives() {
    let town = Town::without_a_floor(Settings::default()).await;
    town.sim.with(|webex| webex.revoke_person(0));
    // It is told when a second refusal, ten minutes later, confirms the first.
    town.run(&format!("refresh {ADA} --force")).await.failed(1, "refused");
    assert!(town.is_live(&town.token(ADA).await));
    let ended = town.run("people").await;
    assert!(ended.out.contains("retrying") && !ended.err.contains("must consent again"), "{ended:?}");
    // More than Webex will ever give again.
    town.run(&format!("token {ADA} --min-ttl {}", DAY.as_secs() * 30)).await.good();
    let everybody = town.run("refresh --all --force").await;
    assert_eq!((everybody.code, everybody.out.lines().count()), (1, 2), "{everybody:?}");
    assert_eq!(town.run(&format!("token {GRACE}")).await.code, 0);
}

#[tokio::test]
async fn a_webex_that_is_away_is_code_6() {
    let town = Town::new().await;
    spoil(&town.sim, Endpoint::AccessToken, 1, FaultKind::ResetBefore);
    town.run(&format!("refresh {ADA} --force")).await.failed(6, "webex-tokend why");
    assert!(town.is_live(&town.token(ADA).await), "its token is still good");
}

#[tokio::test]
async fn no_daemon_and_no_settings_is_code_5() {
    let home = tempfile::tempdir().unwrap();
    let state_dir = home.path().join("state");
    for words in ["token", "people -j", "refresh --all", "key list", "plan", "why", "exec -- true"] {
        let words: Vec<&str> = words.split(' ').collect();
        run(&state_dir, &words).await.failed(5, "webex-tokend serve");
    }
    assert!(!state_dir.exists(), "a command that does nothing makes nothing");
}

#[tokio::test]
async fn a_daemon_that_ended_is_code_5() {
    let mut town = Town::new().await;
    assert_eq!(town.daemon.terminate().await.code, Some(0));
    town.run("people").await.failed(5, "no daemon answers");
    town.daemon.restart(&[]).await;
    assert!(town.is_live(&town.token(ADA).await));
}

#[tokio::test]
async fn a_second_daemon_on_the_same_store_is_code_5() {
    let town = Town::new().await;
    let settings = [("MY_APP_CLIENT_ID", "C1"), ("MY_APP_SECRET_ID", "s")];
    let ended = end(program(&town.daemon.state_dir()).arg("serve").envs(settings)).await;
    assert_eq!(ended.code, 5, "{ended:?}");
    assert!(ended.err.contains("in use by another webex-tokend"), "{ended:?}");
}

/// A daemon and people whose tokens are dead by now. What Webex is to do from then on is `then`'s.
async fn with_dead_tokens(then: impl FnOnce(&Town)) -> Town {
    let town = Town::with(Settings { access_lifetime: LIFE, ..always_new() }).await;
    assert!(town.is_live(&town.token(ADA).await));
    then(&town);
    let ended = async {
        while town.run(&format!("token {ADA}")).await.code == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(HANG_TIMEOUT, ended).await.expect("the token does not end");
    town
}

#[tokio::test]
async fn a_dead_token_and_no_grant_is_code_4_for_everybody_who_asks() {
    let town = with_dead_tokens(|town| town.sim.with(|webex| webex.revoke_person(0))).await;
    town.run(&format!("token {ADA}")).await.failed(4, "/oauth?person=ada%40example.com");
    town.run(&format!("exec {ADA} -- true")).await.failed(4, "/oauth?person=ada%40example.com");
    let key = town.run("key create any").await.good();
    let url = town.daemon.url(&format!("/api/v1/people/{ADA}/token"));
    let answer = http().get(url).bearer_auth(key.trim_end()).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    let problem: Value = answer.json().await.unwrap();
    assert!(problem["consent_url"].as_str().unwrap().ends_with("/oauth?person=ada%40example.com"));
    // The way out.
    Visitor::new().consent(&town.daemon, 0).await;
    assert!(town.is_live(&town.token(ADA).await));
}

#[tokio::test]
async fn a_dead_token_and_no_webex_is_code_6_and_says_when_to_ask_again() {
    let away = |town: &Town| spoil(&town.sim, Endpoint::AccessToken, u32::MAX, FaultKind::ResetBefore);
    let town = with_dead_tokens(away).await;
    town.run(&format!("token {ADA}")).await.failed(6, "try again later");
    let key = town.run("key create any").await.good();
    let url = town.daemon.url(&format!("/api/v1/people/{ADA}/token"));
    let answer = http().get(url).bearer_auth(key.trim_end()).send().await.unwrap();
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(answer.status() == 503 && wait > 0, "{wait}");
}
