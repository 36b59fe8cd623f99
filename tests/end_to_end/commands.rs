//! Commands that succeed.

use reqwest::Client;
use rusqlite::Connection;
use serde_json::json;
use webex_sim::Settings;

use super::ADA;
use super::DaemonFixture;
use super::GRACE;
use super::always_new;
use super::end;
use super::program;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::http;
use crate::support::start_sim_with;

#[tokio::test]
async fn every_person_who_consented_is_listed_with_a_live_token() {
    let fixture = DaemonFixture::new().await;
    let people = fixture.json("people -j").await;
    let people = people["people"].as_array().unwrap();
    let emails: Vec<&str> = people.iter().map(|person| person["email"].as_str().unwrap()).collect();
    assert_eq!(emails, [ADA, GRACE]);
    for person in people {
        assert_eq!(person["state"], "fresh");
        let (id, email) = (person["person_id"].as_str().unwrap(), person["email"].as_str().unwrap());
        let token = fixture.token(id).await;
        assert_eq!(token, fixture.token(email).await);
        assert!(fixture.is_live(&token));
        let all = fixture.json(&format!("token {email} --format json --min-ttl 600")).await;
        assert_eq!([&all["access_token"], &all["person_id"]], [&json!(token), &json!(id)]);
    }
    let table = fixture.run("status").await.expect_success();
    assert!(table.starts_with("WHO") && table.lines().count() == 3, "{table}");
}

#[tokio::test]
async fn a_forced_refresh_yields_a_new_token_and_reports_it() {
    let fixture = DaemonFixture::without_refresh_floor(always_new()).await;
    let before = fixture.token(ADA).await;
    let unforced = fixture.run(&format!("refresh {ADA}")).await.expect_success();
    assert!(unforced.starts_with("ada@example.com (") && unforced.contains(": skipped"), "{unforced}");
    let forced = fixture.run(&format!("refresh {ADA} --force")).await.expect_success();
    assert!(forced.contains(": renewed"), "{forced}");
    let after = fixture.token(ADA).await;
    assert!(after != before && fixture.is_live(&after));
    let all = fixture.json("refresh --all --force -j").await;
    let outcomes: Vec<_> = all.as_array().unwrap().iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["renewed", "renewed"]);
    assert!(fixture.token(ADA).await != after);
}

#[tokio::test]
async fn why_and_plan_agree_on_the_next_refresh() {
    let fixture = DaemonFixture::new().await;
    let why = fixture.json(&format!("why {GRACE} -j")).await;
    assert_eq!(why["person"]["email"], GRACE);
    let next = why["next_refresh_at"].as_str().unwrap();
    let told = fixture.run(&format!("why {GRACE}")).await.expect_success();
    assert!(told.contains("survival") && told.contains(next), "{told}");
    let plan = fixture.json("plan --days 30 -j").await;
    let planned = plan["people"].as_array().unwrap();
    let grace = planned.iter().find(|one| one["email"] == GRACE).unwrap();
    assert_eq!((planned.len(), &grace["next_refresh_at"]), (2, &json!(next)));
    assert_eq!(fixture.run("plan").await.expect_success().lines().count(), 3);
}

#[tokio::test]
async fn exec_passes_the_token_and_keeps_the_exit_code() {
    let fixture = DaemonFixture::new().await;
    let script = "echo $WEBEX_ACCESS_TOKEN; exit 7";
    let output = fixture.command(&["exec", GRACE, "--", "sh", "-c", script]).await;
    assert_eq!((output.code, output.stderr.as_str()), (7, ""));
    assert_eq!(output.stdout.trim_end(), fixture.token(GRACE).await);
    fixture.run("exec grace@example.com -- ./nowhere").await.expect_failure(127, "./nowhere");
}

#[tokio::test]
async fn a_key_opens_the_api_over_https_until_it_is_revoked() {
    let fixture = DaemonFixture::new().await;
    let key = fixture.run(&format!("key create reports --person {ADA} --days 30")).await.expect_success();
    let ask = async |person: &str| {
        let url = fixture.daemon.url(&format!("/api/v1/people/{person}/token"));
        let answer = http().get(url).bearer_auth(key.trim_end()).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, token) = ask(ADA).await;
    assert_eq!((status, &token["access_token"]), (200, &json!(fixture.token(ADA).await)));
    let (status, refused) = ask(GRACE).await;
    assert_eq!((status, &refused["code"]), (403, &json!("forbidden")));

    let list = fixture.json("key list -j").await;
    assert_eq!([&list["keys"][0]["name"], &list["keys"][0]["can"]], [&json!("reports"), &json!(["read"])]);
    assert!(!fixture.run("key list").await.expect_success().contains(key.trim_end()));
    assert_eq!(fixture.run("key revoke reports").await.expect_success(), "reports: revoked\n");
    assert_eq!(ask(ADA).await.0, 401);
    fixture.run("key revoke reports").await.expect_failure(1, "no key");
}

#[tokio::test]
async fn a_forgotten_person_is_unknown_until_a_new_consent() {
    let fixture = DaemonFixture::new().await;
    fixture.run(&format!("forget {ADA}")).await.expect_failure(2, "--yes");
    let gone = fixture.run(&format!("forget {ADA} --yes")).await.expect_success();
    assert!(gone.starts_with(ADA) && gone.ends_with(": forgotten\n"), "{gone}");
    fixture.run(&format!("token {ADA}")).await.expect_failure(3, "webex-tokend people");
    // Grace is the only person left, but a script without a name may have meant Ada.
    fixture.run("token").await.expect_failure(2, GRACE);
    BrowserClient::new().consent(&fixture.daemon, 0).await;
    assert!(fixture.is_live(&fixture.token(ADA).await));
}

#[tokio::test]
async fn the_socket_gives_a_token_to_any_http_client_of_the_same_user() {
    let fixture = DaemonFixture::new().await;
    let _ = http();
    let socket = fixture.daemon.state_dir().join("control.sock");
    let client = Client::builder().unix_socket(socket).no_proxy().build().unwrap();
    let url = format!("http://localhost/api/v1/people/{ADA}/token");
    let token: serde_json::Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(token["access_token"], fixture.token(ADA).await);
}

#[tokio::test]
async fn no_output_and_no_log_line_has_an_unrequested_secret() {
    let mut fixture = DaemonFixture::with_sim_settings(always_new()).await;
    let mut told = Vec::new();
    let key = fixture.run("key create ci --can admin").await;
    told.push(key.stderr);
    let key = key.stdout.trim_end().to_owned();
    for words in [
        "people",
        "people -j",
        "why ada@example.com",
        "why ada@example.com -j",
        "plan -j",
        "plan",
        "key list -j",
        "key list",
        "--help",
        "refresh ada@example.com --force --debug",
        "token ada@example.com --debug --format env",
        "exec ada@example.com --debug -- sh -c true",
        "exec ada@example.com -- ./nowhere",
        "refresh --all --force -j",
        "token eve@example.com --debug",
        "forget grace@example.com --yes --debug",
        "doctor --debug",
    ] {
        let output = fixture.run(words).await;
        if !words.starts_with("token ") {
            told.push(output.stdout);
        }
        told.push(output.stderr);
    }
    let client_secret = fixture.sim.with(|webex| webex.settings().client_secret.clone());
    let mut secrets = fixture.sim.with(|webex| webex.secrets_issued());
    secrets.extend([key, client_secret]);
    assert_eq!(fixture.daemon.terminate().await.code, Some(0));
    told.push(fixture.daemon.final_log().await.join("\n"));
    for secret in &secrets {
        assert!(!told.iter().any(|text| text.contains(secret)), "a secret was printed:\n{}", told.join("\n"));
    }
    let store = Connection::open(fixture.daemon.state_dir().join("tokend.db")).unwrap();
    let keys: i64 = store.query_row("SELECT count(*) FROM keys", [], |row| row.get(0)).unwrap();
    assert_eq!(keys, 1);
}

#[tokio::test]
async fn an_omitted_person_never_comes_to_mean_another_person() {
    let sim = start_sim_with(Settings::default()).await;
    let fixture = DaemonFixture { daemon: Daemon::start(&sim, &[]).await, sim };
    assert_eq!(BrowserClient::new().consent(&fixture.daemon, 0).await.status, 200);
    let ada = fixture.token(ADA).await;
    assert_eq!(fixture.run("token").await.expect_success().trim_end(), ada);
    assert_eq!(BrowserClient::new().consent(&fixture.daemon, 0).await.status, 200);
    assert_ne!(
        fixture.run("token").await.expect_success().trim_end(),
        "",
        "another consent of the same person changes nothing"
    );

    fixture.run(&format!("forget {ADA} --yes")).await.expect_success();
    fixture.run("token").await.expect_failure(2, "no person is stored");
    assert_eq!(BrowserClient::new().consent(&fixture.daemon, 1).await.status, 200);
    for words in ["token", "exec -- true", "refresh --force", "why", "forget --yes"] {
        fixture.run(words).await.expect_failure(2, "not the first one ever stored");
    }
    let mut command = program(&fixture.daemon.state_dir());
    let default = end(command.arg("token").env("TOKEND_DEFAULT_PERSON", GRACE)).await;
    assert_eq!(default.expect_success().trim_end(), fixture.token(GRACE).await);
    let mut command = program(&fixture.daemon.state_dir());
    end(command.arg("token").env("TOKEND_DEFAULT_PERSON", ADA)).await.expect_failure(3, "");
}
